"""Classes and scores: the right loss and figures whatever the batches, exact resume, and models of every kind."""

import csv
import itertools
import json
from contextlib import closing

import numpy as np
import pytest
import small_labels
import torch
from lmwb.core.errors import Stopped, ValueInRecipeError
from lmwb.core.recipe.schema import Train
from lmwb.core.training.evaluation import evaluate
from lmwb.core.training.loop import Loop
from lmwb.core.training.plan import Plan
from sklearn import metrics
from test_training_stage import Bench, same
from torch.nn import functional as F

CPU = torch.device("cpu")
KINDS = [("classification", False), ("classification", True), ("regression", False)]


def made(tmp_path, objective="classification", pair=False, **changes):
    """A stage's data, read from a file made for it."""
    table = small_labels.rows(pair=pair, scored=objective == "regression")
    train = small_labels.write(tmp_path / "train.csv", table)
    if pair:
        changes["data__pair"] = "other"
    return small_labels.Read(small_labels.stage(train, objective, **changes), tmp_path)


def alone(model, objective, row):
    """What the model says of a row by itself, unpadded; the reference."""
    ids = torch.from_numpy(objective.rows.tokens(row).astype(np.int64))[None]
    types = objective.rows.types
    more = {}
    if objective.with_types and types is not None:
        more["token_type_ids"] = torch.from_numpy(types[slice(*objective.rows.bounds[row])].astype(np.int64))[None]
    return model(input_ids=ids, **more).logits[0]


