"""Recipes that ask for influence: made small, and what is told of them before anything starts."""

import asked_runs
import pytest
from lmwb.core.errors import RecipeError
from lmwb.core.home import Home
from lmwb.core.preview import preview
from lmwb.core.recipe import load
from lmwb.core.recipe.shipped import find_recipe

ASKING = """
[[stage]]
kind = "influence"
of = "train"
strategies = ["ekfac", "identity"]
[[stage.query]]
prompt = "The cat sat on the mat"
text = " and looked at the dog."
[[stage.query]]
text = "A dog ran over the hill"
"""


def test_the_published_study_is_made_small(tmp_path):
    loaded = load(find_recipe("influence-wikitext"), (), tmp_path / "smoke")
    train, influence, half, counterfactual, datamodel = loaded.recipe.stage
    assert train.model.from_ == "smoke:gpt2"
    assert influence.strategies == ["ekfac", "kfac", "diagonal", "identity"]
    for stage in (influence, half, counterfactual, datamodel):
        assert (stage.queries.count, stage.scores.top, stage.factors.parts) == (2, 3, 2)
    assert (counterfactual.seeds, counterfactual.shares) == ([0], [0.2])
    assert (datamodel.seeds, datamodel.subsets) == ([0], 8)


def test_queries_that_name_rows_tokens_and_checkpoints_fit_a_small_training(tmp_path):
    path = tmp_path / "recipe.toml"
    text = 'name = "x"\nkind = "influence"\nof = "run:some"\ncheckpoints = [4000]\n'
    path.write_text(text + "[queries]\nrows = [4, 900]\n")
    loaded = load(path, (), tmp_path / "smoke")
    (stage,) = loaded.recipe.stage
    assert (stage.queries.rows, stage.queries.count, stage.checkpoints) == (None, 2, None)
    assert list(loaded.notes) == [
        "smoke: the first 2 rows stand in for those asked about",
        "smoke: the training's result stands in for its checkpoints",
    ]
    path.write_text(text + "query = [{ ids = [9000, 5], mark = [1, 2] }, { text = 'a b' }, { text = 'c d' }]\n")
    (stage,) = load(path, (), tmp_path / "smoke").recipe.stage
    assert [(each.ids, each.text) for each in stage.query] == [([1, 2, 3, 4], ""), (None, "a b")]


def test_a_check_tells_what_would_be_asked_and_at_which_layers(tmp_path):
    runs = asked_runs.Runs(tmp_path)
    path = tmp_path / "both.toml"
    path.write_text(asked_runs.TRAINING + ASKING)
    loaded = load(path)
    asked = preview(loaded.recipe, dict(loaded.origins), runs.home.root)[1]
    assert asked["notes"][0].startswith("2 queries, ")
    assert asked["notes"][0].endswith(" training rows of train, by ekfac and identity")
    assert "query 1: The cat sat on the mat⟦ and looked at the dog.⟧" in asked["notes"]
    # by hand: 16 inputs and an offset to 48, 16 and 64 outputs, 64 and an offset to 16
    assert f"4 layers of train with {17 * (48 + 16 + 64) + 65 * 16:,} weights are looked at" in asked["notes"]
    assert any("head" in note and "left out" in note for note in asked["notes"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('text = "A dog ran over the hill"', 'text = "A"'), "query 1 has one token"),
        (('of = "train"', 'of = "run:nobody"'), "there is no run 'nobody'"),
    ],
)
def test_a_check_tells_at_which_line_a_question_is_wrong(tmp_path, change, told):
    (tmp_path / "corpus.txt").write_text("some words about nothing\n\n" * 40)
    path = tmp_path / "both.toml"
    path.write_text((asked_runs.TRAINING + ASKING).replace(*change))
    loaded = load(path)
    with pytest.raises(RecipeError) as caught:
        preview(loaded.recipe, dict(loaded.origins), Home(tmp_path / "home").root)
    assert told in str(caught.value)
    assert "both.toml:" in str(caught.value)
