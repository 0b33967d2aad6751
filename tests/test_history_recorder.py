"""Whatever happens to the history, the stage that measures goes on, and nothing is lost that can be kept."""

import contextlib
import math
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lmwb.core.errors import MachineError
from lmwb.core.history import recorder
from lmwb.core.history.database import open_database, writing
from lmwb.core.history.ledger import end_attempt
from lmwb.core.home import Home
from make_history import make_trace
from small_history import SmallRun, begin, curve, in_process, reading, recording


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    return begin(Home(tmp_path / "home"))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.01)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Faults:
    """Makes the recorder's history fail, while `active`, at the statements that contain a word."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, word: str, error: Exception):
        self.active = False
        self.met = 0

        class Connection(sqlite3.Connection):
            def execute(connection, statement, *values):
                self._strike(statement, word, error)
                return super().execute(statement, *values)

            def executemany(connection, statement, rows):
                self._strike(statement, word, error)
                return super().executemany(statement, rows)

        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda *a, **b: connect(*a, **{"factory": Connection, **b}))

    def _strike(self, statement: str, word: str, error: Exception) -> None:
        if self.active and word in statement:
            self.met += 1
            raise error


FULL = sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("word", ["BEGIN", "INSERT INTO event", "INSERT INTO block", "latest", "beat", "COMMIT"])
def test_a_failing_history_is_told_once_and_loses_nothing(run, quick, monkeypatch, word):
    faults = Faults(monkeypatch, word, FULL)
    said: list[str] = []
    with contextlib.closing(run.recorder(said.append)) as open_recorder:
        open_recorder.metrics(run.stage_id, 0, {"loss": 0.0})
        assert open_recorder.flush()
        faults.active = True
        for step in range(1, 50):
            open_recorder.metrics(run.stage_id, step, {"loss": step, f"new-{step}": math.nan})
            open_recorder.event("note", f"at {step}")
            if step % 10 == 0:
                assert not open_recorder.flush()
        assert len(said) == 1
        assert "disk is full" in said[0]
        faults.active = False
        open_recorder.metrics(run.stage_id, 50, {"loss": 50})
        assert open_recorder.flush()
    assert faults.met >= 4
    assert [text.partition(";")[2] for text in said[1:]] == [" nothing was lost"]
    assert curve(run.home, run.stage_id) == {step: float(step) for step in range(51)}
    with reading(run.home) as history:
        assert [event.text for event in history.events(run.run_id)] == [f"at {step}" for step in range(1, 50)]
        assert history.metrics(run.stage_id)["loss"].n == 51


def test_a_transaction_that_failed_leaves_the_connection_usable(run, monkeypatch):
    faults = Faults(monkeypatch, "COMMIT", FULL)
    with contextlib.closing(open_database(run.home)) as connection:
        faults.active = True
        with pytest.raises(MachineError, match=r"cannot write to the history .*: database or disk is full"):
            end_attempt(connection, run.attempt_id, "failed")
        faults.active = False
        end_attempt(connection, run.attempt_id, "finished")
    with reading(run.home) as history:
        assert history.run(run.run_id).state == "finished"


def test_a_full_file_loses_nothing_once_there_is_room(run, quick, monkeypatch):
    pages = 100

    def small_database(home: Home) -> sqlite3.Connection:
        connection = open_database(home)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    monkeypatch.setattr(recorder, "open_database", small_database)
    said: list[str] = []
    with contextlib.closing(run.recorder(said.append)) as open_recorder:
        for step in range(20_000):
            open_recorder.metrics(run.stage_id, step, {"loss": math.sin(step)})
        assert not open_recorder.flush()
        pages = 10**6
        assert open_recorder.flush()
    assert len(said) == 2
    assert "disk is full" in said[0]
    assert curve(run.home, run.stage_id) == {step: math.sin(step) for step in range(20_000)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", disk], capture_output=True).returncode:
        pytest.skip("file systems can be mounted by root only")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_loses_nothing_once_there_is_room(small_disk, quick):
    run = begin(Home(small_disk / "home"))
    said: list[str] = []
    log = (small_disk / "log.txt").open("w")

    def warn(text: str) -> None:
        said.append(text)
        print("x" * 5000, file=log, flush=True)  # fails: the log is on the same disk

    with contextlib.closing(run.recorder(warn)) as open_recorder:
        open_recorder.metrics(run.stage_id, 0, {"loss": 0.0})
        assert open_recorder.flush()
        with contextlib.suppress(OSError), (small_disk / "other").open("wb", buffering=0) as other:
            while True:
                other.write(bytes(4096))
        for step in range(1, 20_000):
            open_recorder.metrics(run.stage_id, step, {"loss": math.sin(step)})
        wait_for(lambda: bool(said))
        (small_disk / "other").unlink()
        wait_for(lambda: len(said) > 1)
    with contextlib.suppress(OSError):
        log.close()
    assert "nothing was lost" in said[1]
    assert curve(run.home, run.stage_id) == {step: math.sin(step) for step in range(20_000)}


def test_what_does_not_fit_into_memory_is_counted(run, monkeypatch):
    monkeypatch.setattr(recorder, "KEEP_ITEMS", 10)
    faults = Faults(monkeypatch, "BEGIN", FULL)
    faults.active = True
    said: list[str] = []
    with contextlib.closing(run.recorder(said.append)) as open_recorder:
        for step in range(15):
            open_recorder.metrics(run.stage_id, step, {"loss": step})
        assert not open_recorder.flush()
        faults.active = False
        assert open_recorder.flush()
    assert said[1].endswith("5 measurements were lost")
    assert len(curve(run.home, run.stage_id)) == 10


def test_what_is_lost_in_the_end_is_told(run, monkeypatch):
    faults = Faults(monkeypatch, "BEGIN", FULL)
    said: list[str] = []
    open_recorder = run.recorder(said.append)
    faults.active = True
    for step in range(3):
        open_recorder.metrics(run.stage_id, step, {"loss": step})
    open_recorder.close()
    assert said[-1].endswith("until the end; 3 measurements were lost")


def test_a_writer_that_holds_the_file_makes_nobody_wait_who_measures(run, quick):
    with contextlib.closing(open_database(run.home)) as other, recording(run) as open_recorder:
        with writing(other):
            for step in range(200):
                open_recorder.metrics(run.stage_id, step, {"loss": step})
        assert open_recorder.flush()
    assert len(curve(run.home, run.stage_id)) == 200


@pytest.mark.parametrize("value", ["abc", None, [1, 2], 10**400, object()])
def test_what_is_no_number_is_left_out_and_told(run, value):
    said: list[str] = []
    with contextlib.closing(run.recorder(said.append)) as open_recorder:
        for step in range(3):
            open_recorder.metrics(run.stage_id, step, {"odd": value, "loss": step})
            assert open_recorder.flush()
    assert len(said) == 1
    assert said[0].startswith("the history cannot hold odd = ")
    assert curve(run.home, run.stage_id) == {0: 0.0, 1: 1.0, 2: 2.0}


@pytest.mark.parametrize("step", [2.5, None, 2**63])
def test_a_step_that_is_none_is_left_out_and_told(run, step):
    said: list[str] = []
    with contextlib.closing(run.recorder(said.append)) as open_recorder:
        open_recorder.metrics(run.stage_id, step, {"loss": 1.0})
        open_recorder.metrics(run.stage_id, 7, {"loss": 2.0})
    assert len(said) == 1
    assert curve(run.home, run.stage_id) == {7: 2.0}


def test_a_record_that_cannot_be_kept_holds_up_nothing(run):
    said: list[str] = []
    with contextlib.closing(run.recorder(said.append)) as open_recorder:
        open_recorder.event("note", "before")
        open_recorder.event("note", "of no stage", stage_id="none")  # type: ignore[arg-type]
        open_recorder.checkpoint(999, 1, "no such stage", 1, False, {})
        open_recorder.event("note", "after")
        assert open_recorder.flush()
    with reading(run.home) as history:
        assert [event.text for event in history.events(run.run_id)] == ["before", "after"]
    assert len(said) == 1


FOREIGN = ["[/red]", "\x00nul", "\udcff half", "‮override", "🙂 模型", "a\x1b[31m", "", " '; DROP TABLE run; --"]


@pytest.mark.parametrize("text", FOREIGN)
def test_foreign_text_is_kept_as_it_is(tmp_path, text):
    """Half surrogates alone cannot be kept in UTF-8 and are written out."""
    kept = text.replace("\udcff", "\\udcff")
    run = begin(Home(tmp_path), name=text)
    with recording(run) as open_recorder:
        open_recorder.metrics(run.stage_id, 1, {text: 1.0})
        open_recorder.event("note", text)
        open_recorder.sample(run.stage_id, 1, 0, text, make_trace("a b", 0.5, 0))
    with contextlib.closing(open_database(run.home)) as connection:
        end_attempt(connection, run.attempt_id, "failed", 1, message=text)
    with reading(run.home) as history:
        found = history.run(run.run_id)
        assert (found.name, found.message) == (kept, kept)
        assert history.events(run.run_id)[0].text == kept
        assert history.samples(run.stage_id)[0].prompt == kept
        assert history.points(run.stage_id, text).values.tolist() == [1.0]
        assert list(history.metrics(run.stage_id)) == [kept]
        if text:
            assert history.find(text).id == run.run_id


def test_closing_twice_and_measuring_afterwards_do_no_harm(run):
    open_recorder = run.recorder()
    open_recorder.metrics(run.stage_id, 1, {"loss": 1.0})
    open_recorder.close()
    open_recorder.metrics(run.stage_id, 2, {"loss": 2.0})
    open_recorder.close()
    assert set(curve(run.home, run.stage_id)) >= {1}


def test_many_threads_may_measure_at_once(run, quick):
    with recording(run) as open_recorder:
        threads = [
            threading.Thread(
                target=lambda t=t: [open_recorder.metrics(run.stage_id, s, {f"m{t}": s}) for s in range(2000)]
            )
            for t in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for t in range(8):
        assert curve(run.home, run.stage_id, f"m{t}") == {step: float(step) for step in range(2000)}


def test_a_process_forked_in_the_middle_of_a_write_holds_up_no_writer(run):
    """A data loader's worker, forked at any time, keeps copies of open files for as long as it lives."""
    over = threading.Event()
    with contextlib.closing(open_database(run.home)) as connection:
        with writing(connection):
            child = in_process(time.sleep, 60)
        written = threading.Thread(target=lambda: (end_attempt(connection, run.attempt_id, "finished"), over.set()))
        written.daemon = True
        written.start()
        assert over.wait(20), "the forked process holds the lock"
    child.kill()
    child.join()


def test_progress_is_what_the_run_shows(run):
    with recording(run) as open_recorder:
        open_recorder.progress(run.stage_id, 7, 20, "evaluating", 2.5)
        open_recorder.metrics(run.stage_id, 7, {"train/loss": 1.25})
        assert open_recorder.flush()
        with reading(run.home) as history:
            found = history.run(run.run_id)
    assert (found.step, found.total, found.phase, found.speed, found.loss) == (7, 20, "evaluating", 2.5, 1.25)
    assert found.stage == "stage-0"


def test_checkpoints_are_listed_until_they_are_deleted(run):
    with recording(run) as open_recorder:
        for step in (1, 2, 2, 3):
            open_recorder.checkpoint(run.stage_id, step, f"c/{step}", 10 * step, step == 3, {"loss": 1 / step})
        open_recorder.checkpoint_deleted(run.stage_id, "c/1")
    with reading(run.home) as history:
        found = history.run(run.run_id)
        kept = history.checkpoints(found, run.stage_id)
    assert [(c.step, c.path, c.size, c.best) for c in kept] == [
        (2, found.folder / "c/2", 20, False),
        (3, found.folder / "c/3", 30, True),
    ]
    assert os.fspath(kept[0].path).startswith(os.fspath(run.home.root))
