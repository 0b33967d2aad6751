"""From seeds and sweeps to members, and what is said about those that cannot be."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.core.errors import RecipeError
from lmwb.core.recipe import load
from lmwb.core.recipe import members as members_of

RECIPE = """
name = "grid"
[model]
type = "gpt2"
[tokenizer]
kind = "bpe"
[data]
train = "texts.txt"
[train]
steps = 20
"""
STAGES = """
name = "grid"
[defaults]
model = { type = "gpt2" }
tokenizer = { kind = "bpe" }
data = { train = "texts.txt" }
train = { steps = 20 }
[[stage]]
name = "one"
[[stage]]
kind = "compare"
[[stage]]
name = "two"
train = { lr = 1e-2 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grids")
    (folder / "texts.txt").write_text("Some text.\n")
    return folder


def expand(folder, text=RECIPE, *overrides, head=""):
    path = folder / "grid.toml"
    path.write_text(f"{head}\n{text}")
    return load(path, overrides)


def problems(folder, *arguments, **more):
    with pytest.raises(RecipeError) as caught:
        expand(folder, *arguments, **more)
    return [problem.rpartition("/")[2] if problem.startswith("/") else problem for problem in caught.value.problems]


@settings(max_examples=40)
@given(
    rates=st.lists(st.floats(1e-6, 1), min_size=1, max_size=4, unique=True),
    layers=st.lists(st.integers(1, 99), min_size=1, max_size=3, unique=True),
    seeds=st.none() | st.lists(st.integers(0, 10**6), min_size=1, max_size=3, unique=True),
)
def test_every_combination_is_there_once(folder, rates, layers, seeds):
    head = "" if seeds is None else f"seeds = {seeds}"
    loaded = expand(folder, f"{RECIPE}[sweep]\ntrain.lr = {rates}\nmodel.config.n_layer = {layers}", head=head)
    got = [
        (m.recipe.stage[0].train.lr, m.recipe.stage[0].model.config["n_layer"], m.recipe.seed) for m in loaded.members
    ]
    assert got == [(rate, layer, seed) for rate in rates for layer in layers for seed in seeds or [0]]
    labels = [member.label for member in loaded.members]
    assert len(set(labels)) == len(labels)
    assert all(not member.recipe.has_members for member in loaded.members)
    assert loaded.recipe.sweep == {"train.lr": rates, "model.config.n_layer": layers}


def test_a_recipe_without_seeds_and_sweep_has_no_members(folder):
    assert expand(folder).members == []


@pytest.mark.parametrize(
    ("argument", "labels"),
    [
        ("train.lr=1e-4,3e-4", ["lr 0.0001", "lr 0.0003"]),
        ("train.lr=1e-4, 3e-4", ["lr 0.0001", "lr 0.0003"]),
        ("train.schedule=linear,cosine", ["schedule linear", "schedule cosine"]),
        ("train.betas=[0.9,0.95],[0.9,0.99]", ["betas [0.9, 0.95]", "betas [0.9, 0.99]"]),
        ("seeds=3,4", ["seed 3", "seed 4"]),
        ("seed=3,4", ["seed 3", "seed 4"]),
        ("sweep.train.lr=[1e-4]", ["lr 0.0001"]),
    ],
)
def test_several_values_on_the_command_line_make_members(folder, argument, labels):
    members = expand(folder, RECIPE, argument).members
    assert [member.label for member in members] == labels


@pytest.mark.parametrize(
    ("argument", "value"),
    [('data.text="a,b"', "a,b"), ("data.text='a,b'", "a,b"), ("data.text=a, b", "a, b")],
)
def test_a_comma_in_a_text_is_a_comma(folder, argument, value):
    loaded = expand(folder, RECIPE, argument)
    assert loaded.members == []
    assert loaded.recipe.stage[0].data.text == value
    assert expand(folder, RECIPE, "name=a,b").recipe.name == "a,b"


def test_a_value_set_later_ends_the_sweep_of_its_key(folder):
    text = f"{RECIPE}[sweep]\ntrain.lr = [1e-3, 1e-4]"
    assert expand(folder, text, "train.lr=0.5").members == []
    assert [member.label for member in expand(folder, text, "train.lr=0.5,0.25").members] == ["lr 0.5", "lr 0.25"]
    assert expand(folder, text, "sweep=").members == []


def test_a_key_of_the_defaults_is_swept_in_the_stages_that_take_it(folder):
    members = expand(folder, f"{STAGES}[sweep]\ndefaults.train.lr = [1e-3, 1e-4]").members
    assert [[stage.train.lr for stage in member.recipe.stage] for member in members] == [[1e-3, 1e-2], [1e-4, 1e-2]]


def test_members_leave_comparing_to_their_parent_and_origins_follow_the_stages(folder):
    loaded = expand(folder, STAGES, "stage.two.train.lr=1,2", head="seeds = [7]")
    first = loaded.members[0]
    assert [stage.name for stage in first.recipe.stage] == ["one", "two"]
    assert first.label == "lr 1 · seed 7"
    assert first.origins["stage.1.train.lr"] == "--set stage.two.train.lr=1,2"
    assert first.origins["seed"].endswith("grid.toml:1")
    assert [stage.name for stage in loaded.recipe.stage] == ["one", "compare", "two"]


def test_members_are_kept_and_read_again(folder, tmp_path):
    members = expand(folder, RECIPE, "train.lr=1e-4,3e-4", "seeds=1,2").members
    members_of.write(tmp_path, members)
    assert members_of.read(tmp_path) == members


def test_steps_take_the_place_of_epochs(folder):
    members = expand(folder, RECIPE, "train.epochs=1,2").members
    assert [(m.recipe.stage[0].train.epochs, m.recipe.stage[0].train.steps) for m in members] == [(1, None), (2, None)]


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        ("train.lr = [1e-3, -1]", "'lr' must be greater than 0, not -1"),
        ("train.lr = 1e-3", "'train.lr' must be a list of values to try, not 0.001"),
        ("train.lr = []", "'train.lr' must have at least one value to try"),
        ("train.lr = [1, 1]", "'train.lr' has the value 1 twice"),
        ("trian.lr = [1]", "unknown key 'trian'; did you mean 'train'?"),
        ("seed = [1, 2]", "seeds are not swept; write seeds = [0, 1] at the top of the recipe"),
        ("name = ['a']", "'name' cannot be swept; keys of stages can, such as train.lr"),
        ("data.train = ['texts.txt', 'gone.txt']", "data.train: no such file 'FOLDER/gone.txt'"),
    ],
)
def test_each_value_is_checked_and_its_line_told(folder, sweep, sentence):
    told = problems(folder, f"{RECIPE}[sweep]\n{sweep}")
    path = f"{folder}/grid.toml"
    expected = f"{path}:13: {sentence}".replace("FOLDER", str(folder))
    with pytest.raises(RecipeError) as caught:
        expand(folder, f"{RECIPE}[sweep]\n{sweep}")
    assert (list(caught.value.problems), len(told)) == ([expected], 1)


