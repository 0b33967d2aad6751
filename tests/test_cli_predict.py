"""`lmwb predict` as scripts and people use it."""

import json

import pytest
import small_models
from lmwb.tui.cli import run


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    hostile = ("[/red]\x1b[31mgood", "bad\x9b2J", "odd")
    return {
        "classes": small_models.bert_classifier(folder / "classes", hostile),
        "filler": small_models.bert_filler(folder / "filler"),
        "gpt2": small_models.gpt2(folder / "gpt2"),
        "m2m100": small_models.m2m100(folder / "m2m100"),
    }


def lmwb(capsys, *words, code=0):
    """Run the command in this process; what it printed, and what it told beside."""
    assert run([*words, "--home", "/nonexistent"]) == code
    told = capsys.readouterr()
    assert not {"\x1b", "\x9b"} & {*told.out, *told.err}
    return told.out, told.err


def test_labels_of_several_texts_are_exact_in_json_and_harmless_in_print(models, capsys):
    out, _ = lmwb(capsys, "predict", "text-classification", models["classes"], "a \x1b cat", "a dog", "--json")
    found = json.loads(out)
    assert [each["text"] for each in found] == ["a \x1b cat", "a dog"]
    assert {choice["text"] for choice in found[0]["answers"][0]} == {"[/red]\x1b[31mgood", "bad\x9b2J", "odd"}
    assert sum(choice["probability"] for choice in found[0]["answers"][0]) == pytest.approx(1)
    out, _ = lmwb(capsys, "predict", "text-classification", models["classes"], "a \x1b cat", "--top", "3")
    assert "a ␛ cat" in out
    assert "[/red]␛[31mgood" in out
    assert "bad<U+009B>2J" in out


@pytest.mark.parametrize("suffix", ["txt", "csv", "jsonl"])
def test_texts_come_from_files_of_any_kind(models, capsys, tmp_path, suffix):
    file = tmp_path / f"texts.{suffix}"
    file.write_text({"txt": "a cat\n\na dog\n", "csv": "said,n\na cat,1\na dog,2\n",
                     "jsonl": '{"said": "a cat"}\n{"said": "a dog"}\n'}[suffix])  # fmt: skip
    words = ("predict", "language-detection", models["classes"], "--file", str(file), "--json", "--top", "1")
    out, _ = lmwb(capsys, *words, "--column", "said")
    found = json.loads(out)
    assert [each["text"] for each in found] == ["a cat", "a dog"]
    assert [len(each["answers"][0]) for each in found] == [1, 1]
    if suffix != "txt":
        _, told = lmwb(capsys, *words, code=2)
        assert "has no column 'text'; it has said" in told
        assert "name the column with --column" in told


def test_texts_come_from_a_pipe(models, capsys, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("the [MASK] sat\n\na [MASK] [MASK]\n"))
    out, _ = lmwb(capsys, "predict", "fill-mask", models["filler"], "--json", "--top", "2")
    assert [len(each["answers"]) for each in json.loads(out)] == [1, 2]


def test_texts_are_written(models, capsys):
    out, _ = lmwb(capsys, "predict", "text-generation", models["gpt2"], "the cat", "--tokens", "4", "--top", "2")
    assert len(out.splitlines()) >= 3
    languages = ("--language", "en", "--target", "fi")
    words = ("predict", "text-to-text", models["m2m100"], "the cat", "--tokens", "6", "--json")
    out, told = lmwb(capsys, *words, *languages, "--sample", "--top", "3", "--seed", "4")
    assert len(json.loads(out)[0]["answers"][0]) == 3
    assert lmwb(capsys, *words, *languages, "--sample", "--top", "3", "--seed", "4")[0] == out
    _, told = lmwb(capsys, *words, code=2)
    assert "knows many languages; say which with 'language'" in told


@pytest.mark.parametrize(
    ("task", "model", "text"),
    [
        ("text-classification", "classes", "a \x1b cat [/b]"),
        ("fill-mask", "filler", "the [MASK] sat"),
        ("text-generation", "gpt2", "the cat \x1b"),
        ("text-to-text", "m2m100", "the cat"),
    ],
)
def test_every_task_explains_itself_in_words_and_in_json(models, capsys, task, model, text):
    words = ("predict", task, models[model], text, "--explain")
    words += ("--tokens", "4") if task.startswith("text-") and task != "text-classification" else ()
    words += ("--language", "en", "--target", "fi") if model == "m2m100" else ()
    out, _ = lmwb(capsys, *words)
    for line in ("1. The model", "2. From text to tokens to ids", "logit z", "÷ sum = p"):
        assert line in out
    (told,) = json.loads(lmwb(capsys, *words, "--json")[0])
    assert told["text"] == text
    assert told["steps"][0]["title"] == "The model"


def test_options_that_do_not_fit_are_refused(models, capsys):
    words = ("predict", "text-classification", models["classes"], "a cat")
    assert "writes no text; leave --tokens out" in lmwb(capsys, *words, "--tokens", "3", code=2)[1]
    assert "add --sample" in lmwb(capsys, *words, "--top-k", "3", code=2)[1]
    assert "did you mean 'text-classification'" in lmwb(capsys, "predict", "text-clasification", "m", "x", code=2)[1]
    wrong = lmwb(capsys, "predict", "text-classification", models["gpt2"], "x", code=2)[1]
    assert "is a causal language model (GPT2LMHeadModel), not a text classifier" in wrong
