"""Training our own text classifiers: exact resumption, one gradient for every split, and building on each other."""

import pytest
import small_labels
import torch
from lmwb.core.errors import Stopped
from lmwb.core.models.loading import make_model
from lmwb.core.tasks.labels import LabelTask
from lmwb.core.tasks.task import Surroundings
from lmwb.core.training.evaluation import evaluate
from test_training_stage import Bench, same

ENCODER = {"kind": "encoder", "hidden": 16, "feedforward": 24, "layers": 1, "dropout": 0.2, "max_length": 32}
MODELS = [ENCODER, {**ENCODER, "norm": "pre"}, {"kind": "bag", "hidden": 8}]
IDS = ["post", "pre", "bag"]


def texts(folder, **of):
    return small_labels.write(folder / "rows.csv", small_labels.rows(**of))


def stage(train, model, **changes):
    return small_labels.stage(train, model=model, tokenizer={"kind": "words"}, **changes)


def vectors(folder):
    """A file with vectors for some of the words."""
    path = folder / "vectors.txt"
    path.write_text("".join(f"{word} {' '.join(str(i / 10) for i in range(16))}\n" for word in ("it", "was", "warm")))
    return str(path)


@pytest.mark.parametrize("model", [*MODELS, "frozen"], ids=[*IDS, "frozen"])
def test_a_stopped_and_resumed_run_ends_with_the_same_weights(tmp_path, model):
    if model == "frozen":
        model = {**ENCODER, "embeddings": vectors(tmp_path), "train_embeddings": False}
    wanted = stage(
        texts(tmp_path),
        model,
        train__steps=12,
        train__gradient_accumulation=2,
        train__eval_every=5,
        train__result="last",
    )
    whole = Bench(tmp_path / "whole", wanted)
    results = whole.work()
    bench = Bench(tmp_path / "stopped", wanted)
    for stop in (3, 4):
        with pytest.raises(Stopped):
            bench.work(stop_after=stop)
    assert bench.work()["validation"] == results["validation"]
    assert same(bench.weights(), whole.weights())


def made(tmp_path, model):
    """The training rows of a task, and its model."""
    wanted = stage(texts(tmp_path), {**model, "dropout": 0.0} if "dropout" in model else model)
    material = LabelTask(wanted, Surroundings(1, tmp_path / "cache", print)).read()
    torch.manual_seed(0)
    return material.train, make_model(wanted.model, "classification", material.tokenizer, material.fields, print)


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_the_gradient_is_the_same_however_rows_are_split(tmp_path, model):
    rows, net = made(tmp_path, model)
    gradients = []
    for split in ([range(12)], [range(7), range(7, 12)], [[i] for i in range(12)]):
        net.zero_grad()
        for part in split:
            batch = rows.collate(list(part), 0)
            (rows.loss_sum(rows.forward(net, batch), batch) / 12).backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in net.parameters()]))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_figures_do_not_depend_on_the_batch_size(tmp_path, model):
    rows, net = made(tmp_path, model)
    figures = [evaluate(net, rows, size, torch.device("cpu")) for size in (1, 5, 30)]
    for name in figures[0]:
        assert [found[name] for found in figures] == pytest.approx([figures[0][name]] * 3, rel=1e-6)


def test_a_stage_builds_on_anothers_words_weights_and_frozen_vectors(tmp_path, capsys):
    frozen = {**ENCODER, "embeddings": vectors(tmp_path), "train_embeddings": False}
    first = Bench(tmp_path / "first", stage(texts(tmp_path, labels=("bad", "good", "odd")), frozen))
    result = first.folder / first.work()["model"]
    (tmp_path / "next").mkdir()
    document = small_labels.stage(texts(tmp_path / "next"), model={"from": str(result)}, tokenizer=None)
    second = Bench(tmp_path / "second", document)
    second.work()
    assert "a head of another size is replaced by a new one: classifier.bias (3,) → (2,)" in capsys.readouterr().out
    before, after = first.weights(), second.weights()
    assert torch.equal(before["encoder.embeddings.weight"], after["encoder.embeddings.weight"])
    assert not torch.equal(before["encoder.layers.0.query.weight"], after["encoder.layers.0.query.weight"])


def test_words_that_are_learned_are_learned(tmp_path):
    """A label that follows from one word is found by both models."""
    for model in ({"kind": "bag", "hidden": 16}, {**ENCODER, "dropout": 0.0}):
        wanted = stage(texts(tmp_path, count=80), model, train__steps=150, train__lr=2e-2, train__batch_size=16)
        assert Bench(tmp_path / model["kind"], wanted).work()["validation"]["accuracy"] == 1
