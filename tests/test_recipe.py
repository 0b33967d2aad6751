"""Good recipes: what they become, overrides, the frozen form, the shipped ones."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.core.errors import NotFoundError, RecipeError
from lmwb.core.recipe import Recipe, find_recipe, freeze, load, recipe_names, recipe_text, schema_json, thaw
from lmwb.core.recipe.schema import BpeTokenizer, PretrainedModel, ScratchModel

FLAT = """
name = "tiny"
seed = 3
model = { type = "gpt2", config = { n_embd = 32, nested = { x = [1, 2] } } }
tokenizer = { vocab_size = 300 }
[data]
train = "texts.txt"
[train]
epochs = 2
[sample]
prompts = ["Once"]
"""
STAGES = """
name = "two"
[[stage]]
name = "first"
model = { type = "gpt2" }
tokenizer = { kind = "bpe" }
data = { train = "texts.txt" }
[[stage]]
name = "7"
model = { from = "hub/model" }
data = { train = "python-reference", validation = "hub:imdb/plain:test" }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe and its text, beside the current folder."""
    (tmp_path / "here").mkdir()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "texts.txt").write_text("a text")
    (tmp_path / "here" / "mine.txt").write_text("my text")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "recipes"


def loaded(folder: Path, text: str, *overrides: str) -> Recipe:
    (folder / "recipe.toml").write_text(text)
    return load(folder / "recipe.toml", overrides).recipe


def test_a_flat_recipe_is_one_stage_with_defaults(folder: Path):
    recipe = loaded(folder, FLAT)
    (stage,) = recipe.stage
    assert (recipe.name, recipe.seed, recipe.device) == ("tiny", 3, "auto")
    assert (stage.name, stage.kind, stage.train.epochs, stage.train.steps) == ("train", "train", 2, None)
    assert isinstance(stage.model, ScratchModel)
    assert isinstance(stage.tokenizer, BpeTokenizer)
    assert stage.model.config == {"n_embd": 32, "nested": {"x": [1, 2]}}
    assert stage.data.train == str(folder / "texts.txt")


def test_stages_keep_their_order_and_sources_that_are_no_paths(folder: Path):
    first, second = loaded(folder, STAGES).stage
    assert (first.name, second.name) == ("first", "7")
    assert isinstance(second.model, PretrainedModel)
    assert (second.model.from_, second.data.train, second.data.validation) == (
        "hub/model",
        "python-reference",
        "hub:imdb/plain:test",
    )


def test_overrides_are_toml_values_or_bare_words(folder: Path):
    recipe = loaded(
        folder, FLAT, "train.lr=3e-4", "name=a name", 'description="quo=ted"', "sample.prompts.0=Twice", "train.keep=3"
    )
    (stage,) = recipe.stage
    assert (stage.train.lr, stage.train.keep, stage.sample.prompts) == (3e-4, 3, ["Twice"])
    assert (recipe.name, recipe.description) == ("a name", "quo=ted")


def test_overrides_make_tables_that_the_file_lacks_and_take_keys_out(folder: Path):
    text = FLAT.partition("[sample]")[0]
    (stage,) = loaded(folder, text, "sample.tokens=5", "model={from='m'}", "tokenizer=").stage
    assert (stage.sample.tokens, stage.tokenizer) == (5, None)
    assert isinstance(stage.model, PretrainedModel)


def test_stages_are_found_by_name_before_number(folder: Path):
    first, second = loaded(
        folder, STAGES, "stage.first.train.lr=1", "stage.1.train.lr=2", "stage.7.train.keep=5", "seed=9"
    ).stage
    assert (first.train.lr, second.train.lr, second.train.keep) == (1, 2, 5)
    (only,) = loaded(folder, FLAT, "stage.0.train.lr=1", "stage.train.train.keep=4").stage
    assert (only.train.lr, only.train.keep) == (1, 4)


def test_steps_on_the_command_line_take_the_place_of_epochs_in_the_file(folder: Path):
    (stage,) = loaded(folder, FLAT, "train.steps=5").stage
    assert (stage.train.steps, stage.train.epochs) == (5, None)


def test_the_last_of_equal_overrides_counts(folder: Path):
    (stage,) = loaded(folder, FLAT, "train.lr=1", "train.lr=2", "train={steps=3}").stage
    assert (stage.train.lr, stage.train.steps) == (5e-4, 3)


def test_paths_belong_to_where_they_were_written(folder: Path):
    (stage,) = loaded(folder, FLAT, "data.test=mine.txt", "data.validation=../recipes/texts.txt").stage
    assert stage.data.train == str(folder / "texts.txt")
    assert stage.data.test == str(folder.parent / "here" / "mine.txt")
    assert stage.data.validation == str(folder / "texts.txt")


def test_a_model_is_a_folder_where_there_is_one_and_a_hub_name_otherwise(folder: Path):
    text = 'name = "x"\nmodel.from = "gpt2"\ndata.train = "texts.txt"\n'
    assert isinstance(model := loaded(folder, text).stage[0].model, PretrainedModel)
    assert model.from_ == "gpt2"
    (folder / "gpt2").mkdir()
    assert isinstance(model := loaded(folder, text).stage[0].model, PretrainedModel)
    assert model.from_ == str(folder / "gpt2")


def test_a_byte_order_mark_and_carriage_returns_do_no_harm(folder: Path):
    (folder / "recipe.toml").write_bytes(b"\xef\xbb\xbf" + FLAT.replace("\n", "\r\n").encode())
    assert load(folder / "recipe.toml").recipe == loaded(folder, FLAT)


@pytest.mark.parametrize("text", [FLAT, STAGES])
def test_the_frozen_recipe_is_complete_and_equal(text: str, folder: Path):
    (folder / "recipe.toml").write_text(text)
    found = load(folder / "recipe.toml", ["description=\"a 'b' \\u001b\""])
    assert thaw(found.frozen) == found.recipe
    assert "eval_batch_size = 16" in found.frozen
    (folder.parent / "here" / "frozen.toml").write_text(found.frozen)
    again = load(folder.parent / "here" / "frozen.toml")
    assert (again.recipe, again.frozen) == (found.recipe, found.frozen)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
CONFIGS = st.dictionaries(
    TEXTS, st.recursive(st.integers() | st.booleans() | TEXTS | st.floats(), st.lists, max_leaves=3), max_size=3
)


@settings(deadline=None)
@given(
    name=TEXTS,
    config=CONFIGS,
    lr=st.floats(min_value=0, max_value=100, exclude_min=True, exclude_max=True),
    prompts=st.lists(TEXTS, max_size=3),
    steps=st.none() | st.integers(min_value=1, max_value=10**15),
)
def test_any_recipe_survives_freezing(
    name: str, config: dict[str, object], lr: float, prompts: list[str], steps: object
):
    recipe = Recipe.model_validate(
        {
            "name": name,
            "stage": [
                {
                    "model": {"type": "gpt2", "config": config},
                    "tokenizer": {},
                    "data": {"train": name},
                    "train": {"lr": lr, "steps": steps},
                    "sample": {"prompts": prompts},
                }
            ],
        }
    )
    assert repr(thaw(freeze(recipe))) == repr(recipe)  # by repr, since a NaN is not equal to itself


def test_a_frozen_recipe_of_another_version_is_refused_in_words():
    with pytest.raises(RecipeError, match="the frozen recipe does not fit this lmwb: unknown key 'nmae'"):
        thaw('nmae = "x"')
    with pytest.raises(RecipeError, match="the frozen recipe is damaged"):
        thaw("name =")


def test_the_schema_explains_every_key():
    schema = json.loads(schema_json())
    tables = [schema, *schema["$defs"].values()]
    assert len(tables) > 7
    for table in tables:
        assert table["description"]
        for key, entry in table["properties"].items():
            assert entry.get("description") or key == "kind", (table["title"], key)


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_good(name: str, tmp_path: Path):
    path = tmp_path / f"{name}.toml"
    path.write_text(recipe_text(name))
    assert load(path).recipe.description


def test_a_shipped_recipe_that_is_not_there_is_told():
    with pytest.raises(NotFoundError, match="there is no recipe 'zzz'; `lmwb recipes` lists those that come with lmwb"):
        recipe_text("zzz")
    with pytest.raises(NotFoundError, match="there is no recipe 'quickstrat'; did you mean 'quickstart'"):
        find_recipe("quickstrat")


def test_a_file_beats_a_shipped_recipe_of_the_same_name(folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert find_recipe("quickstart").read_text() == recipe_text("quickstart")
    monkeypatch.chdir(folder)
    (folder / "quickstart").write_text(FLAT)
    assert find_recipe("quickstart") == Path("quickstart")
    assert find_recipe("gone/quickstart") == Path("gone/quickstart")
