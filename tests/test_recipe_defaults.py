"""What stages share stands once, in `defaults`, and errors still point at the line where it stands."""

import pytest
from lmwb.core.errors import RecipeError
from lmwb.core.recipe import load

RECIPE = """\
name = "x"
[defaults]
objective = "classification"
[defaults.data]
train = "rows.csv"
max_length = 64
[defaults.train]
epochs = 3
lr = 1e-3
[[stage]]
name = "pretrain"
model = { kind = "encoder" }
tokenizer = { kind = "words" }
data = { train = "other.csv" }
[[stage]]
name = "tune"
model = { from = "pretrain" }
train = { steps = 5 }
[[stage]]
kind = "compare"
"""


@pytest.fixture
def write(tmp_path):
    for name in ("rows.csv", "other.csv", "third.csv"):
        (tmp_path / name).write_text("text,label\na,b\n")

    def write(text=RECIPE):
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return write


def test_a_stage_takes_what_it_does_not_say(write):
    loaded = load(write())
    pretrain, tune, _ = loaded.recipe.stage
    assert pretrain.data.train.endswith("other.csv")
    assert tune.data.train.endswith("rows.csv")
    assert pretrain.data.max_length == tune.data.max_length == 64
    assert (pretrain.train.epochs, pretrain.train.steps) == (3, None)
    assert (tune.train.epochs, tune.train.steps) == (None, 5)
    assert pretrain.train.lr == tune.train.lr == 1e-3
    assert loaded.origins["stage.1.data.train"].endswith("recipe.toml:5")


def test_overrides_reach_the_defaults_and_the_stages(write, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    changes = ["defaults.data.train=third.csv", "stage.tune.train.lr=0.5"]
    pretrain, tune, _ = load(write(), changes).recipe.stage
    assert pretrain.data.train.endswith("other.csv")
    assert tune.data.train.endswith("third.csv")
    assert (pretrain.train.lr, tune.train.lr) == (1e-3, 0.5)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("lr = 1e-3", "lrr = 1e-3", "9: unknown key 'lrr' in [stage.train]; did you mean 'lr'?"),
        ("max_length = 64", "max_length = 'a'", "6: 'max_length' must be a whole number, not the text 'a'"),
        ('train = "rows.csv"', 'train = "gone.csv"', "5: data.train: no such file"),
        (
            "[defaults.train]\nepochs = 3",
            "[defaults.train]\nepochs = 3\nsteps = 2",
            "give 'epochs' or 'steps', not both",
        ),
    ],
)
def test_an_error_in_the_defaults_is_told_once_with_its_line(write, old, new, sentence):
    with pytest.raises(RecipeError) as caught:
        load(write(RECIPE.replace(old, new)))
    assert len(caught.value.problems) == 1
    assert sentence in caught.value.problems[0]


def test_defaults_need_stages(write):
    with pytest.raises(RecipeError, match=r"3: 'defaults' is for several \[\[stage\]\] tables"):
        load(write('name = "x"\nmodel = { from = "m" }\n[defaults.train]\nlr = 1\n[data]\ntrain = "rows.csv"\n'))
