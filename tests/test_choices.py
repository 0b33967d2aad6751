"""Multiple choice: right endings are found, whatever the model's marks; nothing depends on batches or interruptions."""

import csv
import json

import numpy as np
import pytest
import tiny
import torch
from lmwb.core.errors import Stopped, ValueInRecipeError
from lmwb.core.models.loading import make_model
from lmwb.core.recipe.schema import MultipleChoiceStage
from lmwb.core.tasks.choices import ChoiceTask
from lmwb.core.tasks.task import Surroundings
from lmwb.core.training.evaluation import evaluate
from test_tokenizers import with_marks_of_roberta
from test_training_stage import Bench, same

CPU = torch.device("cpu")
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
    "initializer_range": 0.2,
}
ENDINGS = ["ending0", "ending1", "ending2"]


def questions(count=20):
    """The right ending has the word of the context."""
    words = ["cat", "dog", "wind", "door", "river"]
    for number in range(count):
        word = words[number % 5]
        more = " and so it went" * (number % 4)
        endings = [f"is the {words[(number + 1 + i) % 5]}{' again' * i}." for i in range(3)]
        endings[number % 3] = f"is the {word}{more}."
        row = {"sent1": f"The {word} came{more}.", "sent2": "What came"}
        yield {**row, **dict(zip(ENDINGS, endings, strict=True)), "label": number % 3}


def write(path, rows):
    rows = list(rows)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


def stage(train, **changes):
    document = {
        "objective": "multiple-choice",
        "model": {"type": "bert", "config": SIZES},
        "tokenizer": {"kind": "wordpiece", "vocab_size": 120},
        "data": {"train": train, "start": "sent2", "endings": ENDINGS, "validation": 0.25},
        "train": {
            **{"steps": 8, "batch_size": 2, "gradient_accumulation": 2, "lr": 1e-2, "result": "last"},
            **{"eval_every": 4, "checkpoint_every": 3},
        },
    }
    for key, value in changes.items():
        table, _, name = key.partition("__")
        document[table] = {**document[table], name: value} if name else value
    return MultipleChoiceStage.model_validate(document)


class Read:
    """A stage's data as its task reads them, and its model without dropout."""

    def __init__(self, of, folder):
        self.told = []
        self.task = ChoiceTask(of, Surroundings(1, folder / "cache", self.told.append))
        self.material = self.task.read()
        torch.manual_seed(0)
        self.model = make_model(of.model, "multiple-choice", self.material.tokenizer, {}, self.told.append)
        self.task.check_model(self.model)
        for module in self.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0


@pytest.fixture
def train(tmp_path):
    return write(tmp_path / "train.csv", questions())


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_the_loss_is_that_of_a_reference_written_by_hand(tmp_path, train, kind):
    """Each ending alone, marks put there by hand, softmax over the scores: no padding, no batch."""
    changes = {"data__validation": 0}
    if kind == "roberta":
        changes["model"] = {"type": "roberta", "config": SIZES}
        marks = with_marks_of_roberta(tmp_path / "roberta")
        changes["tokenizer"] = {"kind": "bpe", "vocab_size": 300, "special_tokens_from": marks}
    read = Read(stage(train, **changes), tmp_path)
    tokenizer, model = read.material.tokenizer, read.model.eval()
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    chosen = [0, 3, 7, 8]
    batch = read.material.train.collate(chosen, 0)
    loss = read.material.train.loss_sum(read.material.train.forward(model, batch), batch)
    expected, right = 0.0, 0
    for row in [list(questions())[i] for i in chosen]:
        scores = []
        for name in ENDINGS:
            first, second = (
                tokenizer(text, add_special_tokens=False)["input_ids"]
                for text in (row["sent1"], f"{row['sent2']} {row[name]}")
            )
            between = [sep] if kind == "bert" else [sep, sep]
            ids = torch.tensor([[[cls, *first, *between, *second, sep]]])
            types = torch.tensor([[[0] * (len(first) + 2) + [1] * (len(second) + 1)]])
            given = {"token_type_ids": types} if kind == "bert" else {}
            scores.append(model(input_ids=ids, **given).logits[0, 0].detach())
        expected -= torch.stack(scores).log_softmax(0)[row["label"]].item()
        right += int(torch.stack(scores).argmax()) == row["label"]
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert ("token_type_ids" in batch.inputs) == (kind == "bert")
    tally = read.material.train.tally()
    tally.add(loss.item(), read.material.train.forward(model, batch), batch)
    assert tally.figures() == pytest.approx({"loss": expected / 4, "accuracy": right / 4}, rel=1e-5)


