"""`lmwb augment`: more rows out of a table, without a recipe."""

import csv
import json

import pytest
import small_models
from lmwb.tui.cli import run

TEXTS = ["the cat sat on the mat", "a dog ran over the hill", "items are compared", "items are compared"]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["said", "label"], *([text, i % 2] for i, text in enumerate(TEXTS))])
    return path


def lmwb(capsys, tmp_path, *words, code=0):
    """Run the command in this process; what it printed, and what it told beside."""
    assert run([*map(str, words), "--home", str(tmp_path / "home")]) == code
    told = capsys.readouterr()
    return told.out, told.err


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_words_are_changed_and_every_row_says_where_it_comes_from(rows, tmp_path, capsys):
    words = ("augment", rows, "--edits", "--column", "said", "--variants", "2", "--seed", "3")
    out, told = lmwb(capsys, tmp_path, *words, "--out", tmp_path / "more.csv")
    made = table(tmp_path / "more.csv")
    assert [row["origin"] for row in made[:4]] == ["train-1", "train-2", "train-3", "train-4"]
    assert [row["said"] for row in made[:4]] == TEXTS
    for row in made[4:]:
        original = made[int(row["origin"].split("-")[1]) - 1]
        assert row["origin"].split("-")[2:4] == ["aug", "edit"]
        assert row["label"] == original["label"]
        assert set(row["said"].split()) <= set(original["said"].split())
        assert row["said"] != original["said"]
    assert "rows: 4 to make more of" in told
    first, last = out.splitlines()
    assert first.startswith(f"edit: {len(made) - 4} new texts")
    assert last == f"{len(made)} rows are in {tmp_path / 'more.csv'}"
    facts = json.loads(lmwb(capsys, tmp_path, *words, "--out", tmp_path / "new.jsonl", "--no-originals", "--json")[0])
    new = [json.loads(line) for line in (tmp_path / "new.jsonl").read_text().splitlines()]
    assert [(row["said"], row["origin"]) for row in new] == [(row["said"], row["origin"]) for row in made[4:]]
    counts = facts["augmenter/edit"]
    assert counts["new"] + counts["unchanged"] + counts["duplicates"] == 8
    assert facts["made"] == {"read": 4, "new": len(new), "written": len(new)}


def test_texts_are_translated_there_and_back_once(rows, tmp_path, capsys):
    models = small_models.marian(tmp_path / "there"), small_models.marian(tmp_path / "back", seed=1)
    words = ("augment", rows, "--there", models[0], "--back", models[1], "--column", "said", "--name", "fi",
             "--max-rows", "2", "--beams", "2", "--tokens", "24")  # fmt: skip
    _, told = lmwb(capsys, tmp_path, *words, "--out", tmp_path / "first.csv")
    assert f"fi: loading {models[0]}" in told
    _, told = lmwb(capsys, tmp_path, *words, "--out", tmp_path / "second.csv")
    assert "loading" not in told  # what was translated is remembered
    made = table(tmp_path / "first.csv")
    assert made == table(tmp_path / "second.csv")
    assert {row["origin"] for row in made} <= {"train-1", "train-2", "train-1-aug-fi", "train-2-aug-fi"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "choose one of --there MODEL, which translates, and --edits"),
        (("--edits", "--there", "m"), "choose one of"),
        (("--edits", "--pivot", "fi", "--sample"), "--edits translates nothing; leave --pivot, --sample out"),
        (("--there", "m", "--synonyms", "s.txt"), "--synonyms is for --edits"),
        (("--there", "m"), "name the model that translates back, or 'language' and 'pivot'"),
        (("--edits", "--out", "more.txt"), "--out is a .csv or a .jsonl file, not more.txt"),
        (("--edits", "--column", "x\x1b"), "has no column 'x␛'; it has said, label"),
        (("--edits", "--synonyms", "none.txt", "--column", "said"), "none.txt"),
        (("--edits", "--name", "a-b"), "--name is made of letters, digits, '_' and '.', not a-b"),
    ],
)
def test_what_does_not_go_together_gets_a_sentence(rows, tmp_path, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    given = words if "--out" in words else (*words, "--out", "more.csv")
    out, told = lmwb(capsys, tmp_path, "augment", rows, *given, code=2)
    assert sentence in told
    assert not out
    assert not (tmp_path / "more.csv").exists()


def test_a_file_that_is_there_is_not_written_over(rows, tmp_path, capsys):
    before = rows.read_bytes()
    _, told = lmwb(capsys, tmp_path, "augment", rows, "--edits", "--column", "said", "--out", rows, code=2)
    assert "already; choose another --out" in told
    assert rows.read_bytes() == before
