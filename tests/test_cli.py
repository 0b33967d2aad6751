"""The command line as scripts and people use it: real processes on real histories."""

import csv
import json
import math
import os
import subprocess
import sys
from contextlib import closing
from io import StringIO
from pathlib import Path

import pytest
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from lmwb.tui.cli import run
from make_history import EVERY_STATE, HistoryMaker, Sketch, make_every_state

ENVIRONMENT = {**os.environ, "COLUMNS": "100", "LINES": "30", "PYTHONUTF8": "1"}


def lmwb(*words: str, home: Path | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command and wait for it."""
    environment = ENVIRONMENT if home is None else {**ENVIRONMENT, "LMWB_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "lmwb.tui.cli", *words], capture_output=True, text=True, env=environment, cwd=cwd
    )


def said(done: subprocess.CompletedProcess[str], code: int = 0) -> str:
    """What a command that ended as expected printed."""
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):
    """A history with a run in each state, some of them alive while the tests run."""
    folder = tmp_path_factory.mktemp("everything")
    with make_every_state(Home(folder)):
        yield folder


@pytest.fixture(scope="module")
def uids(home: Path) -> dict[str, str]:
    """The runs' ids by name."""
    with closing(History(Home(home))) as history:
        return {run.name: run.uid for run in history.runs()}


COMMANDS = (
    "run",
    "resume",
    "stop",
    "runs",
    "show",
    "logs",
    "watch",
    "metrics",
    "sample",
    "check",
    "recipes",
    "new",
    "schema",
)

# -- the frame ------------------------------------------------------------------------------------


def test_help_names_every_command_and_a_bare_call_without_a_terminal_prints_it():
    help_text = said(lmwb("--help"))
    for command in COMMANDS:
        assert f"\n  {command} " in help_text
    assert said(lmwb()) == help_text


def test_the_version_is_the_packages():
    from importlib.metadata import version

    assert said(lmwb("--version")) == f"lmwb {version('lmwb')}\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["dance"], "No such command 'dance'"),
        (["runs", "--limit", "0"], "--limit"),
        (["show"], "Missing argument 'RUN'"),
        (["runs", "--jsno"], "No such option: --jsno"),
    ],
)
def test_wrong_words_are_a_usage_error_in_one_line(words: list[str], sentence: str, tmp_path: Path):
    done = lmwb(*words, home=tmp_path)
    assert said(done, 2) == ""
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_run_that_is_not_there_is_not_found(home: Path):
    for words in (["show"], ["logs"], ["stop"], ["resume"], ["sample"], ["metrics"], ["watch", "--once"]):
        done = lmwb(*words, "nobody", home=home)
        assert said(done, 3) == ""
        assert done.stderr == "lmwb: there is no run 'nobody'; `lmwb runs` lists them\n"


def test_a_home_that_cannot_be_used_is_an_environment_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    done = lmwb("runs", home=tmp_path / "file" / "home")
    assert said(done, 4) == ""
    assert "cannot create lmwb's home folder" in done.stderr


def test_a_file_that_is_no_history_is_an_environment_error(tmp_path: Path):
    (tmp_path / "lmwb.db").write_text("not a database, " * 100)
    done = lmwb("runs", home=tmp_path)
    assert said(done, 4) == ""
    assert done.stderr.startswith("lmwb: ")


def test_global_options_count_wherever_they_stand(home: Path, tmp_path: Path):
    before = said(lmwb("--home", str(home), "runs", "--json", home=tmp_path))
    assert len(json.loads(before)) == len(EVERY_STATE)
    assert said(lmwb("runs", "--json", "--home", str(home), home=tmp_path)) == before
    assert said(lmwb("runs", f"--home={home}", "--json", home=tmp_path)) == before


BUG = """
import sys
from lmwb.core.history import queries
def broken(*_, **__): raise ZeroDivisionError("in the \\x1b[31mmiddle")
queries.History.runs = broken
from lmwb.tui.cli import run
sys.exit(run(sys.argv[1:]))
"""


