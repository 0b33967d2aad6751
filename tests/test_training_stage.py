"""The training stage: what it leaves behind, and that an interruption leaves no trace."""

import errno
import json
from contextlib import closing

import pytest
import tiny
import torch
from lmwb.core.errors import Stopped, TrainingError, ValueInRecipeError
from lmwb.core.history.database import open_database
from lmwb.core.history.ledger import StagePlan, begin_attempt, begin_stage, create_run
from lmwb.core.history.liveness import this_machine
from lmwb.core.history.queries import History
from lmwb.core.history.recorder import Recorder
from lmwb.core.home import Home
from lmwb.core.recipe.schema import TrainStage
from lmwb.core.stages import train
from lmwb.core.stages.context import StageContext
from lmwb.core.training import checkpoints


class Bench:
    """A run's surroundings without its processes; each `work` is one attempt."""

    def __init__(self, root, stage: TrainStage):
        self.home = Home(root)
        self.stage = stage
        self.folder = self.home.run_folder("bench")
        self.folder.mkdir(parents=True)
        with closing(open_database(self.home)) as connection:
            self.run_id = create_run(connection, "bench", "bench", "", [StagePlan("train", "train")])
        with closing(History(self.home)) as history:
            self.stage_id = history.stages(self.run_id)[0].id

    def work(self, stop_after=None):
        """Train until the end, or until so many looks at the stop switch."""
        looks = 0

        def stop_wanted():
            nonlocal looks
            looks += 1
            return stop_after is not None and looks >= stop_after

        with closing(open_database(self.home)) as connection:
            attempt_id = begin_attempt(connection, self.run_id, this_machine())
            recorder = Recorder(self.home, self.run_id, attempt_id, warn=print)
            context = StageContext(
                stage_id=self.stage_id,
                run_folder=self.folder,
                folder=self.folder / "train",
                cache=self.home.cache,
                seed=1,
                device=torch.device("cpu"),
                recorder=recorder,
                begin=lambda total, after: begin_stage(connection, self.stage_id, total, attempt_id, after),
                stop_wanted=stop_wanted,
            )
            try:
                return train.run(self.stage, context)
            finally:
                recorder.close()

    @property
    def history(self):
        return History(self.home)

    def weights(self):
        from safetensors.torch import load_file

        return load_file(self.folder / "train" / "model" / "model.safetensors")


def dropout_stage(**changes):
    config = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 32, "resid_pdrop": 0.2}
    return tiny.stage(
        model={"type": "gpt2", "config": config},
        train__steps=12,
        train__gradient_accumulation=2,
        train__eval_every=5,
        train__checkpoint_every=4,
        train__result="last",
        **changes,
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("whole"), dropout_stage())
    results = bench.work()
    return bench, results


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("stops", [[1], [4], [7], [11], [3, 2, 5]])
def test_a_stopped_and_resumed_run_ends_with_the_same_weights(uninterrupted, tmp_path, stops):
    whole, _ = uninterrupted
    bench = Bench(tmp_path, dropout_stage())
    for stop in stops:
        with pytest.raises(Stopped):
            bench.work(stop_after=stop)
    bench.work()
    assert same(bench.weights(), whole.weights())
    with closing(bench.history) as resumed, closing(whole.history) as reference:
        for metric in ("train/loss", "validation/loss", "train/lr"):
            found, expected = resumed.points(bench.stage_id, metric), reference.points(whole.stage_id, metric)
            assert found.steps.tolist() == expected.steps.tolist()
            assert found.values.tolist() == expected.values.tolist()


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "unfinished"])
def test_a_damaged_checkpoint_is_passed_over(uninterrupted, tmp_path, capsys, damage):
    whole, _ = uninterrupted
    bench = Bench(tmp_path, dropout_stage())
    with pytest.raises(Stopped):
        bench.work(stop_after=9)
    newest = bench.folder / "train" / "checkpoints" / "step-000009"
    weights = newest / "model.safetensors"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "flip":
        data = bytearray(weights.read_bytes())
        data[-5] ^= 1
        weights.write_bytes(data)
    elif damage == "delete":
        (newest / checkpoints.STATE).unlink()
    else:
        newest.rename(newest.with_name(".unfinished-step-000009"))
    bench.work()
    said = capsys.readouterr().out
    assert "going on from checkpoint step-000008" in said
    assert ("step-000009 is damaged" in said) == (damage != "unfinished")
    assert same(bench.weights(), whole.weights())


def test_what_a_run_leaves_behind(uninterrupted):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    bench, results = uninterrupted
    model = AutoModelForCausalLM.from_pretrained(bench.folder / results["model"])
    tokenizer = AutoTokenizer.from_pretrained(bench.folder / results["model"])
    assert sum(weight.numel() for weight in model.parameters()) == results["parameters"]
    assert tokenizer.decode(tokenizer("The cat sat")["input_ids"]) == "The cat sat"
    kept = sorted(path.name for path in (bench.folder / "train" / "checkpoints").iterdir())
    assert kept == ["step-000008", "step-000012"]
    assert all(checkpoints.damage(bench.folder / "train" / "checkpoints" / name) is None for name in kept)
    with closing(bench.history) as history:
        run = history.run(bench.run_id)
        assert [saved.step for saved in history.checkpoints(run, bench.stage_id)] == [8, 12]
        assert history.points(bench.stage_id, "train/loss").steps.tolist() == list(range(1, 13))
        assert history.points(bench.stage_id, "validation/loss").steps.tolist() == [0, 5, 10, 12]


