"""Event files beside the history, read back with TensorBoard's own reader."""

import contextlib
import math

import pytest
from lmwb.core.errors import RecipeError
from lmwb.core.history import tensorboard
from lmwb.core.history.tensorboard import EventFiles, check_installed
from lmwb.core.home import Home
from small_history import begin, curve

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def scalars(folder, name):
    read = accumulators.EventAccumulator(str(folder))
    read.Reload()
    return {event.step: event.value for event in read.Scalars(name)}


def test_measurements_go_into_the_history_and_into_event_files(tmp_path):
    home = Home(tmp_path / "home")
    run = begin(home)
    events = EventFiles()
    with contextlib.closing(run.recorder()) as recorder:
        recorder.also = events.add
        events.open(tmp_path / "train", 0)
        for step in range(1, 6):
            recorder.metrics(run.stage_id, step, {"loss": step / 4, "odd": math.nan})
        events.close()
    wanted = {step: step / 4 for step in range(1, 6)}
    assert scalars(tmp_path / "train" / "tensorboard", "loss") == wanted == curve(home, run.stage_id)
    assert all(map(math.isnan, scalars(tmp_path / "train" / "tensorboard", "odd").values()))


def test_what_a_resumed_attempt_makes_again_counts_once(tmp_path):
    events = EventFiles()
    events.open(tmp_path, 0)
    for step in range(1, 6):
        events.add(0, step, {"loss": 1.0})
    events.close()
    events.open(tmp_path, 3)
    for step in range(4, 8):
        events.add(0, step, {"loss": 2.0})
    events.close()
    assert scalars(tmp_path / "tensorboard", "loss") == {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2}


def test_a_missing_package_is_told_before_training_with_the_line(monkeypatch):
    check_installed({})
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=r"^a.toml:7: event files need the package tensorboard; `pip install"):
        check_installed({"log.tensorboard": "a.toml:7"})