def test_a_bug_is_called_one_and_debug_shows_where(tmp_path: Path):
    def broken(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", BUG, *words], capture_output=True, text=True, env=ENVIRONMENT)

    done = broken("runs")
    assert said(done, 1) == ""
    assert done.stderr == ("lmwb: a bug in lmwb: ZeroDivisionError: in the ␛[31mmiddle (--debug shows the traceback)\n")
    assert "Traceback" in broken("runs", "--debug").stderr
    assert "Traceback" in lmwb("show", "nobody", "--debug", home=tmp_path).stderr


def test_a_reader_that_leaves_early_is_no_error(home: Path):
    command = f"{sys.executable} -m lmwb.tui.cli metrics last; echo $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"({command}) | head -1"],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "LMWB_HOME": str(home)},
    )
    assert done.stdout == "stage,metric,step,time,value\n"
    assert done.stderr == "0\n"


# -- what there is --------------------------------------------------------------------------------


def test_runs_lists_every_state_newest_first(home: Path):
    listed = json.loads(said(lmwb("runs", "--json", home=home)))
    assert [run["name"] for run in listed] == [sketch.name for sketch in reversed(EVERY_STATE)]
    assert {run["state"] for run in listed} >= {"running", "finished", "stopped", "failed", "died", "elsewhere"}
    table = said(lmwb("runs", home=home)).splitlines()
    assert table[0].split() == ["run", "name", "state", "stage", "step", "loss", "created"]
    assert [line.split()[0] for line in table[1:]] == [run["id"] for run in listed]
    assert len(said(lmwb("runs", "--limit", "2", home=home)).splitlines()) == 3


def test_an_empty_history_is_an_empty_list(tmp_path: Path):
    assert json.loads(said(lmwb("runs", "--json", home=tmp_path))) == []
    done = lmwb("runs", home=tmp_path)
    assert len(said(done).splitlines()) == 1
    assert "lmwb run quickstart" in done.stderr


def test_show_tells_state_results_checkpoints_and_sample(home: Path, uids: dict[str, str]):
    text = said(lmwb("show", "full · seed 0", home=home))
    figures = ("loss 2.41, perplexity 11.2", "lowest")
    for part in ("finished", *figures, "checkpoint", "best", "sample", "python 3.11.2", "log.txt"):
        assert part in text
    facts = json.loads(said(lmwb("show", uids["full · seed 0"], "--json", home=home)))
    (stage,) = facts["stages"]
    assert stage["results"] == {"validation": {"loss": 2.413, "perplexity": 11.17}}
    assert stage["metrics"]["train/loss"]["n"] == 600
    assert stage["last_sample"]["prompt"] == "The with statement"
    assert Path(stage["checkpoints"][-1]["path"]).is_relative_to(home)
    assert facts["recipe"].startswith('name = "full')


@pytest.mark.parametrize("name", [sketch.name for sketch in EVERY_STATE])
def test_every_state_can_be_shown_and_watched(
    name: str, home: Path, uids: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for key, value in {"COLUMNS": "100", "LINES": "30", "LMWB_HOME": str(home)}.items():
        monkeypatch.setenv(key, value)
    shown: list[str] = []
    for words in (("show", uids[name]), ("show", uids[name], "--json"), ("watch", uids[name], "--once")):
        assert run(words) == 0
        shown.append(capsys.readouterr().out)
    text, facts, picture = shown
    assert uids[name] in text
    assert json.loads(facts)["id"] == uids[name]
    assert uids[name] in picture
    assert len(picture.splitlines()) <= 30


def test_a_run_that_died_says_why(home: Path):
    assert "killed by SIGKILL: out of memory?" in said(lmwb("show", "probe · seed 0", home=home))
    assert "killed by SIGKILL: out of memory?" in said(lmwb("watch", "probe · seed 0", "--once", home=home))


def test_logs_are_printed_whole(home: Path, uids: dict[str, str]):
    text = (home / "runs" / uids["full · seed 0"] / "log.txt").read_text()
    assert said(lmwb("logs", uids["full · seed 0"], home=home)) == text


def test_logs_follow_until_the_run_ends(tmp_path: Path):
    with HistoryMaker(Home(tmp_path)) as maker:
        uid = maker.add(Sketch("alive", 20, 10, None, alive=True, log="one\n"))
        following = subprocess.Popen(
            [sys.executable, "-m", "lmwb.tui.cli", "logs", uid, "-f"],
            stdout=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, "LMWB_HOME": str(tmp_path)},
        )
        assert following.stdout is not None
        assert following.stdout.readline() == "one\n"
        with (tmp_path / "runs" / uid / "log.txt").open("a") as log:
            log.write("10 %\r20 %\rtwo\nthree")
        assert following.stdout.readline() == "two\n"
        maker.kill(uid)
        assert following.stdout.read() == "three\n"
        assert following.wait() == 0