def test_batches_are_padded_no_further_than_their_longest_ending(tmp_path, train):
    rows = Read(stage(train, data__validation=0), tmp_path).material.train
    batch = rows.collate([0, 1], 0)
    assert batch.inputs["input_ids"].shape[:2] == (2, 3)
    assert batch.inputs["attention_mask"].sum(-1).max() == batch.inputs["input_ids"].shape[2]
    assert batch.tokens == int(batch.inputs["attention_mask"].sum()) == int(rows.lengths[:2].sum())


def test_the_gradient_does_not_depend_on_how_rows_are_split(tmp_path, train):
    read = Read(stage(train, data__validation=0), tmp_path)
    objective, found = read.material.train, []
    for size in (6, 3, 2, 1):
        read.model.zero_grad()
        for start in range(0, 6, size):
            batch = objective.collate(list(range(start, start + size)), 0)
            (objective.loss_sum(objective.forward(read.model, batch), batch) / 6).backward()
        found.append(torch.cat([w.grad.flatten() for w in read.model.parameters() if w.grad is not None]))
    for other in found[1:]:
        assert float((other - found[0]).norm() / found[0].norm()) < 1e-6


def test_figures_do_not_depend_on_the_batch_size(tmp_path, train):
    read = Read(stage(train, data__validation=0), tmp_path)
    figures = [evaluate(read.model, read.material.train, size, CPU) for size in (1, 3, 7, 64)]
    for other in figures[1:]:
        assert other == pytest.approx(figures[0], rel=1e-6)


def test_a_stopped_and_resumed_run_ends_with_the_same_weights(tmp_path, train):
    whole, parts = Bench(tmp_path / "a", stage(train)), Bench(tmp_path / "b", stage(train))
    results = whole.work()
    for stop in (2, 3):
        with pytest.raises(Stopped):
            parts.work(stop_after=stop)
    parts.work()
    assert same(parts.weights(), whole.weights())
    assert set(results["validation"]) == {"loss", "accuracy"}


def test_it_learns_and_predicts(tmp_path, train):
    """Predictions are those of the saved model, asked by hand, and mostly right."""
    from transformers import AutoModelForMultipleChoice, AutoTokenizer

    unlabelled = write(tmp_path / "new.jsonl", [{k: v for k, v in q.items() if k != "label"} for q in questions()])
    of = stage(train, data__predict=unlabelled, data__validation=0, train__steps=60, train__lr=5e-3)
    bench = Bench(tmp_path / "home", of)
    results = bench.work()
    with (bench.folder / results["predictions"]).open() as file:
        found = list(csv.DictReader(file))
    assert [row["place"] for row in found] == [f"line {n}" for n in range(1, 21)]
    assert sum(int(row["choice"]) == n % 3 for n, row in enumerate(found)) >= 16
    model = AutoModelForMultipleChoice.from_pretrained(bench.folder / results["model"]).eval()
    tokenizer = AutoTokenizer.from_pretrained(bench.folder / results["model"])
    for row, question in zip(found, questions(), strict=True):
        pairs = [[question["sent1"]] * 3, [f"{question['sent2']} {question[name]}" for name in ENDINGS]]
        inputs = tokenizer(*pairs, padding=True, return_tensors="pt")
        with torch.no_grad():
            shares = model(**{name: value[None] for name, value in inputs.items()}).logits[0].softmax(-1)
        assert [float(row[f"probability{i}"]) for i in range(3)] == pytest.approx(shares.tolist(), abs=2e-5)


def test_long_rows_are_cut_left_out_or_refused(tmp_path, train):
    whole = Read(stage(train, data__validation=0), tmp_path).material.train.questions.rows.lengths
    long = (whole.reshape(20, 3) > 22).any(axis=1)
    line, count = int(long.argmax()) + 2, int(long.sum())
    assert 0 < count < 20
    cut = Read(stage(train, data__validation=0, data__max_length=22), tmp_path)
    assert f"{count} of 20 rows have more than max_length 22 tokens" in "\n".join(cut.told)
    assert cut.material.train.questions.rows.lengths.tolist() == np.minimum(whole, 22).tolist()
    dropped = Read(stage(train, data__validation=0, data__max_length=22, data__too_long="drop"), tmp_path)
    assert len(dropped.material.train) == 20 - count
    sentence = rf"line {line} has more than max_length 22 tokens, as {count} of 20 rows do"
    with pytest.raises(ValueInRecipeError, match=sentence) as caught:
        Read(stage(train, data__max_length=22, data__too_long="error"), tmp_path)
    assert caught.value.key == "data.too_long"


