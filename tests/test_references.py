"""Models that a recipe names by the stage or the run that made them."""

from pathlib import Path

import pytest
from lmwb.core.errors import ValueInRecipeError
from lmwb.core.home import Home
from lmwb.core.recipe.schema import PretrainedModel, Recipe
from lmwb.core.references import resolved
from make_experiments import add_experiment
from make_history import HistoryMaker, Sketch


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A run, and an experiment of two members."""
    place = Home(tmp_path)
    with HistoryMaker(place) as maker:
        uid = maker.add(Sketch("alone", 40, 40, samples=False))
        add_experiment(maker, "pair", ("seed 0", "seed 1"), over=2, uid="pair-xy")
    (place.run_folder(uid) / "train" / "model").mkdir(parents=True)
    (place.run_folder("pair-xy-1") / "scratch" / "model").mkdir(parents=True)
    return place


def model_of(reference: str, home: Home) -> Path:
    """The folder that a name stands for."""
    table = {"from": reference}
    recipe = Recipe.model_validate({"name": "later", "stage": [{"model": table, "data": {"train": "x.txt"}}]})
    stage = resolved(recipe, 0, home.run_folder("later"), home)
    assert isinstance(stage.model, PretrainedModel)  # type: ignore[union-attr]
    return Path(stage.model.from_)  # type: ignore[union-attr]


def test_a_run_stands_for_its_last_result_or_for_that_of_a_stage(home: Home):
    assert model_of("run:alone", home) == model_of("run:alone/train", home)
    assert model_of("run:alone", home).parts[-2:] == ("train", "model")
    assert model_of("run:pair-xy-1/scratch", home) == home.run_folder("pair-xy-1") / "scratch" / "model"


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("run:nobody", "nobody"),
        ("run:alone/other", "has no stage 'other'; it has train"),
        ("run:pair", r"has several members; name one of them: pair-xy-1 \(seed 0\), pair-xy-2 \(seed 1\)"),
        ("run:pair-xy-2/scratch", "has left no model behind in"),
    ],
)
def test_what_has_no_result_is_refused_with_what_there_is(home: Home, reference: str, why: str):
    with pytest.raises(ValueInRecipeError, match=why) as refused:
        model_of(reference, home)
    assert refused.value.key == "model.from"
