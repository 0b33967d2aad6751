"""Stages that make rows and that put models to work, in recipes: as real runs, killed and resumed, and refused."""

import contextlib
import csv
import json
import os
import signal
import sqlite3

import pytest
import small_models
import tiny
from lmwb.core import runs
from lmwb.core.errors import RecipeError
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from lmwb.core.recipe import load
from lmwb.core.references import builds_on
from small_runs import ended, wait

TRAIN = """
[[stage]]
name = "learn"
objective = "classification"
model = { kind = "bag", hidden = 8 }
tokenizer = { kind = "words" }
data = { train = "stage:augment", validation = "rows.csv", test = "rows.csv" }
train = { steps = 4, batch_size = 4, lr = 1e-2 }
[[stage]]
kind = "predict"
task = "text-classification"
model = { from = "learn" }
texts = ["a dog"]
data = { source = "stage:augment", max_rows = 2 }
"""
EDIT = '{ kind = "word-edits", swap = 0.5, delete = 0.0, variants = 2 }'


def recipe(tmp_path, augmenters=EDIT, rest=TRAIN, rows=None, overrides=(), **keys):
    """A recipe over a table of texts, labels and one column more."""
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "number"])
        texts = rows or ["the cat sat on the mat", "a dog ran over the hill", "items are compared", "doors open"]
        writer.writerows([text, ("bad", "good")[i % 2], i] for i, text in enumerate(texts))
    more = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    (tmp_path / "recipe.toml").write_text(
        f'name = "more"\n[[stage]]\nkind = "augment"\n{more}data = {{ train = "rows.csv" }}\n'
        f"augmenter = [{augmenters}]\n{rest}"
    )
    return load(tmp_path / "recipe.toml", list(overrides))