def test_a_table_without_beginnings_is_read(tmp_path):
    """CODAH's columns; two endings are as good as four."""
    table = [{"startphrase": "A dog ran. It", "ending0": "sat.", "ending1": "flew.", "label": 1, "category": ""}] * 4
    read = Read(
        stage(
            write(tmp_path / "codah.csv", table),
            data={"train": write(tmp_path / "codah.csv", table), "context": "startphrase", "endings": ENDINGS[:2]},
            model={"type": "bert", "config": SIZES},
        ),
        tmp_path,
    )
    assert read.task.example(0) == "[CLS] a dog ran. it [SEP] flew. [SEP] → 1"
    assert {name: len(rows) for name, rows in read.material.validation.items()} == {"validation": 1}
    assert {*read.material.train.questions.places} < {"line 2", "line 3", "line 4", "line 5"}


@pytest.mark.parametrize(
    ("change", "key", "sentence"),
    [
        ({"label": 3}, "data.label", r"line 3 has the label 3, but its 3 endings are numbered from 0 to 2"),
        ({"label": -1}, "data.label", r"line 3 has the label -1.*name rows without labels with 'predict'"),
        ({"label": "1.5"}, "data.label", r"line 3 has the label '1\.5', which is not a whole number"),
        ({"label": "two"}, "data.label", r"line 3 has the label 'two', which is not a whole number"),
        ({"label": ""}, "data.label", r"line 3 has no label in column 'label'"),
        ({"ending2": " "}, "data.endings", r"line 3 has nothing in column 'ending2'; every row needs all endings"),
        ({"sent1": ""}, "data.context", r"line 3 has nothing in column 'sent1'"),
        ({"sent2": ""}, "data.start", r"line 3 has nothing in column 'sent2'"),
    ],
)
def test_bad_rows_get_one_sentence(tmp_path, change, key, sentence):
    rows = list(questions(4))
    rows[1] = {**rows[1], **change}
    with pytest.raises(ValueInRecipeError, match=sentence) as caught:
        Read(stage(write(tmp_path / "bad.csv", rows)), tmp_path)
    assert caught.value.key == key
    assert "bad.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "sentence"), [(True, "'True', which is not"), (None, "has no label"), ([1], "not a")]
)
def test_labels_of_other_types_are_refused(tmp_path, value, sentence):
    rows = list(questions(4))
    rows[1]["label"] = value
    with pytest.raises(ValueInRecipeError, match=f"line 2 .*{sentence}"):
        Read(stage(write(tmp_path / "bad.jsonl", rows)), tmp_path)


def test_labels_written_as_texts_and_whole_fractions_are_numbers(tmp_path):
    rows = list(questions(6))
    for row, label in zip(rows, ["0", 1, 2.0, "0", "1.0", " 2 "], strict=True):
        row["label"] = label
    read = Read(stage(write(tmp_path / "mixed.jsonl", rows), data__validation=0), tmp_path)
    assert read.material.train.questions.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_what_does_not_fit_is_refused(tmp_path, train):
    cases = [
        ({"data__label": "lable"}, "data.label", r"has no column 'lable'; it has sent1, .*did you mean 'label'\?"),
        ({"data__endings": ["ending0", "x"]}, "data.endings", r"has no column 'x'"),
        ({"model": {"type": "gpt2"}}, "model.type", "transformers knows no model for multiple choice of type 'gpt2'"),
        (
            {"model": {"type": "bert", "config": {**SIZES, "max_position_embeddings": 20}}},
            "data.max_length",
            "a row has 37 tokens, the model takes 20; lower max_length",
        ),
    ]
    for changes, key, sentence in cases:
        with pytest.raises(ValueInRecipeError, match=sentence) as caught:
            Read(stage(train, **changes), tmp_path)
        assert caught.value.key == key


def test_a_pretrained_model_without_such_a_head_is_named(tmp_path, train):
    folder = tmp_path / "gpt2"
    of = tiny.tokenizer()
    of.save_pretrained(folder)
    tiny.model(of).save_pretrained(folder)
    sentence = r"cannot load a model for multiple choice from .*: transformers makes none of its kind, GPT2"
    with pytest.raises(ValueInRecipeError, match=sentence) as caught:
        Read(stage(train, model={"from": str(folder)}, tokenizer=None), tmp_path)
    assert caught.value.key == "model.from"


def test_the_cache_gives_the_same_rows(tmp_path, train):
    first, second = (Read(stage(train), tmp_path) for _ in range(2))
    assert any("kept in the cache" in told for told in first.told)
    assert any("from the cache" in told for told in second.told)
    assert first.material.train.fingerprint == second.material.train.fingerprint
    assert np.array_equal(first.material.train.lengths, second.material.train.lengths)