def test_problems_of_the_command_line_name_the_argument(folder):
    with pytest.raises(RecipeError) as caught:
        expand(folder, RECIPE, "train.lr=-1,1,-2")
    assert list(caught.value.problems) == [
        "--set train.lr=-1,1,-2: 'lr' must be greater than 0, not -1",
        "--set train.lr=-1,1,-2: 'lr' must be greater than 0, not -2",
    ]


def test_a_comparison_is_not_swept(folder):
    (problem,) = problems(folder, f"{STAGES}[sweep]\nstage.compare.metric = ['a']")
    assert problem.endswith("'stage.compare.metric' cannot be swept: a comparison looks at all members")


def test_too_many_members_are_refused_before_they_are_made(folder):
    values = list(range(1, 102))
    (problem,) = problems(folder, f"{RECIPE}[sweep]\ntrain.batch_size = {values}", head="seeds = [0,1,2,3,4,5,6,7,8,9]")
    assert problem.endswith("seeds and sweep make 1,010 members; at most 1,000 are allowed")


def test_jobs_without_members_are_refused(folder):
    (problem,) = problems(folder, RECIPE, head="jobs = 2")
    assert problem.endswith("'jobs' is for a recipe with 'seeds' or a [sweep]; leave it out")


@given(
    label=st.text(max_size=20).filter(lambda text: "seed" not in text and not text.endswith(" · ")), seed=st.integers(0)
)
def test_the_setting_of_a_member_is_its_label_without_the_seed(label, seed):
    whole = f"{label} · seed {seed}" if label else f"seed {seed}"
    assert members_of.setting(whole, seed) == label
