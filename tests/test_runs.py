"""Runs as real processes: launched, stopped, killed, resumed."""

import contextlib
import os
import signal
import time

import pytest
import tiny
from lmwb.core import runs
from lmwb.core.errors import UsageError
from lmwb.core.history.queries import OPEN_STATES, History
from lmwb.core.home import Home
from lmwb.core.recipe import load

RECIPE = """
name = "tiny"
seed = 5
[model]
type = "gpt2"
config = {{ n_layer = 1, n_head = 2, n_embd = 16, n_positions = 32 }}
[tokenizer]
kind = "bpe"
vocab_size = 300
[data]
train = "corpus.txt"
block_size = 16
[train]
steps = {steps}
batch_size = 4
eval_every = 100
checkpoint_every = 20
result = "last"
[sample]
prompts = ["The [/red] \\u001b[31m"]
tokens = 4
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def recipe(tmp_path, steps=200, overrides=()):
    (tmp_path / "corpus.txt").write_text("\n\n".join(tiny.texts(200)))
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE.format(steps=steps))
    return load(path, list(overrides))


def wait(home, run, until, seconds=120):
    """Look at the history until the run is as wanted."""
    deadline = time.monotonic() + seconds
    with contextlib.closing(History(home)) as history:
        while time.monotonic() < deadline:
            run = history.run(run.id)
            if until(run):
                return run
            time.sleep(0.02)
    log = runs.log_file(run).read_text()
    raise AssertionError(f"waited in vain; the run is {run}\n{log}")


def ended(run):
    return run.state not in OPEN_STATES


def weights(run):
    return (run.folder / "train" / "model" / "model.safetensors").read_bytes()


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


def test_a_killed_worker_is_shown_as_died_with_the_cause(tmp_path, home):
    run = wait(home, runs.launch(home, recipe(tmp_path, steps=100_000)), lambda run: run.step >= 1)
    os.kill(run.pid, signal.SIGKILL)
    run = wait(home, run, ended, seconds=5)
    assert (run.state, run.signal) == ("died", signal.SIGKILL)
    assert "killed by SIGKILL" in run.message
    assert "last words:" in run.message


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
