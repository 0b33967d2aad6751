"""Runs whose training is shared by two processes: one run to everybody, and it never hangs."""

import contextlib
import os
import signal

import psutil
import pytest
import tiny
from lmwb.core import runs
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from lmwb.core.recipe import load
from safetensors.torch import load_file
from small_runs import ended, recipe, wait, weights

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def shared(tmp_path, processes=2, dropout=0.0):
    # an eps this large keeps Adam from making whole steps of rounding errors
    changes = [f"processes={processes}", "device=cpu", "train.eps=1e-3"]
    rates = [f"model.config.{place}_pdrop={dropout}" for place in ("resid", "embd", "attn")]
    return recipe(tmp_path, overrides=[*changes, *rates])


def companions(run):
    return [child for child in psutil.Process(run.pid).children() if "lmwb.core.companion" in child.cmdline()]


def at_step(step):
    return lambda run: (run.step or 0) >= step or ended(run)


def losses(home, run):
    with contextlib.closing(History(home)) as history:
        stage = history.stages(run.id)[0].id
        return {
            name: history.points(stage, name).values.tolist()
            for name in ("train/loss", "validation/loss", "train/gradient_norm")
        }


def test_two_processes_train_as_one_does_and_resume_to_the_same_weights(tmp_path, home):
    alone = wait(home, runs.launch(home, shared(tmp_path, processes=1)), ended)
    whole = wait(home, runs.launch(home, shared(tmp_path)), ended)
    assert (whole.state, whole.exit_code, whole.step) == ("finished", 0, 200)
    expected, found = losses(home, alone), losses(home, whole)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-4)
    one, two = (load_file(run.folder / "train" / "model" / "model.safetensors") for run in (alone, whole))
    for name, weight in one.items():
        assert (two[name] - weight).abs().max() < 1e-4

    cut = wait(home, runs.launch(home, shared(tmp_path)), at_step(3))
    (other,) = companions(cut)
    other.send_signal(signal.SIGTERM)  # as a job manager does to all processes; the worker is the one to heed it
    runs.stop(cut)
    cut = wait(home, cut, ended)
    assert (cut.state, cut.exit_code) == ("stopped", 6)
    assert cut.step < 200
    other.wait(10)
    cut = wait(home, runs.resume(home, cut), ended)
    assert (cut.state, cut.attempts, cut.step) == ("finished", 2, 200)
    assert weights(cut) == weights(whole)


def test_the_death_of_any_process_ends_the_run_which_goes_on_as_if_nothing_had_been(tmp_path, home):
    whole = wait(home, runs.launch(home, shared(tmp_path, dropout=0.1)), ended)

    cut = wait(home, runs.launch(home, shared(tmp_path, dropout=0.1)), at_step(25))
    companions(cut)[0].kill()
    cut = wait(home, cut, ended, seconds=60)
    assert (cut.state, cut.exit_code) == ("died", 7)
    assert cut.message.startswith("process 2 of 2 was killed by SIGKILL")

    cut = wait(home, runs.resume(home, cut), lambda run: run.attempts == 2 and at_step(65)(run))
    (other,) = companions(cut)
    os.kill(cut.pid, signal.SIGKILL)
    cut = wait(home, cut, ended, seconds=10)
    assert (cut.state, cut.signal) == ("died", signal.SIGKILL)
    other.wait(10)

    cut = wait(home, runs.resume(home, cut), ended)
    assert cut.state == "finished"
    assert weights(cut) == weights(whole)


def test_what_is_wrong_with_the_recipe_is_told_once(tmp_path, home):
    loaded = recipe(tmp_path, overrides=["processes=2", "device=cpu", "data.block_size=64"])
    run = wait(home, runs.launch(home, loaded), ended)
    assert (run.state, run.exit_code) == ("failed", 2)
    assert run.message.startswith("--set data.block_size=64: block_size 64 is more than the 32 tokens")
    log = runs.log_file(run).read_text()
    assert log.count("block_size 64") == 1
    assert "Traceback" not in log


# a teacher and a judge of contexts are trained, then a student that is pruned while it learns, and a filtered training
STAGES = """
name = "methods"
seed = 5
processes = {processes}
device = "cpu"
[defaults.train]
batch_size = 4
gradient_accumulation = 2
eps = 1e-3
eval_every = 30
[[stage]]
name = "teacher"
model.type = "gpt2"
tokenizer = {{ kind = "bpe", vocab_size = 300 }}
data = {{ train = "corpus.txt", block_size = 16 }}
train = {{ steps = 40, lr = 5e-3 }}
[stage.model.config]
n_layer = 2
n_head = 2
n_embd = 16
n_positions = 32
resid_pdrop = 0.0
embd_pdrop = 0.0
attn_pdrop = 0.0
[[stage]]
kind = "information-gain"
name = "gain"
model = {{ from = "teacher" }}
data = {{ train = "corpus.txt", objective = "others.txt", block_size = 12, contexts = 4 }}
pairs = 16
holdout = 0.25
learner = [{{ kind = "convolutions", epochs = 2, width = 8 }}]
[[stage]]
name = "pruned-student"
model = {{ from = "teacher", layers = [0] }}
data = {{ train = "corpus.txt", block_size = 16 }}
train = {{ steps = 30 }}
method = [
  {{ kind = "distillation", teacher = "teacher", mse = 0.1 }},
  {{ kind = "movement-pruning", mask = "top-k", final_threshold = 0.5, init = "uniform", init_scale = 1.0 }},
]
[[stage]]
name = "filtered"
model = {{ from = "teacher" }}
data = {{ train = "corpus.txt", block_size = 12, packing = "crops", validation = 0 }}
train = {{ steps = 30 }}
[[stage.method]]
kind = "information-gain"
from = "gain"
threshold = {{ kind = "quantile", keep = 0.5, contexts = 32 }}
"""


METHODS = ("pruned-student", "filtered")


def test_methods_train_alike_in_two_processes(tmp_path, home):
    (tmp_path / "corpus.txt").write_text("\n\n".join(tiny.texts(120)))
    (tmp_path / "others.txt").write_text("\n\n".join(f"{text} {place}" for place, text in enumerate(tiny.texts(20))))
    found = []
    for processes in (1, 2):
        path = tmp_path / f"{processes}.toml"
        path.write_text(STAGES.format(processes=processes))
        run = wait(home, runs.launch(home, load(path)), ended)
        assert (run.state, run.message) == ("finished", None)
        with contextlib.closing(History(home)) as history:
            stages = {stage.name: stage.id for stage in history.stages(run.id)}
            found.append({name: history.points(stages[name], "train/loss").values for name in METHODS})
    for name, values in found[0].items():
        assert len(values) == 30
        assert found[1][name] == pytest.approx(values, rel=1e-3)
