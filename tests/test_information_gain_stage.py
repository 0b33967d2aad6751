"""From a recipe to a filtered training: the stage that learns to choose, and the stages that name it."""

import copy
import dataclasses
from contextlib import closing

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
import torch
from lmwb.core.data.crops import Crops
from lmwb.core.data.rows import encode
from lmwb.core.errors import RecipeError, Stopped, TrainingError, ValueInRecipeError
from lmwb.core.history.queries import History
from lmwb.core.methods import Place, activate
from lmwb.core.methods.information_gain.gains import Gains
from lmwb.core.methods.information_gain.stored import read_facts
from lmwb.core.recipe import load
from lmwb.core.recipe.schema import Train
from lmwb.core.recipe.schema.gain import GainStage, InformationGain
from lmwb.core.stages import information_gain
from lmwb.core.training.crops import CropPlan
from lmwb.core.training.loop import Loop
from lmwb.core.training.objectives.causal import CausalLM
from lmwb.tui.commands.results import result_rows
from test_training_stage import Bench, same

LENGTH = 12
CPU = torch.device("cpu")


def articles(first, number):
    """Texts of some forty words each, all different."""
    words = " ".join(tiny.SENTENCES).split()
    return [
        " ".join(words[(place * 7 + at * (1 + place % 5)) % len(words)] for at in range(40))
        for place in range(first, first + number)
    ]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A model with its tokenizer, and files of articles that have none in common."""
    folder = tmp_path_factory.mktemp("material")
    tokenizer = tiny.tokenizer()
    model = tiny.model(tokenizer, dropout=0.1, n_positions=32, n_layer=1, n_embd=16, initializer_range=0.2)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    for name, first, number in (("train", 0, 12), ("objective", 50, 4), ("test", 80, 3)):
        (folder / f"{name}.txt").write_text("\n".join(articles(first, number)))
    return folder


def gain_stage(material, **changes):
    document = {
        "kind": "information-gain",
        "name": "gain",
        "model": {"from": str(material / "base")},
        "data": {
            "train": str(material / "train.txt"),
            "objective": str(material / "objective.txt"),
            "documents": "line",
            "block_size": LENGTH,
            "contexts": 6,
        },
        "pairs": 24,
        "step": {"lr": 1e-3},
        "learner": [{"kind": "convolutions", "epochs": 3, "lr": 0.05, "width": 8}, {"kind": "published", "epochs": 2}],
    }
    for key, value in changes.items():
        table, _, name = key.partition("__")
        document[table] = {**document[table], name: value} if name else value
    return GainStage.model_validate(document)


def train_stage(material, gain, **changes):
    half = {"kind": "quantile", "keep": 0.5, "contexts": 100}
    kinds = {"kind": "information-gain", "from": str(gain), "threshold": half}
    return tiny.stage(
        model={"from": str(material / "base")},
        tokenizer=None,
        data={
            "train": str(material / "train.txt"),
            "validation": str(material / "test.txt"),
            "documents": "line",
            "packing": "crops",
            "block_size": LENGTH,
        },
        train={"steps": 12, "batch_size": 4, "lr": 1e-3, "eval_every": 4, "checkpoint_every": 4, "result": "last"},
        method=[{**kinds, **changes}],
    )


class GainBench(Bench):
    """A run of one stage that learns to choose."""

    def work(self, stop_after=None, seed=1):
        from unittest.mock import patch

        real = information_gain.run

        def run(stage, context):
            return real(stage, dataclasses.replace(context, folder=self.folder / "gain", seed=seed))

        with patch("lmwb.core.stages.train.run", run):
            return super().work(stop_after)


@pytest.fixture(scope="module")
def learned(material, tmp_path_factory):
    bench = GainBench(tmp_path_factory.mktemp("learned"), gain_stage(material))
    return bench, bench.work()


def test_the_stage_leaves_pairs_learners_and_curves(material, learned):
    bench, results = learned
    table = pq.read_table(bench.folder / results["pairs_file"]).to_pydict()
    gains = np.array(table["exact"])
    assert table["number"] == list(range(24))
    assert table["gain"] == table["exact"]
    np.testing.assert_allclose(table["z"], (gains - gains.mean()) / gains.std(), rtol=1e-9)
    held_out = np.array(table["held_out"]) == 1
    assert held_out.sum() == 5
    for kind in ("convolutions", "published"):
        mse = np.mean((np.array(table[f"q_{kind}"]) - table["z"])[held_out] ** 2)
        assert results[f"held-out/{kind}"]["mse"] == pytest.approx(mse, rel=1e-5)
    facts = read_facts(bench.folder / "gain")
    assert results["learner"] == facts.best == min(facts.mse, key=facts.mse.get)
    assert results["gain"]["mean"] == pytest.approx(gains.mean())
    shown = dict(result_rows(results))
    assert shown["pairs"] == "24"
    assert shown["held-out published"].startswith("mse ")
    with closing(bench.history) as history:
        measured = history.points(bench.stage_id, "gain/exact")
        assert measured.steps.tolist() == list(range(1, 25))
        assert measured.values.tolist() == table["exact"]
        assert history.points(bench.stage_id, "learner/convolutions/mse").steps.tolist() == [1, 2, 3]
        assert len(history.points(bench.stage_id, "learner/published/rank_correlation")) == 2


def test_a_stopped_stage_goes_on_with_the_pairs_that_it_has(material, learned, tmp_path, capsys):
    bench = GainBench(tmp_path, gain_stage(material))
    with pytest.raises(Stopped):
        bench.work(stop_after=10)
    again = bench.work()
    assert "10 of 24 are known already" in capsys.readouterr().out
    whole, results = learned
    assert again == results
    with closing(bench.history) as one, closing(whole.history) as other:
        points = [history.points(bench.stage_id, "gain/exact") for history in (one, other)]
        assert points[0].values.tolist() == points[1].values.tolist()
        assert points[0].steps.tolist() == points[1].steps.tolist()


def test_runs_that_share_the_stages_seed_measure_pairs_once(material, tmp_path, monkeypatch):
    stage = gain_stage(material, seed=9)
    first = GainBench(tmp_path, stage).work(seed=1)
    monkeypatch.setattr(Gains, "measure", lambda *_: pytest.fail("measured again"))
    monkeypatch.setattr(Bench, "__init__", lambda self, *_: None)
    second = GainBench(tmp_path, stage)
    vars(second).update(vars(_beside(tmp_path, stage)))
    assert second.work(seed=2) == first


def _beside(root, stage):
    """Another run in the same home."""
    from types import SimpleNamespace

    from lmwb.core.history.database import open_database
    from lmwb.core.history.ledger import StagePlan, create_run
    from lmwb.core.home import Home

    home = Home(root)
    folder = home.run_folder("beside")
    folder.mkdir(parents=True)
    with closing(open_database(home)) as connection:
        run_id = create_run(connection, "beside", "beside", "", [StagePlan("gain", "information-gain")])
    with closing(History(home)) as history:
        stage_id = history.stages(run_id)[0].id
    return SimpleNamespace(home=home, stage=stage, folder=folder, run_id=run_id, stage_id=stage_id)


def test_every_option_counts(material, tmp_path):
    """None is read and forgotten: each changes what is measured or learned."""
    base = gain_stage(material)
    changes = {
        "step__lr": 2e-3, "step__optimizer": "sgd", "step__dropout": True, "step__clip": 0.01, "step__eps": 1e-3,
        "step__weight_decay": 0.5, "data__contexts": 3, "data__block_size": 8, "seed": 3,
    }  # fmt: skip
    found = {}
    for place, (key, value) in enumerate([("pairs", 16), *changes.items()]):
        few = {"pairs": 16, "step": {"lr": 1e-3}, "learner": [{"kind": "published", "epochs": 1}]}
        table, _, name = key.partition("__")
        few[table] = {**few.get(table, base.model_dump(by_alias=True)[table]), name: value} if name else value
        found[key] = GainBench(tmp_path / str(place), gain_stage(material, **few)).work()["gain"]["mean"]
    assert len(set(found.values())) == len(found), found


def test_objective_articles_stand_apart_from_those_to_train_on(material, tmp_path):
    mixed = tmp_path / "mixed.txt"
    mixed.write_text((material / "objective.txt").read_text() + "\n" + articles(3, 1)[0])
    with pytest.raises(ValueInRecipeError, match="1 of its articles are among those to train on") as caught:
        GainBench(tmp_path / "home", gain_stage(material, data__objective=str(mixed))).work()
    assert caught.value.key == "data.objective"


def test_gains_that_are_all_alike_are_refused(material, tmp_path, monkeypatch):
    from lmwb.core.methods.information_gain.gains import Measured

    monkeypatch.setattr(Gains, "measure", lambda *_, **__: Measured(2.0, 0.5))
    with pytest.raises(TrainingError, match="the same information gain: there is nothing to learn"):
        GainBench(tmp_path, gain_stage(material)).work()


# -- filtered training ----------------------------------------------------------------------------


@pytest.mark.parametrize("select", ["filter", "random"])
def test_a_filtered_training_that_was_stopped_ends_with_the_same_weights(material, learned, tmp_path, select):
    stage = train_stage(material, learned[0].folder / "gain", select=select)
    whole = Bench(tmp_path / "whole", stage)
    results = whole.work()
    stopped = Bench(tmp_path / "stopped", stage)
    for stop in (3, 4):
        with pytest.raises(Stopped):
            stopped.work(stop_after=stop)
    again = stopped.work()
    assert same(stopped.weights(), whole.weights())
    for name in ("looked_at", "taken", "accept_rate", "q", "q_offered"):
        assert again[f"information-gain/{name}"] == results[f"information-gain/{name}"]
    assert results["information-gain/taken"] == 12 * 4
    with closing(stopped.history) as one, closing(whole.history) as other:
        for name in ("accept_rate", "q", "q_offered", "threshold"):
            found, expected = (history.points(whole.stage_id, f"information-gain/{name}") for history in (one, other))
            assert found.steps.tolist() == expected.steps.tolist() == list(range(1, 13))
            assert found.values.tolist() == expected.values.tolist()
        assert len(set(expected.values.tolist())) == 1
    assert 0.3 < results["information-gain/accept_rate"] < 0.7


def place(material, tokenizer, plan_settings, held_out=None):
    train = Crops(encode(articles(0, 12), tokenizer), LENGTH)
    model = tiny.model(tokenizer, n_positions=32, n_layer=1, n_embd=16)
    plan = CropPlan(train, plan_settings, 0)
    return Place(
        model, tokenizer, CausalLM(train), plan, plan_settings, 0, CPU, material, material, print, held_out or {}
    )


def test_a_step_follows_the_mean_gradient_of_all_its_contexts(material, learned):
    settings = Train(
        optimizer="sgd", lr=1.0, clip=0.0, schedule="constant", steps=1, batch_size=2, gradient_accumulation=3
    )
    where = place(material, tiny.tokenizer(), settings)
    quantile = {"kind": "quantile", "keep": 0.3, "contexts": 200}
    method = InformationGain.model_validate({"from": str(learned[0].folder / "gain"), "threshold": quantile})
    (active,) = activate([method], where)
    rows = [row for micro in active.steps(where.plan).micro_batches(1) for row in micro]
    assert len(rows) == 6
    model = copy.deepcopy(where.model).eval()
    mean = tiny.loss_of(model, where.train, rows) / (6 * (LENGTH - 1))
    expected = torch.autograd.grad(mean, list(model.parameters()))
    (again,) = activate([method], where)
    before = [weight.detach().clone() for weight in where.model.parameters()]
    list(Loop(where.model, where.train, settings, where.plan, CPU, None, [again]).steps())
    for weight, old, gradient in zip(where.model.parameters(), before, expected, strict=True):
        torch.testing.assert_close(old - weight.detach(), gradient, rtol=1e-4, atol=1e-6)


def test_few_articles_do_not_end_a_training_early(material, learned, tmp_path):
    """Contexts are drawn for as long as steps want them, however high the threshold."""
    stage = train_stage(
        material, learned[0].folder / "gain", threshold={"kind": "quantile", "keep": 0.05, "contexts": 400}
    )
    results = Bench(tmp_path, stage).work()
    assert results["steps"] == 12
    assert results["information-gain/looked_at"] > 12 * 4 * 5


def test_what_is_measured_on_may_not_have_been_the_objective(material, learned, tmp_path):
    stage = train_stage(material, learned[0].folder / "gain")
    stage = stage.model_copy(
        update={"data": stage.data.model_copy(update={"validation": str(material / "objective.txt")})}
    )
    with pytest.raises(ValueInRecipeError, match="4 of its articles are among the objective's") as caught:
        Bench(tmp_path, stage).work()
    assert caught.value.key == "data.validation"


def test_learners_must_be_there_and_for_these_tokens_and_contexts(material, learned, tmp_path):
    settings = Train(steps=2, batch_size=2)
    method = InformationGain.model_validate({"from": str(learned[0].folder / "gain"), "learner": "published"})
    here = place(material, tiny.tokenizer(), settings)
    activate([method], here)

    def refused(changed, where, key, sentence):
        with pytest.raises(ValueInRecipeError, match=sentence) as caught:
            activate([changed], where)
        assert caught.value.key == key

    refused(method.model_copy(update={"from_": str(tmp_path)}), here, "method.0.from", "has left learners in")
    other = place(material, tiny.tokenizer(300), settings)
    refused(method, other, "method.0.from", "tokens of another tokenizer")
    blocks = dataclasses.replace(here, train=CausalLM(tiny.rows(tiny.tokenizer())))
    refused(method, blocks, "method.0.kind", "data.packing 'crops'")


# -- recipes --------------------------------------------------------------------------------------

RECIPE = """\
name = "x"
[[stage]]
kind = "information-gain"
name = "gain"
model = { from = "MODEL" }
data = { train = "FOLDER/train.txt", objective = "FOLDER/objective.txt" }
[[stage]]
model = { from = "MODEL" }
data = { train = "FOLDER/train.txt", packing = "crops" }
method = [{ kind = "information-gain", from = "gain" }]
"""


def test_a_method_names_an_earlier_stage_by_its_name(material, tmp_path):
    from lmwb.core.home import Home
    from lmwb.core.references import resolved

    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace("MODEL", str(material / "base")).replace("FOLDER", str(material)))
    recipe = load(path).recipe
    assert recipe.stage[1].method[0].from_ == "gain"
    stage = resolved(recipe, 1, tmp_path / "run", Home(tmp_path))
    assert stage.method[0].from_ == str(tmp_path / "run" / "gain")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('from = "gain" }]', 'from = "gian" }]', "10: method.from: no earlier stage is called 'gian'"),
        ('objective = "FOLDER/objective.txt"', 'objective = "FOLDER/gone.txt"', "6: data.objective: no such file"),
        ('name = "gain"\n', 'name = "gain"\npairs = 3\n', "'pairs' must be"),
        (
            'name = "gain"\n',
            'name = "gain"\npairs = 40\nestimate = { calibration = 64 }\n',
            "there are fewer 'pairs' than the estimate needs",
        ),
        ('name = "gain"\n', 'name = "gain"\nestimate = { least = 0.9 }\n', "'least' must be at least 0.95"),
    ],
)
def test_what_does_not_fit_is_told_with_its_line(material, tmp_path, old, new, sentence):
    path = tmp_path / "recipe.toml"
    text = RECIPE.replace(old, new)
    path.write_text(text.replace("MODEL", str(material / "base")).replace("FOLDER", str(material)))
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert sentence in "\n".join(caught.value.problems)
