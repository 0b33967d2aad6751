"""Stages with methods: an interruption leaves no trace, only what is small is stored, the figures are right."""

import pytest
import small_labels
import tiny
import torch
from lmwb.core.errors import Stopped, ValueInRecipeError
from lmwb.core.recipe.schema import ClassificationStage
from safetensors.torch import load_file
from test_training_stage import Bench, same

METHODS = {
    "attention": [{"kind": "lora", "targets": ["c_attn"]}],
    "lora": [{"kind": "lora", "targets": ["c_attn", "c_proj"], "rank": 2, "dropout": 0.2}],
    "adapters": [{"kind": "adapters", "targets": ["mlp.c_proj"], "size": 3}],
    "layers": [{"kind": "layers", "train": ["h.1", "ln_f"], "rates": {"ln_f": 0.1}}],
    "all": [
        {"kind": "lora", "targets": ["h.0.*.c_attn"]},
        {"kind": "adapters", "targets": ["h.1.mlp.c_proj"], "size": 3},
        {"kind": "layers", "train": ["ln_f"]},
    ],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model with its tokenizer, in a folder."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = tiny.tokenizer()
    tiny.model(tokenizer, dropout=0.1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def stage(base, method, **changes):
    return tiny.stage(
        model={"from": str(base)},
        tokenizer=None,
        method=METHODS[method],
        train__steps=8,
        train__eval_every=4,
        train__checkpoint_every=3,
        train__result="last",
        **changes,
    )


def weights(bench):
    folder = bench.folder / "train" / "model"
    return {
        f"{file.name}:{name}": value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_and_resumed_run_ends_with_the_same_weights(base, tmp_path, method):
    whole = Bench(tmp_path / "whole", stage(base, method))
    results = whole.work()
    bench = Bench(tmp_path / "stopped", stage(base, method))
    for stop in (2, 4):
        with pytest.raises(Stopped):
            bench.work(stop_after=stop)
    assert bench.work()["validation"] == results["validation"]
    assert same(weights(bench), weights(whole))


def test_what_is_stored_and_what_is_measured(base, tmp_path):
    bench = Bench(tmp_path, stage(base, "all"))
    results = bench.work()
    names = {path.name for path in (bench.folder / "train" / "model").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "config.json", "tokenizer.json"} < names
    assert "model.safetensors" not in names
    stored = weights(bench)
    lora, bottleneck, norm = 8 * (32 + 96), 2 * 3 * 32 + 3 + 32, 2 * 32
    assert results["trained"] == lora + bottleneck + norm == sum(value.numel() for value in stored.values())
    original = load_file(base / "model.safetensors")  # the output layer is the embedding and counts once
    assert results["parameters"] == sum(value.numel() for value in original.values()) + lora + bottleneck
    assert results["trained_percent"] == pytest.approx(100 * results["trained"] / results["parameters"])
    (spectrum,) = results["spectrum"].values()
    assert len(spectrum) == 8
    assert spectrum == sorted(spectrum, reverse=True)
    assert spectrum[0] > 0
    for checkpoint in (bench.folder / "train" / "checkpoints").iterdir():
        assert not list(checkpoint.glob("model*.safetensors"))


def test_the_base_is_left_alone(base, tmp_path):
    before = load_file(base / "model.safetensors")
    bench = Bench(tmp_path, stage(base, "layers"))
    bench.work()
    after = load_file(bench.folder / "train" / "model" / "model.safetensors")
    assert same(before, load_file(base / "model.safetensors"))
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if ".h.1." in name or ".ln_f." in name}


def test_a_later_stage_begins_where_an_adapted_one_ended(base, tmp_path, capsys):
    first = Bench(tmp_path / "first", stage(base, "all"))
    ended = first.work()["validation"]
    result = first.folder / "train" / "model"
    with pytest.raises(ValueInRecipeError, match=r"mlp.c_proj' has an adapter from an earlier stage"):
        Bench(tmp_path / "refused", stage(result, "adapters")).work()
    second = Bench(tmp_path / "second", stage(result, "attention"))
    results = second.work()
    assert results["validation/before"]["loss"] == pytest.approx(ended["loss"], rel=1e-5)
    assert "are merged into their weights" in capsys.readouterr().out
    third = Bench(tmp_path / "third", stage(second.folder / "train" / "model", "layers"))
    assert third.work()["validation/before"]["loss"] == pytest.approx(results["validation"]["loss"], rel=1e-5)


@pytest.mark.parametrize("model", ["bert", "encoder"])
def test_classifiers_are_adapted_with_their_heads(tmp_path, model):
    small_labels.write(tmp_path / "rows.csv", small_labels.rows(24))
    table = small_labels.BERT if model == "bert" else {"kind": "encoder", "layers": 1, "hidden": 16}
    targets = ["query", "output.dense"] if model == "bert" else ["query", "linear2"]
    document = {
        "objective": "classification",
        "model": table,
        "tokenizer": {"kind": "bpe", "vocab_size": 300},
        "data": {"train": str(tmp_path / "rows.csv"), "validation": 0.25},
        "method": [{"kind": "lora", "targets": targets[:1]}, {"kind": "adapters", "targets": targets[1:], "size": 2}],
        "train": {"steps": 6, "batch_size": 4, "lr": 1e-2, "result": "last"},
    }
    new = ClassificationStage.model_validate(document)
    whole, stopped = Bench(tmp_path / "whole", new), Bench(tmp_path / "stopped", new)
    results = whole.work()
    with pytest.raises(Stopped):
        stopped.work(stop_after=3)
    assert stopped.work()["validation"] == results["validation"]
    assert same(weights(stopped), weights(whole))
    again = ClassificationStage.model_validate(
        {**document, "model": {"from": str(whole.folder / "train" / "model")}, "tokenizer": None, "method": []}
    )
    after = Bench(tmp_path / "again", again).work()
    assert after["validation/before"]["loss"] == pytest.approx(results["validation"]["loss"], rel=1e-5)
