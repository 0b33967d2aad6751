"""Real processes that ask for influence: killed in any phase they go on to the same scores; two share the work."""

import shutil

import asked_runs
import pytest
import small_runs
from lmwb.core import runs as real
from lmwb.core.influence_report import read_report
from lmwb.core.recipe import load

QUESTION = """
[[query]]
prompt = "The cat sat on the mat"
text = " and looked at the dog."
[[query]]
text = "A dog ran over the hill"
[factors]
parts = 30
[scores]
part = 3
top = 40
"""
PHASES = {
    "covariance": 12,
    "eigendecomposition": 2,
    "eigenvalue correction": 12,
    "query gradients": 1,
    "training gradients": 12,
    "scores of tokens": 2,
}
"""The phases, and at which of its steps the worker is killed in each."""
KILLER = """
import builtins, os, signal, sys

plain, seen = builtins.__import__, {}


def watching(*args, **more):
    found = plain(*args, **more)
    profile = getattr(sys.modules.get("lmwb.core.influence.profile"), "Profile", None)
    if profile is not None and not hasattr(profile, "watched"):
        profile.watched, begin = True, profile.phase

        def phase(self, name):
            seen[name] = seen.get(name, 0) + 1
            if f"{name}:{seen[name]}" == os.environ.get("KILLED_IN"):
                os.kill(os.getpid(), signal.SIGKILL)
            return begin(self, name)

        profile.phase = phase
    return found


builtins.__import__ = watching
"""
"""What Python reads before a worker begins: it is killed as it enters a step of a phase."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = asked_runs.Runs(tmp_path_factory.mktemp("asked"))
    made.work("said", asked_runs.TRAINING)
    return made


@pytest.fixture(scope="module")
def whole(made):
    run = finished(made, launch(made, "whole"))
    made.calls = calls_of(run)
    return found_by(run)


def launch(made, uid, more=""):
    path = made.folder / f"{uid}.toml"
    path.write_text(more + asked_runs.question(QUESTION))
    return real.launch(made.home, load(path))


def finished(made, run):
    ended = small_runs.wait(made.home, run, small_runs.ended)
    assert ended.state == "finished"
    return ended


def found_by(run):
    folder = run.folder / "influence"
    report = read_report(folder)
    return (folder / "ekfac" / "scores.safetensors").read_bytes(), dict(report.answers), dict(report.rows)


def calls_of(run):
    return {each["phase"]: each["calls"] for each in read_report(run.folder / "influence").profile}


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_killed_in_any_phase_and_resumed_it_finds_the_same_and_does_no_phase_twice(
    made, whole, phase, tmp_path, monkeypatch
):
    shutil.rmtree(made.home.cache / "influence", ignore_errors=True)
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path))
        patched.setenv("KILLED_IN", f"{phase}:{PHASES[phase]}")
        killed = small_runs.wait(made.home, launch(made, phase.replace(" ", "-")), small_runs.ended)
    assert killed.state == "died"
    assert not (killed.folder / "influence" / "influence.json").exists()
    again = finished(made, real.resume(made.home, killed))
    (scored, answers, rows), (wanted, known, texts) = found_by(again), whole
    assert scored == wanted
    assert (answers, rows) == (known, texts)
    calls = calls_of(again)
    before = list(PHASES)[: list(PHASES).index(phase)]
    assert not set(before) - {"query gradients"} & set(calls)
    if phase not in ("query gradients", "scores of tokens"):  # these are done as a whole
        assert calls[phase] < made.calls[phase]


@pytest.mark.slow
def test_two_processes_share_the_work_and_find_the_same(made, whole):
    shutil.rmtree(made.home.cache / "influence", ignore_errors=True)
    run = finished(made, launch(made, "team", 'processes = 2\ndevice = "cpu"\n'))
    (_, answers, rows), (_, wanted, known) = found_by(run), whole
    assert rows == known
    for found, right in zip(answers["ekfac"], wanted["ekfac"], strict=True):
        assert [each.row for each in found.best] == [each.row for each in right.best]
    assert "2 processes share the work" in " ".join(read_report(run.folder / "influence").notes)
