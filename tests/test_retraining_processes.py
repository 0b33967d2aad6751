"""Studies with several trainings at a time, as real processes: stopped, killed, failing."""

import contextlib
import json
import os
import signal
import time

import psutil
import pytest
import small_runs
import tiny
from lmwb.core import runs
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from lmwb.core.recipe import load

pytestmark = pytest.mark.slow

RECIPE = """
name = "study"
[[stage]]
name = "train"
model = {{ type = "gpt2", config = {{ n_layer = 1, n_head = 2, n_embd = 16, n_positions = 32 }} }}
tokenizer = {{ kind = "bpe", vocab_size = 300 }}
data = {{ train = "corpus.txt", block_size = 16, validation = 0.1 }}
train = {{ epochs = {epochs}, batch_size = 4, eval_every = 1000, result = "last" }}
[[stage]]
kind = "datamodel"
of = "train"
strategies = ["identity"]
baselines = []
queries = {{ count = 3 }}
subsets = 12
seeds = [0]
jobs = {jobs}
figures = []
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


def launch(home, folder, jobs=2, epochs=2):
    folder.mkdir(exist_ok=True)
    (folder / "corpus.txt").write_text("\n\n".join(tiny.texts(60)))
    (folder / "study.toml").write_text(RECIPE.format(jobs=jobs, epochs=epochs))
    return runs.launch(home, load(folder / "study.toml", []))


def retrained(home):
    return sorted(home.cache.glob("retrained/*/*.json"))


def summary(home, run):
    with contextlib.closing(History(home)) as history:
        return {stage.name: stage.summary for stage in history.stages(run.id)}["datamodel"]


def children_of(pid):
    return [
        each for each in psutil.Process(pid).children(recursive=True) if "retraining_pool" in " ".join(each.cmdline())
    ]


def wait_for(look, seconds=600):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def test_several_at_a_time_come_to_the_same_as_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = []
    for jobs in (1, 2):
        home = Home(tmp_path / f"home{jobs}")
        run = small_runs.wait(home, launch(home, tmp_path / "work", jobs), small_runs.ended)
        assert run.state == "finished", run.message
        found.append([sorted(json.loads(file.read_bytes())["losses"] for file in retrained(home))])
        found[-1].append(summary(home, run)["identity"]["lds"])
    assert found[0] == found[1]


def test_a_killed_study_leaves_no_process_behind_and_goes_on_behind_the_last_training(home, tmp_path):
    run = launch(home, tmp_path / "work", epochs=8)
    wait_for(lambda: retrained(home))
    run = small_runs.wait(home, run, lambda run: run.pid is not None)
    children = children_of(run.pid)
    assert len(children) == 2
    os.kill(run.pid, signal.SIGKILL)
    run = small_runs.wait(home, run, small_runs.ended)
    assert run.state == "died"
    psutil.wait_procs(children, 10)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    kept = {file: file.stat().st_mtime_ns for file in retrained(home)}
    assert 1 <= len(kept) < 12
    run = small_runs.wait(home, runs.resume(home, run), small_runs.ended)
    assert run.state == "finished", run.message
    assert len(retrained(home)) == 12
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


def test_a_stopped_study_ends_at_once_and_says_what_is_kept(home, tmp_path):
    run = launch(home, tmp_path / "work", epochs=20)
    wait_for(lambda: retrained(home))
    run = small_runs.wait(home, run, lambda run: run.pid is not None)
    children = children_of(run.pid)
    runs.stop(run)
    began = time.monotonic()
    run = small_runs.wait(home, run, small_runs.ended)
    assert run.state == "stopped"
    assert time.monotonic() - began < 30  # a training takes far longer than this, were it waited for
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert "of 12 trainings are done and kept" in runs.log_file(run).read_text()


def test_what_goes_wrong_in_a_process_is_told_as_the_reason_of_the_run(home, tmp_path):
    home.cache.mkdir(parents=True)
    (home.cache / "retrained").write_text("a file where a folder should be")
    run = small_runs.wait(home, launch(home, tmp_path / "work"), small_runs.ended)
    assert run.state == "failed"
    assert "training 1 of 12 (seed 0): cannot write" in run.message or "training 2 of 12" in run.message
    assert "Traceback" not in runs.log_file(run).read_text()
