"""Runs as real processes: launched, stopped, killed, resumed."""

import os
import signal

import pytest
from lmwb.core import runs
from lmwb.core.children import process_environment
from lmwb.core.errors import UsageError
from lmwb.core.home import Home
from small_runs import ended, recipe, wait, weights


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.mark.slow
def test_a_run_trains_stops_and_resumes_to_the_same_weights(tmp_path, home):
    whole = wait(home, runs.launch(home, recipe(tmp_path)), ended)
    assert (whole.state, whole.exit_code, whole.step) == ("finished", 0, 200)
    assert whole.loss < 5
    with pytest.raises(UsageError, match="has finished"):
        runs.resume(home, whole)

    cut = wait(home, runs.launch(home, recipe(tmp_path)), lambda run: run.state == "running" and run.step >= 1)
    with pytest.raises(UsageError, match=r"is running; `lmwb stop .*` ends it"):
        runs.resume(home, cut)
    runs.stop(cut)
    cut = wait(home, cut, ended)
    assert (cut.state, cut.exit_code) == ("stopped", 6)
    with pytest.raises(UsageError, match="is not running"):
        runs.stop(cut)
    cut = wait(home, runs.resume(home, cut), ended)
    assert (cut.state, cut.attempts, cut.step) == ("finished", 2, 200)
    assert weights(cut) == weights(whole)


@pytest.mark.slow
def test_a_killed_worker_is_shown_as_died_with_the_cause(tmp_path, home):
    run = wait(home, runs.launch(home, recipe(tmp_path, steps=100_000)), lambda run: run.step >= 1)
    os.kill(run.pid, signal.SIGKILL)
    run = wait(home, run, ended, seconds=5)
    assert (run.state, run.signal) == ("died", signal.SIGKILL)
    assert "killed by SIGKILL" in run.message
    assert "last words:" in run.message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "data.block_size=64",
            "--set data.block_size=64: block_size 64 is more than the 32 tokens that the model takes",
        ),
        ("model.type=gpt22", "--set model.type=gpt22: transformers knows no causal language model of type 'gpt22'"),
    ],
)
def test_what_only_the_worker_can_know_still_points_at_the_argument(tmp_path, home, override, sentence):
    run = wait(home, runs.launch(home, recipe(tmp_path, overrides=[override])), ended)
    assert (run.state, run.exit_code) == ("failed", 2)
    assert run.message.startswith(sentence)
    assert "Traceback" not in runs.log_file(run).read_text()


@pytest.mark.slow
def test_a_run_survives_the_death_of_its_supervisor(tmp_path, home):
    import psutil

    run = wait(home, runs.launch(home, recipe(tmp_path, steps=400)), lambda run: run.state == "running" and run.pid)
    os.kill(psutil.Process(run.pid).ppid(), signal.SIGKILL)
    run = wait(home, run, ended)
    assert (run.state, run.step) == ("finished", 400)


@pytest.mark.slow
@pytest.mark.parametrize("step", [7, 58, 131])
def test_a_killed_run_resumes_to_the_same_weights(tmp_path, home, step):
    whole = wait(home, runs.launch(home, recipe(tmp_path)), ended)
    cut = runs.launch(home, recipe(tmp_path, overrides=["train.log_every=1"]))
    cut = wait(home, cut, lambda run: run.state == "running" and run.step >= step)
    os.kill(cut.pid, signal.SIGKILL)
    cut = wait(home, cut, ended)
    assert cut.state == "died"
    cut = wait(home, runs.resume(home, cut), ended)
    assert cut.state == "finished"
    assert weights(cut) == weights(whole)


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_idle_threads_of_a_run_leave_the_cores_to_others_unless_told_otherwise(given, seen, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert process_environment().get("GOMP_SPINCOUNT") == seen
