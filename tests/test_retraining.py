"""Trainings done again on some of their rows, and the studies that are made of them."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from asked_runs import TRAINING, Runs
from lmwb.core.errors import Stopped, TrainingError, ValueInRecipeError
from lmwb.core.influence.query_losses import query_losses
from lmwb.core.recipe.schema import DatamodelStage, Train
from lmwb.core.stages.asked import read_queries
from lmwb.core.stages.foreseeing_trainings import foresee_trainings
from lmwb.core.stages.retraining import Retrainer, Retraining
from lmwb.core.stages.studied import read_training
from lmwb.core.training.plan import Plan
from lmwb.core.training.subset import SubsetPlan, settings_for
from lmwb.tui.commands.results import result_rows

CPU = torch.device("cpu")
ROWS = "[queries]\ncount = 3\n"
STUDY = {"kind": '"datamodel"', "subsets": 8, "seeds": "[0]", "figures": '["svg"]'}
LORA = """
[[stage]]
name = "lora"
objective = "causal-lm"
model = { from = "train" }
data = { train = "corpus.txt", block_size = 16, validation = 0.1 }
method = [{ kind = "lora", rank = 2, targets = ["c_attn"], dropout = 0.1 }]
train = { steps = 6, batch_size = 4, gradient_accumulation = 2, lr = 1e-2, result = "last" }
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with a training from scratch, with dropout, and one of a LoRA update that goes on from it."""
    runs = Runs(tmp_path_factory.mktemp("retraining"))
    runs.work("said", TRAINING.replace("resid_pdrop = 0.0", "resid_pdrop = 0.1") + LORA)
    return runs


def retrainer(runs, stage="train", cache=None):
    asked = DatamodelStage.model_validate({"of": "train", "queries": {"count": 3}})
    studied = read_training(f"run:said/{stage}", runs.home, runs.home.cache, print)
    studied = dataclasses.replace(studied, cache=cache or studied.cache)
    queries, _ = read_queries(asked, studied)
    return Retrainer(studied, queries, CPU), studied, queries


def study(runs, uid, stop_after=None, **more):
    """Do a study; its results."""
    keys = {**STUDY, **more}
    text = "".join(f"{name} = {value}\n" for name, value in keys.items())
    text = f'name = "asked"\n[[stage]]\nof = "run:said/train"\n{text}[stage.queries]\ncount = 3\n'
    return runs.work(uid, text, stop_after)


def table(runs, uid, name):
    folder = next((runs.home.run_folder(uid)).glob(f"*/{name}"))
    return list(csv.DictReader(folder.open()))


# -- one training ---------------------------------------------------------------------------------


def test_on_all_rows_with_the_runs_seed_it_comes_to_the_runs_own_result_bit_by_bit(home, tmp_path):
    again, studied, queries = retrainer(home, "train", tmp_path)
    found = again.done(Retraining(range(len(studied.material.train)), studied.seed))
    np.testing.assert_array_equal(found, query_losses(studied.model(CPU), queries, CPU))


def test_a_low_rank_update_is_trained_again_on_the_model_that_it_began_with(home, tmp_path):
    again, studied, queries = retrainer(home, "lora", tmp_path)
    found = again.done(Retraining(range(len(studied.material.train)), studied.seed))
    own = query_losses(studied.model(CPU), queries, CPU)  # with the update merged into the weights, and so rounded
    np.testing.assert_allclose(found, own, rtol=1e-6)
    before = query_losses(retrainer(home, "train")[1].model(CPU), queries, CPU)
    assert np.abs(found - before).max() > 1e-3


def test_other_rows_and_other_seeds_come_to_something_else_and_each_is_kept(home, tmp_path):
    again, studied, _ = retrainer(home, "lora", tmp_path)
    rows = list(range(len(studied.material.train)))
    wanted = [Retraining(rows, 0), Retraining(rows, 1), Retraining(rows[::2], 0)]
    assert [again.kept(each) for each in wanted] == [None] * 3
    found = [again.done(each) for each in wanted]
    assert len({tuple(losses) for losses in found}) == 3
    for each, losses in zip(wanted, found, strict=True):
        np.testing.assert_array_equal(again.kept(each), losses)
    assert again.kept(Retraining(rows[1::2], 0)) is None


def test_a_file_cut_short_is_done_again(home, tmp_path):
    again, studied, _ = retrainer(home, "lora", tmp_path)
    wanted = Retraining(range(0, len(studied.material.train), 3), 0)
    found = again.done(wanted)
    (file,) = tmp_path.glob("retrained/*/*.json")
    file.write_bytes(file.read_bytes()[:20])
    assert again.kept(wanted) is None
    np.testing.assert_array_equal(again.done(wanted), found)


def test_losses_that_are_no_numbers_are_told(home, tmp_path, monkeypatch):
    again, _, _ = retrainer(home, "lora", tmp_path)
    monkeypatch.setattr(Retrainer, "trained", lambda *_: None)
    monkeypatch.setattr("lmwb.core.stages.retraining.query_losses", lambda *_: np.array([1.0, np.nan]))
    with pytest.raises(TrainingError, match="on 7 rows with seed 3, the model loses more"):
        again.done(Retraining(range(7), 3))


def test_drawn_contexts_cannot_be_left_out(home):
    again, studied, queries = retrainer(home)
    drawn = dataclasses.replace(studied.material, plan=lambda settings: again)
    with pytest.raises(ValueInRecipeError, match="draws contexts anew"):
        Retrainer(dataclasses.replace(studied, material=drawn), queries, CPU)


def test_a_plan_over_some_rows_names_each_once_an_epoch_and_no_other():
    settings = Train(batch_size=4, steps=12)
    lengths = np.random.default_rng(0).integers(5, 30, 100)
    rows = sorted(np.random.default_rng(1).choice(100, 23, replace=False).tolist())
    plan = SubsetPlan(rows, settings, 3, lengths)
    for epoch in range(2):
        steps = range(1 + epoch * 6, 7 + epoch * 6)
        assert sorted(row for step in steps for batch in plan.micro_batches(step) for row in batch) == rows
    whole, again = Plan.of(settings, 100, 3, lengths), SubsetPlan(range(100), settings, 3, lengths)
    assert [whole.micro_batches(step) for step in range(1, 13)] == [again.micro_batches(step) for step in range(1, 13)]


def test_fewer_rows_have_as_many_epochs_and_a_schedule_in_proportion():
    settings = Train(steps=100, batch_size=4, warmup=20, schedule="step", step_every=30, compile=True)
    whole = Plan.of(settings, 80, 0)  # 20 steps an epoch
    half = settings_for(settings, whole, 40)
    assert (half.steps, half.warmup, half.step_every, half.compile) == (50, 10, 15, False)
    assert settings_for(settings, whole, 80).steps == 100
    epochs = Train(epochs=3, batch_size=4, warmup=0.1)
    half = settings_for(epochs, Plan.of(epochs, 80, 0), 40)
    assert (half.epochs, half.steps, half.warmup) == (None, 30, 0.1)


# -- studies --------------------------------------------------------------------------------------


def test_a_study_of_subsets_scores_every_strategy_variant_and_baseline_on_one_ground(home):
    found = study(
        home, "subsets", strategies='["ekfac", "identity"]', baselines='["tf-idf", "embeddings"]', seeds="[0, 1]",
        variants='[{ strategy = "ekfac", share = 0.25 }, { strategy = "identity", checkpoints = [10, 20] }]',
    )  # fmt: skip
    names = ["ekfac", "identity", "ekfac, share 0.25", "identity, checkpoints 10 20", "tf-idf", "embeddings"]
    rows = table(home, "subsets", "datamodel.csv")
    assert [row["strategy"] for row in rows] == names
    assert all(-1 <= float(row["low"]) <= float(row["high"]) <= 1 for row in rows)
    assert (rows[0]["difference"], found["reference"]) == ("", "ekfac")
    gap = float(rows[1]["lds"]) - float(rows[0]["lds"])
    assert float(rows[1]["difference"]) == pytest.approx(gap) == found["identity"]["difference"]
    assert 0 <= found["ceiling"] <= 1
    assert len(table(home, "subsets", "datamodel_queries.csv")) == 3
    assert "datamodel.svg" in found["files"]
    told = [name for name, _ in result_rows(found)]
    assert told[: len(names)] == names


def test_the_same_study_with_other_strategies_trains_nothing_again(home, monkeypatch):
    first = study(home, "once", strategies='["identity"]', seed=5)
    monkeypatch.setattr(Retrainer, "trained", lambda *_: pytest.fail("trained again"))
    second = study(home, "twice", strategies='["diagonal", "identity"]', seed=5)
    assert second["identity"]["lds"] == first["identity"]["lds"]


def test_a_stopped_study_goes_on_behind_the_last_training(home, monkeypatch):
    trained = []
    really = Retrainer.trained

    def counted(self, wanted, look):
        trained.append(wanted.seed)
        return really(self, wanted, look)

    monkeypatch.setattr(Retrainer, "trained", counted)
    with pytest.raises(Stopped):
        study(home, "halted", stop_after=90, strategies='["identity"]', baselines="[]", seed=9)
    before = len(trained)
    assert 1 < before < 8
    home.work("halted")
    assert len(trained) == 8 + 1  # the one that was stopped began anew


def test_without_the_row_that_says_the_query_its_loss_rises_most(tmp_path):
    runs = Runs(tmp_path)
    rare = "Quartz zebras juggle violet pianos."
    lines = [*tiny.SENTENCES * 6, rare]
    (tmp_path / "corpus.txt").write_text("\n".join(lines))
    recipe = TRAINING.replace(
        'train = "corpus.txt"\n', 'train = "corpus.txt"\ndocuments = "line"\npacking = "documents"\n'
    )
    recipe = recipe.replace("block_size = 16\nvalidation = 0.1", "block_size = 64\nvalidation = 0")
    recipe = recipe.replace("n_positions = 32", "n_positions = 64")
    runs.work("said", recipe.replace("epochs = 1", "epochs = 6\nlr = 1e-2").replace("keep = 50", "keep = 1"))
    asked = 'name = "asked"\n[[stage]]\nkind = "counterfactual"\nof = "run:said"\nstrategies = ["ekfac", "identity"]\n'
    asked += f'shares = [0.03]\nseeds = [0, 1]\nbaselines = ["tf-idf"]\n[[stage.query]]\ntext = "{rare}"\n'
    found = runs.work("asked", asked)
    without = {name: found[f"{name} 3 %"] for name in ("ekfac", "identity", "tf-idf", "random")}
    assert without["ekfac"]["left_out"] == 1
    assert without["ekfac"]["rise"] > 1.0
    assert without["ekfac"]["rise"] == without["tf-idf"]["rise"]  # the same row
    assert without["random"]["rise"] < without["ekfac"]["rise"] / 4
    nothing = found["nothing left out"]
    assert nothing["perplexity"] == pytest.approx(np.exp(nothing["loss"]))
    seeds = table(runs, "asked", "counterfactual_seeds.csv")
    losses = [float(row["loss"]) for row in seeds if row["strategy"] == "ekfac"]
    assert np.mean(losses) - nothing["loss"] == pytest.approx(without["ekfac"]["rise"])
    told = (Path(runs.home.run_folder("asked")) / "counterfactual" / "counterfactual.png").read_bytes()
    assert told[:4] == b"\x89PNG"


def test_half_precision_ranks_rows_as_full_precision_does(home):
    found = home.work(
        "halves",
        f'name = "asked"\nkind = "half-precision"\nof = "run:said/train"\nstrategies = ["ekfac", "identity"]\n{ROWS}',
    )
    for name in ("ekfac", "identity"):
        assert 0.99 < found[name]["lowest_spearman"] <= found[name]["spearman"] <= 1
        assert found[name]["seconds_float32"] > 0
    rows = table(home, "halves", "half_precision.csv")
    assert [row["strategy"] for row in rows] == ["ekfac"] * 3 + ["identity"] * 3
    assert float(rows[0]["spearman"]) < 1  # they are not the same numbers
    phases = {(row["strategy"], row["numbers"]) for row in table(home, "halves", "half_precision_profile.csv")}
    assert len(phases) == 4


def test_a_check_tells_how_many_trainings_there_would_be(home):
    _, studied, _ = retrainer(home)
    asked = DatamodelStage.model_validate({"of": "train", "queries": {"count": 3}, "subsets": 10, "seeds": [0, 1]})
    told = foresee_trainings(asked, studied, home.home)
    assert "10 subsets of" in told[0]
    assert "20 trainings" in told[0]
    assert "one after the other about" in told[1]


def test_a_variant_must_not_say_what_a_strategy_says():
    with pytest.raises(ValueError, match="stands twice"):
        DatamodelStage.model_validate({"of": "train", "queries": {}, "variants": [{"strategy": "ekfac"}]})