def table(run):
    with (run.folder / "augment" / "rows.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_rows_are_made_learned_from_and_predicted(tmp_path):
    home = Home(tmp_path / "home")
    run = wait(home, runs.launch(home, recipe(tmp_path)), ended)
    assert run.state == "finished", runs.log_file(run).read_text()
    found = table(run)
    assert [row["origin"] for row in found[:4]] == ["train-1", "train-2", "train-3", "train-4"]
    originals = {row["origin"]: row for row in found[:4]}
    for row in found[4:]:
        base, made = row["origin"].split("-aug-")
        assert made in ("edit", "edit-2")
        assert (row["label"], row["number"]) == (originals[base]["label"], originals[base]["number"])
        assert sorted(row["text"].split()) == sorted(originals[base]["text"].split())
        assert row["text"] != originals[base]["text"]
    with contextlib.closing(History(home)) as history:
        augment, _, predict = history.stages(run.id)
    assert augment.summary["made"] == {"read": 4, "new": len(found) - 4, "written": len(found)}
    counts = augment.summary["augmenter/edit"]
    assert counts["new"] + counts["unchanged"] + counts["duplicates"] == 8
    assert f"rows: {len(found)} in train, 4 in validation, 4 in test" in runs.log_file(run).read_text()
    lines = (run.folder / predict.summary["predictions"]).read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    assert [each["text"] for each in answers] == ["a dog", found[0]["text"], found[1]["text"]]
    assert {choice["text"] for choice in answers[0]["answers"][0]} == {"bad", "good"}


@pytest.mark.slow
@pytest.mark.parametrize("search", ["beam", "sample"])
def test_a_killed_translation_goes_on_and_ends_with_the_same_table(tmp_path, search):
    models = small_models.marian(tmp_path / "there"), small_models.marian(tmp_path / "back", seed=1)
    way = f'name = "fi", there = "{models[0]}", back = "{models[1]}", tokens = 24, search = "{search}", batch_size = 1'
    loaded = recipe(tmp_path, f"{{ {way}, variants = 2 }}", "", tiny.texts(60))
    whole_home, cut_home = Home(tmp_path / "whole"), Home(tmp_path / "cut")
    whole = wait(whole_home, runs.launch(whole_home, loaded), ended)
    assert whole.state == "finished", runs.log_file(whole).read_text()
    assert {row["origin"] for row in table(whole)} > {"train-1", "train-60"}

    cut = runs.launch(cut_home, loaded)
    cut = wait(cut_home, cut, lambda run: remembered(cut_home) >= 5)
    os.kill(cut.pid, signal.SIGKILL)
    cut = wait(cut_home, cut, ended)
    assert cut.state == "died"
    assert not (cut.folder / "augment" / "rows.csv").exists()
    before = remembered(cut_home)
    assert 5 <= before < remembered(whole_home)
    cut = wait(cut_home, runs.resume(cut_home, cut), ended)
    assert cut.state == "finished"
    assert table(cut) == table(whole)
    assert remembered(cut_home) == remembered(whole_home)


def remembered(home):
    """How many texts the memory has."""
    if not (home.cache / "rewritten.db").exists():
        return 0
    with contextlib.closing(sqlite3.connect(home.cache / "rewritten.db")) as file:
        try:
            return file.execute("SELECT count(*) FROM written").fetchone()[0]
        except sqlite3.OperationalError:  # the table is still to come
            return 0


@pytest.mark.parametrize(
    ("augmenters", "rest", "sentence"),
    [
        (EDIT, TRAIN.replace("stage:augment", "stage:argument", 1), "no earlier stage of kind 'augment' is called"),
        (EDIT, TRAIN.replace(', validation = "rows.csv"', ""), "rows made of one text would stand on both sides"),
        (f"{EDIT}, {EDIT}", "", "two augmenters are called 'edit'; give each a 'name' of its own"),
        ('{ name = "fi", there = "x" }', "", "name the model that translates back, or 'language' and 'pivot'"),
        ('{ name = "fi", there = "./x", back = "b" }', "", "augmenter.there: no such folder"),
        ('{ kind = "word-edits", synonyms = "none.txt" }', "", "augmenter.synonyms: no such file"),
        ('{ kind = "word-edits", swap = 0, delete = 0 }', "", "nothing would change"),
        ('{ name = "fi", there = "a", back = "b", beams = 2, variants = 3 }', "", "2 beams give at most 2 variants"),
        ('{ name = "fi", there = "a", back = "b", top_k = 3 }', "", "'top_k' is for search = \"sample\""),
    ],
)
def test_what_does_not_go_together_is_refused_with_its_line(tmp_path, augmenters, rest, sentence):
    with pytest.raises(RecipeError) as caught:
        recipe(tmp_path, augmenters, rest)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'recipe.toml'}:")


@pytest.mark.slow
def test_a_wrong_language_points_at_its_line(tmp_path):
    model = small_models.m2m100(tmp_path / "m2m100")
    way = f'{{ name = "fi", there = "{model}", language = "en", pivot = "fx", tokens = 8 }}'
    home = Home(tmp_path / "home")
    run = wait(home, runs.launch(home, recipe(tmp_path, way, "")), ended)
    assert run.state == "failed"
    assert run.message.startswith(f"{tmp_path / 'recipe.toml'}:5: '")
    assert "knows no language 'fx'" in run.message


def test_a_stage_builds_on_the_stage_that_makes_its_rows(tmp_path):
    whole = recipe(tmp_path).recipe
    assert [builds_on(whole, position) for position in range(3)] == [None, "augment", "learn"]


def test_a_smoke_run_has_tiny_translators_and_says_so(tmp_path):
    recipe(tmp_path, rest="")
    text = (tmp_path / "recipe.toml").read_text()
    way = '{ name = "fi", there = "facebook/nllb-200", language = "eng_Latn", pivot = "fin_Latn" }'
    (tmp_path / "recipe.toml").write_text(text.replace(EDIT, way))
    loaded = load(tmp_path / "recipe.toml", (), tmp_path / "smoke")
    (made,) = loaded.recipe.stage[0].augmenter
    assert (made.there, made.back, made.language, made.pivot) == ("smoke:m2m_100", "smoke:m2m_100", None, None)
    assert list(loaded.notes) == ["smoke: a tiny new m2m_100 that writes at random stands in for 'facebook/nllb-200'"]
