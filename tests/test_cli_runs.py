"""Starting, following, stopping and resuming real runs from the command line, on a terminal and in pipes."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from lmwb.core.history.queries import History, Run
from lmwb.core.home import Home
from make_history import HistoryMaker, Sketch

RECIPE = """
name = "tiny"
model = { type = "gpt2", config = { n_layer = 1, n_head = 1, n_embd = 8, n_positions = 16 } }
tokenizer = { kind = "bpe", vocab_size = 257 }
data = { train = "texts.txt", block_size = 16, validation = 0.2 }
train = { steps = 10, batch_size = 1, eval_every = 5 }
sample = { prompts = ["The"], tokens = 4 }
"""
LONG = ("--set", "train.steps=100000", "--set", "train.eval_every=50000", "--set", "sample.prompts=")
COMMAND = [sys.executable, "-m", "lmwb.tui.cli"]


@pytest.fixture
def folder(tmp_path: Path):
    """A folder with a recipe and its text, and a home whose runs end with the test."""
    (tmp_path / "texts.txt").write_text("\n\n".join(f"The text number {n} is not long." for n in range(40)))
    (tmp_path / "tiny.toml").write_text(RECIPE)
    yield tmp_path
    with closing(History(Home(tmp_path / "home"))) as history:
        for run in history.runs():
            if run.state in ("starting", "running") and run.pid:
                os.kill(run.pid, signal.SIGKILL)


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "LMWB_HOME": str(folder / "home"), "PYTHONUTF8": "1", **more}


def lmwb(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, cwd=folder, env=environment(folder), timeout=120
    )


def newest(folder: Path) -> Run:
    with closing(History(Home(folder / "home"))) as history:
        return history.find("last")


def until(folder: Path, *states: str) -> Run:
    """Wait for the newest run to be in a state; for `running`, until it has made a step."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        run = newest(folder)
        if run.state in states and (run.state != "running" or run.step > 0):
            return run
        assert run.state in ("starting", "running"), (run.state, run.message)
        time.sleep(0.1)
    raise AssertionError(f"still {run.state}")


def test_a_run_tells_its_events_as_json_and_ends_with_its_results(folder: Path):
    done = lmwb(folder, "run", "tiny.toml", "--json")
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "launched"
    assert {event["event"] for event in events[1:-1]} == {"told", "progress"}
    assert (events[-1]["event"], events[-1]["run"]["state"]) == ("ended", "finished")
    progress = [event for event in events if event["event"] == "progress"]
    assert progress[-1]["step"] == progress[-1]["total"] == 10
    assert events[-1]["results"]["train"]["steps"] == 10

    plain = lmwb(folder, "show", events[0]["id"])
    assert "validation/loss" in plain.stdout


@pytest.mark.slow
def test_a_run_in_a_pipe_prints_lines_and_says_what_to_try_next(folder: Path):
    done = lmwb(folder, "run", "tiny.toml", "--set", "name=odd \x1b name")
    assert done.returncode == 0, done.stderr
    uid = newest(folder).uid
    assert "validation loss" in done.stdout
    assert f"{uid} has finished" in done.stdout
    assert f"    model      {folder}/home/runs/{uid}/train/model" in done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"next: lmwb show {uid}")
    assert "\x1b" not in done.stdout


@pytest.mark.slow
def test_a_recipe_that_does_not_fit_the_model_is_told_as_such(folder: Path):
    done = lmwb(folder, "run", "tiny.toml", "--set", "model.config.n_head=3")
    assert done.returncode == 2
    assert f"{newest(folder).uid} has failed" in done.stdout
    assert "the fields do not make a gpt2" in done.stdout
    assert "lmwb check" in done.stdout


@pytest.mark.slow
def test_a_detached_run_is_stopped_and_resumed_and_not_twice(folder: Path):
    done = lmwb(folder, "run", "tiny.toml", "--detach", *LONG)
    uid = done.stdout.strip()
    assert uid == newest(folder).uid
    until(folder, "running")
    refused = lmwb(folder, "resume", uid)
    assert refused.returncode == 2
    assert "is running" in refused.stderr
    assert lmwb(folder, "stop", uid).returncode == 0
    stopped = until(folder, "stopped")
    assert lmwb(folder, "stop", uid).returncode == 2

    again = json.loads(lmwb(folder, "resume", uid, "--detach", "--json").stdout)
    assert again == {"event": "launched", "id": uid}
    run = until(folder, "running")
    assert run.attempts == 2
    assert run.step >= stopped.step
    os.kill(run.pid or 0, signal.SIGKILL)
    assert until(folder, "died").signal == signal.SIGKILL
    assert "killed by SIGKILL" in lmwb(folder, "show", uid).stdout