@pytest.mark.parametrize("model", [small_labels.BERT, small_labels.GPT2], ids=["bert", "gpt2"])
@pytest.mark.parametrize(("objective", "pair"), KINDS)
def test_figures_do_not_depend_on_batches_and_are_those_of_single_rows(tmp_path, objective, pair, model):
    read = made(tmp_path, objective, pair, model=model)
    net, rows = read.model(), read.material.train
    figures = [evaluate(net, rows, size, CPU) for size in (1, 3, 8, 64)]
    for other in figures[1:]:
        assert other == pytest.approx(figures[0], rel=1e-6, abs=1e-6)
    with torch.no_grad():
        said = [alone(net, rows, row) for row in range(len(rows))]
    truth = torch.from_numpy(rows.labels)
    if objective == "classification":
        logits = torch.stack(said)
        assert figures[0]["loss"] == pytest.approx(F.cross_entropy(logits, truth).item(), rel=1e-5)
        predicted = logits.argmax(-1)
        assert figures[0]["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
        assert figures[0]["f1"] == pytest.approx(metrics.f1_score(truth, predicted, zero_division=0))
    else:
        scores = torch.cat(said)
        assert figures[0]["loss"] == figures[0]["mse"] == pytest.approx(F.mse_loss(scores, truth).item(), rel=1e-5)
        assert figures[0]["pearson"] == pytest.approx(np.corrcoef(scores, truth)[0, 1], abs=1e-5)


@pytest.mark.parametrize(("objective", "pair"), KINDS)
def test_a_step_does_not_depend_on_how_its_rows_are_split(tmp_path, objective, pair):
    """Read off an SGD update of rate 1, and against one row at a time."""
    read = made(tmp_path, objective, pair)
    rows = read.material.train

    def gradient(batch_size, accumulation):
        settings = Train(
            batch_size=batch_size,
            gradient_accumulation=accumulation,
            optimizer="sgd",
            lr=1.0,
            clip=0.0,
            schedule="constant",
        )
        model = without_dropout(read.model()).double()
        before = [weight.detach().clone() for weight in model.parameters()]
        loop = Loop(model, rows, settings, Plan.of(settings, len(rows), 3, rows.lengths), CPU)
        list(itertools.islice(loop.steps(), 1))
        return torch.cat([(b - a).flatten() for b, a in zip(before, model.parameters(), strict=True)]).detach()

    whole = gradient(8, 1)
    for batch_size, accumulation in [(4, 2), (2, 4), (1, 8)]:
        assert (gradient(batch_size, accumulation) - whole).norm() <= 1e-6 * whole.norm()
    model = without_dropout(read.model()).double()
    chosen = Plan(len(rows), 8, 1, 1, 3, rows.lengths).micro_batches(1)[0]
    for row in chosen:
        truth, said = torch.tensor(rows.labels[row]), alone(model, rows, row)
        loss = F.cross_entropy(said, truth) if objective == "classification" else (said[0] - truth) ** 2
        (loss / len(chosen)).backward()
    expected = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    assert (whole - expected).norm() <= 1e-5 * expected.norm()


def without_dropout(model):
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return model


@pytest.mark.parametrize(("objective", "pair"), [("classification", True), ("regression", False)])
def test_a_stopped_and_resumed_run_ends_with_the_same_weights(tmp_path, objective, pair):
    table = list(small_labels.rows(pair=pair, scored=objective == "regression"))
    train = small_labels.write(tmp_path / "train.csv", table)
    more = {"data__pair": "other"} if pair else {}
    stage = small_labels.stage(
        train,
        objective,
        data__test=train,
        train__steps=12,
        train__gradient_accumulation=2,
        train__eval_every=5,
        train__checkpoint_every=4,
        **more,
    )
    whole = Bench(tmp_path / "whole", stage)
    results = whole.work()
    for number, stops in enumerate([[1], [4], [7], [11], [3, 2, 5]]):
        bench = Bench(tmp_path / str(number), stage)
        for stop in stops:
            with pytest.raises(Stopped):
                bench.work(stop_after=stop)
        resumed = bench.work()
        assert same(bench.weights(), whole.weights()), stops
        assert resumed["test"] == results["test"]
    measured = {"classification": "accuracy", "regression": "pearson"}[objective]
    assert results["test"][measured] > results["validation/before"][measured]


def test_the_mapping_of_labels_is_in_the_models_configuration(tmp_path):
    from transformers import AutoModelForSequenceClassification

    train = small_labels.write(tmp_path / "train.csv", small_labels.rows(labels=("odd", "good", "bad")))
    bench = Bench(tmp_path / "home", small_labels.stage(train))
    results = bench.work()
    model = AutoModelForSequenceClassification.from_pretrained(bench.folder / results["model"])
    assert model.config.id2label == {0: "bad", 1: "good", 2: "odd"}
    assert model.config.label2id == {"bad": 0, "good": 1, "odd": 2}
    assert {*results["validation"]} == {"loss", "accuracy", "macro_f1"}


def test_the_order_of_the_labels_is_kept_from_an_earlier_stage(tmp_path):
    table = list(small_labels.rows())
    train = small_labels.write(tmp_path / "train.csv", table)
    first = Bench(tmp_path / "first", small_labels.stage(train, data__labels=["good", "bad"]))
    folder = str(first.folder / first.work()["model"])
    pretrained = {"model": {"from": folder}, "tokenizer": None}
    second = small_labels.Read(small_labels.stage(train, **pretrained), tmp_path)
    assert second.material.fields["id2label"] == {0: "good", 1: "bad"}
    second.model()
    assert "new" not in second.said, "the head is the earlier one"
    other = small_labels.write(tmp_path / "other.csv", small_labels.rows(labels=("odd", "good")))
    third = small_labels.Read(small_labels.stage(other, **pretrained), tmp_path)
    assert third.material.fields["id2label"] == {0: "good", 1: "odd"}


def test_a_head_of_another_size_is_replaced_and_said(tmp_path):
    train = small_labels.write(tmp_path / "train.csv", small_labels.rows(labels=("bad", "good", "odd")))
    first = Bench(tmp_path / "first", small_labels.stage(train))
    folder = str(first.folder / first.work()["model"])
    scored = small_labels.write(tmp_path / "scored.csv", small_labels.rows(scored=True))
    read = small_labels.Read(small_labels.stage(scored, "regression", model={"from": folder}, tokenizer=None), tmp_path)
    model = read.model()
    assert model.config.num_labels == 1
    assert "a head of another size is replaced by a new one: classifier.bias (3,) → (1,)" in read.said


def test_a_head_that_is_kept_for_labels_of_other_names_says_so(tmp_path):
    train = small_labels.write(tmp_path / "train.csv", small_labels.rows())
    first = Bench(tmp_path / "first", small_labels.stage(train))
    folder = str(first.folder / first.work()["model"])
    same = small_labels.Read(small_labels.stage(train, model={"from": folder}, tokenizer=None), tmp_path)
    same.model()
    assert "the head is kept" not in same.said
    renamed = [{**row, "label": {"bad": "no", "good": "yes"}[row["label"]]} for row in small_labels.rows()]
    other = small_labels.write(tmp_path / "other.csv", renamed)
    read = small_labels.Read(small_labels.stage(other, model={"from": folder}, tokenizer=None), tmp_path)
    assert read.model().config.id2label == {0: "no", 1: "yes"}
    assert "the head is kept; what it called 'bad', 'good' is now 'no', 'yes'" in read.said


def test_numbers_as_labels_take_the_names_that_the_recipe_gives(tmp_path):
    table = [{**row, "label": int(row["label"] == "good")} for row in small_labels.rows()]
    train = small_labels.write(tmp_path / "train.csv", table)
    plain = small_labels.Read(small_labels.stage(train), tmp_path)
    named = small_labels.Read(small_labels.stage(train, data__labels=["bad", "good"]), tmp_path)
    assert plain.material.fields["id2label"] == {0: "0", 1: "1"}
    assert named.material.fields["id2label"] == {0: "bad", 1: "good"}
    assert plain.material.train.labels.tolist() == named.material.train.labels.tolist()
    assert "labels: 0 bad (20 rows), 1 good (20 rows)" in named.said


def test_predictions_are_written_for_every_row_in_order(tmp_path):
    from transformers import pipeline

    table = list(small_labels.rows(20))
    train = small_labels.write(tmp_path / "train.csv", table)
    new = small_labels.write(tmp_path / "new.csv", [{"text": row["text"]} for row in table] + [{"text": "so " * 90}])
    stage = small_labels.stage(train, data__predict=new, data__too_long="drop")
    bench = Bench(tmp_path / "home", stage)
    results = bench.work()
    assert results["predictions"] == "train/predictions.csv"
    with (bench.folder / results["predictions"]).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["row"] for row in rows] == [str(number + 1) for number in range(21)]
    assert rows[0]["place"] == "line 2"
    classifier = pipeline("text-classification", str(bench.folder / results["model"]), device="cpu")
    for row, said in zip(rows, classifier([row["text"] for row in table]), strict=False):
        assert row["label"] == said["label"]
        assert float(row["probability"]) == pytest.approx(said["score"], abs=1e-5)