def test_metrics_come_out_whole_and_exact(home: Path, uids: dict[str, str]):
    uid = uids["full · seed 0"]
    with closing(History(Home(home))) as history:
        stage = history.stages(history.find(uid).id)[0]
        points = history.points(stage.id, "train/loss")
    rows = list(csv.DictReader(StringIO(said(lmwb("metrics", uid, "--metric", "train/loss", home=home)))))
    assert [float(row["value"]) for row in rows] == points.values.tolist()
    assert [int(row["step"]) for row in rows] == points.steps.tolist()
    series = json.loads(said(lmwb("metrics", uid, "--format", "json", home=home)))
    assert {one["metric"] for one in series} >= {"train/loss", "validation/loss"}
    (loss,) = (one for one in series if one["metric"] == "train/loss")
    assert (loss["values"], loss["times_us"]) == (points.values.tolist(), points.times.tolist())


def test_metrics_that_are_not_there_are_named_with_those_that_are(home: Path):
    done = lmwb("metrics", "full · seed 0", "--metric", "loss", home=home)
    assert said(done, 3) == ""
    assert "has no metric 'loss'; it has" in done.stderr
    assert "train/loss" in done.stderr
    done = lmwb("metrics", "full · seed 0", "--stage", "x", home=home)
    assert "has no stage 'x'; it has train" in done.stderr


def test_numbers_that_json_lacks_are_words(tmp_path: Path):
    from lmwb.tui.commands.output import exact

    values = {"a": [math.nan, math.inf], "b": (-math.inf, 1.5)}
    assert exact(values) == {"a": ["NaN", "Infinity"], "b": ["-Infinity", 1.5]}


def test_a_sample_is_text_for_pipes_and_tokens_for_programs(home: Path, uids: dict[str, str]):
    uid = uids["full · seed 0"]
    text = said(lmwb("sample", uid, home=home))
    found = json.loads(said(lmwb("sample", uid, "--json", home=home)))
    assert text.rstrip("\n") == found["text"].rstrip("\n")
    assert (found["prompt"], found["step"], found["stage"]) == ("The with statement", 600, "train")
    token = next(token for token in found["tokens"] if not token["given"])
    assert bytes.fromhex(token["bytes"]).decode() == token["text"]
    assert token["logprob"] <= 0
    assert token["alternatives"][0]["logprob"] >= token["alternatives"][-1]["logprob"]
    other = json.loads(said(lmwb("sample", uid, "--json", "--prompt", "2", "--step", "75", home=home)))
    assert (other["prompt"], other["step"]) == ("A generator is", 75)


def test_a_sample_that_is_not_there_is_told_with_the_steps_that_are(home: Path):
    done = lmwb("sample", "full · seed 0", "--step", "7", home=home)
    assert said(done, 3) == ""
    assert "no sample of step 7 for prompt 1; the last are of 75, 150" in done.stderr
    assert "has no samples for prompt 9" in lmwb("sample", "full · seed 0", "--prompt", "9", home=home).stderr


def test_damaged_records_are_told_as_such(tmp_path: Path):
    with HistoryMaker(Home(tmp_path)) as maker:
        uid = maker.add(Sketch("hurt", 20, 20))
        maker.connection.execute("UPDATE sample SET tokens = x'00'")
        maker.connection.execute("UPDATE block SET data = x'00'")
    for words in (["metrics", uid], ["sample", uid]):
        done = lmwb(*words, home=tmp_path)
        assert done.returncode == 4
        assert "damaged" in done.stderr
    assert "the record is damaged" in said(lmwb("show", uid, home=tmp_path))
    assert "damaged" in said(lmwb("watch", uid, "--once", home=tmp_path))
    assert json.loads(said(lmwb("show", uid, "--json", home=tmp_path)))["stages"][0]["last_sample"]["text"] is None


