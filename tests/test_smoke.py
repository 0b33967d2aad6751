"""`--smoke`: any recipe, for real, within a minute, without its model and its data."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lmwb.core.recipe import load, recipe_names
from lmwb.core.recipe.shipped import find_recipe
from lmwb.core.recipe.stand_ins import write_stand_in

RECIPE = """\
name = "x"
seeds = [4, 5, 6]
objective = "OBJECTIVE"
[model]
from = "organisation/Some-RoBERTa-large"
[data]
train = "hub:somebody/rows"
[train]
epochs = 100
gradient_accumulation = 16
lr = 2e-5
[sweep]
train.lr = [1e-5, 2e-5, 3e-5]
"""


def shrunk(tmp_path: Path, text: str):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return load(path, (), tmp_path / "smoke")


def test_what_costs_time_is_made_small_and_the_rest_stays(tmp_path):
    loaded = shrunk(tmp_path, RECIPE.replace("OBJECTIVE", "classification"))
    (stage,) = loaded.recipe.stage
    assert (stage.train.epochs, stage.train.steps, stage.train.gradient_accumulation) == (None, 6, 2)
    assert (stage.train.lr, stage.data.max_rows) == (1e-5, 96)  # the first of the sweep
    assert stage.model.from_ == "smoke:roberta"
    assert loaded.recipe.seeds == [4, 5]
    assert list(loaded.notes) == [
        "smoke: a tiny new roberta stands in for the model 'organisation/Some-RoBERTa-large'",
        "smoke: made-up rows stand in for 'hub:somebody/rows'",
        "smoke: two seeds only",
    ]


def test_an_evaluation_is_made_small_with_the_stage_that_it_measures(tmp_path):
    loaded = shrunk(
        tmp_path,
        'name = "x"\n[[stage]]\nname = "tune"\nmodel = { from = "gpt2" }\ndata = { train = "hub:some/stories" }\n'
        '[[stage]]\nkind = "evaluate"\nmodels = { before = "gpt2", after = "tune" }\nmeasures = ["rouge"]\n'
        'data = { test = "hub:some/pairs", examples = "pairs", prefix = "one" }\n',
    )
    stage = loaded.recipe.stage[1]
    assert stage.models == {"before": "smoke:gpt2", "after": "tune"}
    assert (stage.data.max_rows, stage.decoding.tokens, stage.decoding.beams) == (24, 8, 2)
    assert Path(stage.data.test).read_text().splitlines()[0] == "one,continuation"
    assert "smoke: made-up rows stand in for 'hub:some/pairs'" in loaded.notes


@pytest.mark.parametrize("kind", ["generate", "predict"])
def test_texts_of_a_stage_that_needs_nothing_else_have_a_stand_in(tmp_path, kind):
    task = 'task = "text-generation"\n' if kind == "predict" else ""
    loaded = shrunk(
        tmp_path,
        f'name = "x"\n[[stage]]\nkind = "{kind}"\n{task}model = {{ from = "gpt2" }}\n'
        'data = { source = "hub:some/prompts", text = "question" }\n',
    )
    head, *rows = Path(loaded.recipe.stage[0].data.source).read_text().splitlines()
    assert head == "question"
    assert all(0 < len(row) < 80 for row in rows)  # short enough for the longest context of a tiny model
    assert "smoke: made-up rows stand in for 'hub:some/prompts'" in loaded.notes


def test_information_gain_is_learned_from_few_pairs_and_asks_for_no_threshold(tmp_path):
    loaded = load(find_recipe("igf"), (), tmp_path / "smoke")
    gain, plain, _, filtered, *_ = loaded.recipe.stage
    assert (gain.model.from_, gain.pairs, gain.data.contexts, gain.data.min_tokens) == ("smoke:gpt2", 48, 8, 64)
    assert gain.data.train == plain.data.train == "python-reference"
    assert Path(gain.data.objective).read_text().startswith(" = The film = ")
    assert filtered.method[0].threshold.kind == "quantile"
    assert plain.train.steps == filtered.train.steps == 6


def test_local_data_are_used_as_they_are(tmp_path):
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    loaded = shrunk(tmp_path, RECIPE.replace("OBJECTIVE", "classification").replace("hub:somebody/rows", "rows.csv"))
    assert loaded.recipe.stage[0].data.train == str(tmp_path / "rows.csv")


@pytest.mark.parametrize("objective", ["classification", "regression", "multiple-choice", "instruction-tuning"])
def test_made_up_rows_have_the_columns_that_the_recipe_names(tmp_path, objective):
    data = {
        "classification": {"text": "words", "pair": "more", "label": "kind", "labels": ["bad", "good", "odd"]},
        "regression": {"task": "stsb"},
        "multiple-choice": {"context": "begin", "endings": ["a", "b", "c"], "label": "right"},
        "instruction-tuning": {"format": "pairs", "prompt": "ask", "completion": "say"},
    }[objective]
    columns = {
        "classification": {"words", "more", "kind"},
        "regression": {"sentence1", "sentence2", "label"},
        "multiple-choice": {"begin", "a", "b", "c", "right"},
        "instruction-tuning": {"ask", "say"},
    }[objective]
    path = Path(write_stand_in(objective, data, "train", tmp_path))
    lines = path.read_text().splitlines()
    head = set(json.loads(lines[0])) if path.suffix == ".jsonl" else set(lines[0].split(","))
    assert head == columns
    assert len(lines) >= 96


def test_recipes_with_other_columns_have_rows_of_their_own(tmp_path):
    first = write_stand_in("classification", {"text": "a"}, "train", tmp_path)
    assert write_stand_in("classification", {"text": "b"}, "train", tmp_path) != first
    assert write_stand_in("classification", {"text": "a"}, "train", tmp_path) == first


def test_every_shipped_recipe_is_good_small_and_large():
    for name in recipe_names():
        load(find_recipe(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_runs_small(name, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "lmwb.tui.cli", "run", name, "--smoke"],
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "LMWB_HOME": str(tmp_path),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",  # other tests use the other cores
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "has finished" in done.stdout