@pytest.mark.slow
def test_a_run_that_is_stopped_before_it_has_begun_is_not_dead(folder: Path):
    uid = lmwb(folder, "run", "tiny.toml", "--detach", "--set", "train.steps=5").stdout.strip()
    assert lmwb(folder, "stop", uid).returncode == 0
    assert until(folder, "stopped").step == 0
    resumed = lmwb(folder, "resume", uid)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{uid} has finished" in resumed.stdout


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, folder: Path, *words: str):
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            for number in (signal.SIGINT, signal.SIGHUP):  # tests begun in the background are born deaf to them
                signal.signal(number, signal.SIG_DFL)
            os.chdir(folder)
            os.execve(sys.executable, [*COMMAND, *words], environment(folder, TERM="xterm-256color", COLUMNS="100"))
        self.shown = ""

    def wait_for(self, pattern: str) -> str:
        """Read until the pattern has been shown."""
        deadline = time.monotonic() + 120
        while not re.search(pattern, self.shown):
            assert time.monotonic() < deadline, self.shown[-2000:]
            assert self._read(), self.shown[-2000:]
        return self.shown

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def close(self) -> None:
        """Close the terminal's window."""
        os.close(self._master)

    def end(self) -> int:
        """Read all that is left; returns the exit status."""
        while self._read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        if not select.select([self._master], [], [], 1)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)


@pytest.mark.slow
def test_ctrl_c_stops_a_followed_run_at_a_checkpoint(folder: Path):
    terminal = Terminal(folder, "run", "tiny.toml", *LONG)
    terminal.wait_for(r"\d+/100000 .*loss")
    terminal.press(b"\x03")
    shown = terminal.wait_for("has stopped")
    assert terminal.end() == 6
    assert "asked the run to write a checkpoint and end" in shown
    run = newest(folder)
    assert run.state == "stopped"
    with closing(History(Home(folder / "home"))) as history:
        (checkpoint,) = history.checkpoints(run, run.stage_id or 0)
    assert checkpoint.step == run.step


@pytest.mark.slow
def test_ctrl_c_twice_leaves_the_run_to_itself(folder: Path):
    terminal = Terminal(folder, "run", "tiny.toml", *LONG)
    terminal.wait_for(r"starting")
    os.kill(terminal.pid, signal.SIGINT)
    os.kill(terminal.pid, signal.SIGINT)
    time.sleep(0.2)
    os.kill(terminal.pid, signal.SIGINT)
    assert terminal.end() == 130
    assert "left run" in terminal.shown
    if newest(folder).state in ("starting", "running"):
        lmwb(folder, "stop", "last")
    assert until(folder, "stopped").step < 100_000


@pytest.mark.slow
def test_a_closed_terminal_does_not_end_the_run(folder: Path):
    terminal = Terminal(folder, "run", "tiny.toml", *LONG)
    terminal.wait_for(r"\d+/100000 ")
    before = newest(folder)
    terminal.close()
    os.waitpid(terminal.pid, 0)
    deadline = time.monotonic() + 60
    while newest(folder).step <= before.step:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    lmwb(folder, "stop", "last")
    assert until(folder, "stopped").attempts == 1


@pytest.mark.slow
def test_the_live_view_follows_a_run_and_leaves_at_ctrl_c(folder: Path):
    uid = lmwb(folder, "run", "tiny.toml", "--detach", *LONG).stdout.strip()
    terminal = Terminal(folder, "watch")
    terminal.wait_for(uid)
    terminal.wait_for(r"train/loss")
    terminal.press(b"\x03")
    assert terminal.end() == 0
    assert newest(folder).state == "running"
    lmwb(folder, "stop", uid)
    until(folder, "stopped")


@pytest.mark.slow
def test_check_shows_what_a_recipe_would_do(folder: Path):
    done = lmwb(folder, "check", "tiny.toml")
    assert done.returncode == 0, done.stderr
    for part in (
        "tiny is good",
        "documents",
        "train 32  validation 8",
        "steps",
        "parameters",
        "example 1",
        "The text number",
    ):
        assert part in done.stdout
    (stage,) = json.loads(lmwb(folder, "check", "tiny.toml", "--json").stdout)["stages"]
    assert stage["steps"] == 10


@pytest.mark.slow
def test_check_points_at_the_line_of_a_value_that_does_not_fit_the_data(folder: Path):
    (folder / "texts.csv").write_text("a,b\n1,2\n")
    done = lmwb(folder, "check", "tiny.toml", "--set", "data.train=texts.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(r"(tiny\.toml:\d+|--set data\.train=texts\.csv): ", done.stderr)


def test_a_sample_on_a_terminal_is_coloured_by_probability(folder: Path):
    with HistoryMaker(Home(folder / "home")) as maker:
        uid = maker.add(Sketch("spoken", 20, 20))
    terminal = Terminal(folder, "sample", uid)
    assert terminal.end() == 0
    assert "\x1b[" in terminal.shown
    assert "48;5;" in terminal.shown
    assert "step 20  prompt 1" in terminal.shown


def test_lmwb_alone_on_a_terminal_opens_the_app(folder: Path):
    terminal = Terminal(folder)
    terminal.wait_for(r"\x1b\[\?1049h")
    terminal.wait_for("lmwb")
    terminal.press(b"q")
    assert terminal.end() == 0
    assert "\x1b[?1049l" in terminal.shown