HOSTILE = "\x1b]0;owned\x07\x1b[2J[red]x[/nope] \u202e\x7f\x9b"


def test_foreign_text_cannot_steer_the_terminal(tmp_path: Path):
    with HistoryMaker(Home(tmp_path)) as maker:
        sketch = Sketch("PLACE", 20, 20, "failed", message=HOSTILE, prompts=[HOSTILE], log=HOSTILE + "\n")
        uid = maker.add(sketch)
        maker.connection.execute("UPDATE run SET name = ?", (HOSTILE,))
    for words in (["runs"], ["show", uid], ["logs", uid], ["watch", uid, "--once"], ["sample", uid]):
        text = said(lmwb(*words, home=tmp_path))
        assert not {"\x1b", "\x07", "\u202e", "\x7f", "\x9b"} & set(text), words
        assert "[red]x[/nope]" in text or words[0] == "sample", words
    document = said(lmwb("runs", "--json", home=tmp_path))
    assert not [c for c in document if not (" " <= c <= "~" or c == "\n")]
    assert json.loads(document)[0]["name"] == HOSTILE


# -- recipes --------------------------------------------------------------------------------------


def test_check_tells_all_problems_and_fails(tmp_path: Path):
    (tmp_path / "bad.toml").write_text('name = "x"\nlr = 1\n[data]\ntrain = "no.txt"\n')
    done = lmwb("check", "bad.toml", "--set", "train.lrr=1", cwd=tmp_path)
    assert said(done, 2) == ""
    assert done.stderr.splitlines() == [
        "bad.toml:1: missing table [model]",
        "bad.toml:2: unknown key 'lr'; it belongs in [train]",
        f"bad.toml:4: data.train: no such file '{tmp_path}/no.txt'",
        "--set train.lrr=1: unknown key 'lrr' in [train]; did you mean 'lr'?",
    ]
    done = lmwb("check", "bad.toml", "--json", cwd=tmp_path)
    assert len(json.loads(said(done, 2))["problems"]) == 3


def test_nothing_is_started_from_a_bad_recipe(tmp_path: Path):
    (tmp_path / "bad.toml").write_text("nmae = 1")
    assert said(lmwb("run", str(tmp_path / "bad.toml"), home=tmp_path / "home"), 2) == ""
    assert json.loads(said(lmwb("runs", "--json", home=tmp_path / "home"))) == []
    done = lmwb("run", "quickstrat", home=tmp_path / "home")
    assert said(done, 3) == ""
    assert done.stderr == "lmwb: there is no recipe 'quickstrat'; did you mean 'quickstart'?\n"


def test_recipes_lists_and_prints(tmp_path: Path):
    listed = json.loads(said(lmwb("recipes", "--json")))
    assert any(recipe["name"] == "quickstart" and recipe["description"] for recipe in listed)
    assert "quickstart" in said(lmwb("recipes"))
    text = said(lmwb("recipes", "quickstart"))
    assert json.loads(said(lmwb("recipes", "quickstart", "--json")))["text"] == text


def test_new_copies_a_recipe_and_never_overwrites(tmp_path: Path):
    assert said(lmwb("new", "mine", cwd=tmp_path)) == "mine.toml\n"
    text = (tmp_path / "mine.toml").read_text()
    assert text.replace('name = "mine"', 'name = "quickstart"') == said(lmwb("recipes", "quickstart"))
    done = lmwb("new", "mine.toml", cwd=tmp_path)
    assert said(done, 2) == ""
    assert "mine.toml exists already" in done.stderr
    assert said(lmwb("new", "x", "--from", "gone", cwd=tmp_path), 3) == ""
    assert not (tmp_path / "x.toml").exists()


def test_schema_is_json():
    assert json.loads(said(lmwb("schema")))["title"] == "Recipe"