def test_scores_are_predicted_too(tmp_path):
    train = small_labels.write(tmp_path / "train.csv", small_labels.rows(scored=True))
    bench = Bench(tmp_path / "home", small_labels.stage(train, "regression", data__predict=train))
    bench.work()
    with (bench.folder / "train" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["row", "place", "score"]
    assert len(rows) == 40
    assert all(np.isfinite(float(row["score"])) for row in rows)


def test_mnli_is_validated_on_matched_and_mismatched_rows(tmp_path):
    folder = tmp_path / "MNLI"
    folder.mkdir()
    labels = ("entailment", "neutral", "contradiction")
    for name, count in [("train", 30), ("dev_matched", 6), ("dev_mismatched", 9), ("test_matched", 3)]:
        header = "index\tsentence1\tsentence2" + ("" if name.startswith("test") else "\tgold_label")
        lines = [
            f'{i}\tA {small_labels.THINGS[i % 7]} "ran.\tIt moved {i % 3}.'
            + ("" if "test" in name else f"\t{labels[i % 3]}")
            for i in range(count)
        ]
        (folder / f"{name}.tsv").write_text("\n".join([header, *lines]) + "\n")
    bench = Bench(tmp_path / "home", small_labels.stage(folder, data__task="mnli", data__validation=None))
    results = bench.work()
    assert results["validation"].keys() == results["validation-mismatched"].keys() == {"loss", "accuracy"}
    assert results["validation"]["accuracy"] * 6 == pytest.approx(round(results["validation"]["accuracy"] * 6))
    assert results["validation-mismatched/before"].keys() == {"loss", "accuracy"}
    with (bench.folder / "train" / "predictions.csv").open() as file:
        assert {row["label"] for row in csv.DictReader(file)} <= {*labels}
    with closing(bench.history) as history:
        assert history.points(bench.stage_id, "validation-mismatched/accuracy").steps.tolist() == list(range(7))


@pytest.mark.parametrize(
    ("task", "figures"),
    [
        ("cola", {"matthews"}),
        ("sst2", {"accuracy"}),
        ("mrpc", {"accuracy", "f1"}),
        ("qqp", {"accuracy", "f1"}),
        ("qnli", {"accuracy"}),
        ("rte", {"accuracy"}),
        ("wnli", {"accuracy"}),
        ("stsb", {"mse", "pearson", "spearman"}),
    ],
)
def test_a_task_has_its_official_figures(tmp_path, task, figures):
    columns = {"cola": ["sentence"], "sst2": ["sentence"], "qqp": ["question1", "question2"]}
    columns["qnli"] = ["question", "sentence"]
    names = columns.get(task, ["sentence1", "sentence2"])
    table = [{**{name: f"{name} of guest {i}" for name in names}, "label": i % 2} for i in range(12)]
    train = small_labels.write(tmp_path / "train.tsv", table)
    objective = "regression" if task == "stsb" else "classification"
    read = small_labels.Read(small_labels.stage(train, objective, data__task=task), tmp_path)
    (validation,) = read.material.validation.values()
    assert {*evaluate(read.model(), validation, 4, CPU)} == {"loss"} | figures


def test_too_long_rows_are_cut_or_left_out_and_counted(tmp_path):
    table = [*small_labels.rows(20), {"text": "so it went " * 30, "label": "bad"}]
    train = small_labels.write(tmp_path / "train.csv", table)
    cut = small_labels.Read(small_labels.stage(train, data__max_length=16, data__validation=0), tmp_path)
    assert "and were cut, the first is line" in cut.said
    assert cut.material.train.lengths.max() == 16
    dropped = small_labels.Read(small_labels.stage(train, data__too_long="drop", data__validation=0), tmp_path)
    assert "1 of 21 rows have more than max_length 32 tokens" in dropped.said
    assert "and were left out, the first is line 22" in dropped.said
    assert len(dropped.material.train) == 20


def test_pairs_are_told_apart(tmp_path):
    """By token types for BERT; by a token between them where the tokenizer puts none."""
    bert = made(tmp_path, pair=True)
    objective = bert.material.train
    bert.model()
    batch = objective.collate([0, 1], 0)
    assert batch.inputs["token_type_ids"].max() == 1
    gpt = made(tmp_path, pair=True, model=small_labels.GPT2, tokenizer={"kind": "bpe", "vocab_size": 300})
    gpt.model()
    tokenizer, rows = gpt.material.tokenizer, gpt.material.train
    assert list(rows.rows.tokens(0)).count(tokenizer.eos_token_id) == 1
    assert "token_type_ids" not in rows.collate([0, 1], 0).inputs
    assert "it has no token for padding; <|endoftext|> fills short rows" in gpt.said
    short = made(
        tmp_path, pair=True, model=small_labels.GPT2, tokenizer={"kind": "bpe", "vocab_size": 300}, data__max_length=9
    )
    rows = short.material.train.rows
    assert rows.lengths.max() == 9
    assert all(list(rows.tokens(i)).count(tokenizer.eos_token_id) == 1 for i in range(len(rows)))


def test_marks_written_in_a_text_are_text(tmp_path):
    train = small_labels.write(
        tmp_path / "train.csv", [{"text": f"a [SEP] film {i}", "label": "ab"[i % 2]} for i in range(8)]
    )
    read = small_labels.Read(small_labels.stage(train, data__validation=0), tmp_path)
    separator = read.material.tokenizer.sep_token_id
    rows = read.material.train.rows
    assert all(list(rows.tokens(i)).count(separator) == 1 for i in range(len(rows)))


def test_rows_that_do_not_fit_the_model_are_refused(tmp_path):
    small = {"type": "bert", "config": {**small_labels.BERT["config"], "max_position_embeddings": 10}}
    read = made(tmp_path, model=small)
    with pytest.raises(
        ValueInRecipeError, match=r"a row has .* tokens, the model takes 10; lower max_length"
    ) as caught:
        read.model()
    assert caught.value.key == "data.max_length"


def test_a_second_reading_comes_from_the_cache_and_is_the_same(tmp_path):
    first = made(tmp_path)
    second = made(tmp_path)
    assert "train: 40 rows tokenised and kept in the cache (not seen before)" in first.said
    assert "train: 40 tokenised rows from the cache" in second.said
    assert first.material.train.fingerprint == second.material.train.fingerprint
    third = made(tmp_path, data__max_length=24)
    assert "(max_length changed from 32 to 24)" in third.said
    (tmp_path / "train.csv").write_text("text,label\na film,bad\na book,good\n")
    fourth = small_labels.Read(small_labels.stage(tmp_path / "train.csv", data__validation=0), tmp_path)
    assert "source changed" in fourth.said
    assert len(fourth.material.train) == 2


def test_an_example_shows_text_and_label(tmp_path):
    read = made(tmp_path, data__validation=0)
    assert read.task.example(0).startswith("[CLS] it was a awful film")
    assert read.task.example(0).endswith("→ bad")
    assert made(tmp_path, "regression", data__validation=0).task.example(1).endswith("→ 1.5")


def test_predictions_and_checkpoints_are_plain_files(tmp_path):
    train = small_labels.write(tmp_path / "train.csv", small_labels.rows())
    bench = Bench(tmp_path / "home", small_labels.stage(train))
    results = bench.work()
    json.dumps(results)
    assert not (bench.folder / "train" / "predictions.csv").exists()