def test_the_best_weights_are_the_result(tmp_path):
    """With a rate that ruins the model at the end, the result is what validated best."""
    stage = tiny.stage(train__steps=12, train__lr=0.5, train__schedule="constant", train__eval_every=1, train__keep=1)
    bench = Bench(tmp_path, stage)
    results = bench.work()
    with closing(bench.history) as history:
        losses = history.points(bench.stage_id, "validation/loss")
    best = int(losses.steps[1:][losses.values[1:].argmin()])
    assert results["result_step"] == best
    assert results["validation"]["loss"] == pytest.approx(float(losses.values[1:].min()), rel=1e-6)


def test_samples_are_recorded_as_the_model_learns(tmp_path):
    stage = tiny.stage(
        train__eval_every=3, sample__prompts=["The", "If"], sample__tokens=5, sample__every=2, sample__alternatives=4
    )
    bench = Bench(tmp_path, stage)
    bench.work()
    with closing(bench.history) as history:
        entries = history.samples(bench.stage_id)
        assert [(e.step, e.prompt_index) for e in entries] == [(s, p) for s in (0, 2, 3, 4, 6) for p in (0, 1)]
        trace = history.sample(entries[-1].id)
    assert trace.alternative_ids.shape == (len(trace), 4)
    assert trace.text(0).startswith("If")
    assert len(trace) - trace.prompt_length <= 5


def test_changed_data_are_refused_on_resume(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(tiny.texts()))
    bench = Bench(tmp_path / "home", dropout_stage(data__train=str(corpus), data__max_documents=None))
    with pytest.raises(Stopped):
        bench.work(stop_after=3)
    corpus.write_text("\n\n".join(reversed(tiny.texts())))
    with pytest.raises(TrainingError, match="training data is not what it was"):
        bench.work()


def test_losses_that_stay_bad_end_the_run_with_the_rows(tmp_path, monkeypatch):
    bench = Bench(tmp_path, dropout_stage(train__max_bad_steps=3, data__validation=0.0))
    monkeypatch.setattr(
        "lmwb.core.training.objectives.causal.CausalLM.loss_sum",
        lambda self, outputs, batch: outputs.sum() * float("inf"),
    )
    with pytest.raises(TrainingError, match=r"step \d+: loss or gradient was not finite \d times in a row.*rows \["):
        bench.work()


def test_a_full_disk_costs_checkpoints_not_the_run(tmp_path, monkeypatch, capsys, uninterrupted):
    whole, _ = uninterrupted
    bench = Bench(tmp_path, dropout_stage())
    real, calls = checkpoints._sync, 0

    def full(path):
        nonlocal calls
        calls += 1
        if calls < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path)

    monkeypatch.setattr(checkpoints, "_sync", full)
    bench.work()
    assert "no checkpoint: No space left on device" in capsys.readouterr().out
    assert same(bench.weights(), whole.weights())


def test_too_small_a_disk_is_told_before_the_first_step(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(ValueInRecipeError, match="MiB free") as caught:
        Bench(tmp_path, dropout_stage()).work()
    assert caught.value.key == "train.keep"


@pytest.mark.slow
def test_a_crash_at_any_moment_of_saving_leaves_a_whole_checkpoint(tmp_path, monkeypatch, uninterrupted):
    """Work ends at the n-th operation on the disk, and nothing is tidied up after it, as if the process had died."""
    import os
    import shutil

    whole, _ = uninterrupted
    remove = shutil.rmtree
    for number in range(1, 40, 3):
        bench = Bench(tmp_path / str(number), dropout_stage())
        count = 0

        def dying(real):
            def call(*arguments, **named):
                nonlocal count
                count += 1
                if count == number:  # noqa: B023
                    raise KeyboardInterrupt  # not an OSError: nothing may catch and mend it
                return real(*arguments, **named)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "_sync", dying(checkpoints._sync))
            patch.setattr(checkpoints, "_describe", dying(checkpoints._describe))
            patch.setattr(os, "rename", dying(os.rename))
            patch.setattr(shutil, "rmtree", lambda *a, **k: remove(*a, **k) if count < number else None)  # noqa: B023
            with pytest.raises((KeyboardInterrupt, Stopped)):
                bench.work(stop_after=10)
        bench.work()
        assert same(bench.weights(), whole.weights()), number


def test_progress_facts_are_plain_json(uninterrupted):
    bench, _ = uninterrupted
    facts = json.loads((bench.folder / "train" / "checkpoints" / "step-000012" / checkpoints.FACTS).read_text())
    assert facts["step"] == 12
    assert facts["facts"]["tokens"] > 0


@pytest.mark.parametrize(
    ("text", "validation", "key", "sentence"),
    [
        ("One short line.", 0.0, "data.train", r"hold \d+ tokens, too few for one block of 16"),
        ("word " * 40, 0.001, "data.validation", "too little text to set a share aside"),
    ],
)
def test_too_little_text_is_refused(tmp_path, text, validation, key, sentence):
    corpus = tmp_path / "short.txt"
    corpus.write_text(text)
    stage = dropout_stage(data__train=str(corpus), data__validation=validation)
    with pytest.raises(ValueInRecipeError, match=sentence) as caught:
        Bench(tmp_path / "home", stage).work()
    assert caught.value.key == key
