"""Adapted models on disk: peft reads ours, we read peft's, and a later stage starts from either."""

import json
from pathlib import Path

import pytest
import tiny
import torch
from lmwb.core.errors import ValueInRecipeError
from lmwb.core.methods import adapt, adapters, load_adapters, lora
from lmwb.core.methods.storage import save_small
from lmwb.core.models.convnet import ConvNetClassifier, ConvNetConfig
from lmwb.core.models.encoder import EncoderClassifier, EncoderConfig
from lmwb.core.models.loading import make_model, outline, quiet
from lmwb.core.models.origin import remember_origin
from lmwb.core.models.own import register
from lmwb.core.models.storage import load_weights, save_model, stored_weights
from lmwb.core.recipe.schema import PretrainedModel
from lmwb.core.recipe.schema.method import Adapters, Layers, LinearProbe, Lora
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
)
from traps import Fused

IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 1, 1, 1]])
MASKED = {"input_ids": IDS, "attention_mask": (IDS != 1).long()}
BERT = BertConfig(
    vocab_size=40,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    num_labels=3,
    max_position_embeddings=16,
)
KINDS = {
    "gpt2": (lambda: tiny.model(tiny.tokenizer()), AutoModelForCausalLM, "causal-lm", {"input_ids": IDS}),
    "bert": (lambda: BertForSequenceClassification(BERT), AutoModelForSequenceClassification, "classification", MASKED),
    "encoder": (
        lambda: EncoderClassifier(EncoderConfig(vocab_size=40, hidden_size=16, num_labels=3, pad_token_id=1)),
        AutoModelForSequenceClassification,
        "classification",
        MASKED,
    ),
    "convnet": (
        lambda: ConvNetClassifier(ConvNetConfig(num_labels=3, channels=(2, 4), hidden_size=16)),
        AutoModelForImageClassification,
        "image-classification",
        {"pixel_values": torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))},
    ),
}
TARGETS = {
    "gpt2": ["c_attn", "c_fc", "c_proj"],
    "bert": ["query", "value"],
    "encoder": ["linear?", "query"],
    "convnet": ["conv*", "fc1"],
}


@pytest.fixture(autouse=True)
def _known():
    register()
    quiet()
    torch.manual_seed(0)


class Bench:
    """A base in a folder, and models made of it."""

    def __init__(self, folder: Path, kind: str):
        self.folder = folder
        make, self.auto, self.head, self.inputs = KINDS[kind]
        self.said = []
        make().save_pretrained(folder / "base")

    def load(self, name, head=None, **fields):
        table = PretrainedModel(**{"from": str(self.folder / name)})
        return make_model(table, head or self.head, None, fields, self.said.append).eval()

    def adapted(self, *methods, source="base", **fields):
        """A model whose trained weights have been moved."""
        model = self.load(source, **fields)
        adapt(model, methods, self.said.append)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.requires_grad:
                    weight.add_(torch.randn_like(weight), alpha=0.1)
        return model

    def save(self, model, name="result"):
        (self.folder / name).mkdir()
        save_model(model, None, self.folder / name)
        return self.folder / name

    def says(self, model):
        with torch.no_grad():
            return model.eval()(**self.inputs).logits

    def peft(self, folder, **fields):
        base = self.auto.from_pretrained(self.folder / "base", ignore_mismatched_sizes=True, **fields)
        return PeftModel.from_pretrained(base, folder)


def close(a, b):
    return torch.allclose(a, b, rtol=1e-6, atol=2e-6)


# -- peft -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_peft_reads_what_we_write(tmp_path, kind):
    bench = Bench(tmp_path, kind)
    before = bench.says(bench.load("base"))
    model = bench.adapted(Lora(targets=TARGETS[kind], rank=3, alpha=5.0))
    folder = bench.save(model)
    said = bench.says(model)
    assert (said - before).abs().max() > 1e-3
    assert close(bench.says(bench.peft(folder)), said)
    assert not list(folder.glob("model*"))
    assert stored_weights(model) < 0.5 * sum(weight.numel() for weight in model.parameters())
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tmp_path / "base")
    assert config["modules_to_save"] == (None if kind == "gpt2" else ["classifier"])


def test_peft_reads_several_ranks_further_modules_and_a_head_of_another_size(tmp_path):
    bench = Bench(tmp_path, "bert")
    methods = (
        Lora(targets=["query"], rank=3, also_train=["layer.1.output.LayerNorm"]),
        Lora(targets=["layer.0.*.key"], rank=2, alpha=7.0),
        Layers(train=["pooler"]),
    )
    model = bench.adapted(*methods, num_labels=5)
    assert any("a head of another size is replaced" in line for line in bench.said)
    assert close(bench.says(bench.peft(bench.save(model), num_labels=5)), bench.says(model))


def test_peft_reads_an_attention_of_torch(tmp_path):
    """Its fast path must be off: there peft leaves its own updates out.

    That of the output projection stays zero: peft 0.21 adds it twice, which the next test pins down.
    """
    model, ids = Fused().eval(), torch.tensor([[3, 4, 5], [6, 7, 0]])
    remember_origin(model, "elsewhere", ())
    adapt(model, [Lora(targets=["self_attn"], rank=2, head=False)], print)
    for name, layer in lora.layers(model):
        if not name.endswith("out_proj"):
            torch.nn.init.normal_(layer.lora["default"].B.data, std=0.3)
    assert not close(model(ids), Fused().eval()(ids))
    save_small(model, tmp_path)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        assert close(PeftModel.from_pretrained(Fused().eval(), tmp_path)(ids), model(ids))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_an_attention_that_peft_has_trained_is_refused(tmp_path):
    model, ids = get_peft_model(Fused().eval(), LoraConfig(target_modules=["self_attn"])), torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueInRecipeError, match="updates an attention's output projection twice; merge it"):
        load_adapters(Fused(), {"theirs": tmp_path})
    # were it not so, this would be the place to notice
    ours = Fused().eval()
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "peft_version"}))
    load_adapters(ours, {"theirs": tmp_path}).use("theirs")
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        assert not close(ours(ids), model(ids))
        for layer in ours.encoder.layers:
            layer.self_attn.out_proj.lora["theirs"].scale *= 2
        assert close(ours(ids), model(ids))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def by_peft(bench, folder, **settings):
    """An adapter as peft makes and stores it; returns what its model says."""
    model = get_peft_model(bench.auto.from_pretrained(bench.folder / "base"), LoraConfig(**settings))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight), alpha=0.1)
    said = bench.says(model)
    model.save_pretrained(folder)
    return said


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("gpt2", {"target_modules": ["c_attn", "c_proj"], "r": 3, "fan_in_fan_out": True, "task_type": "CAUSAL_LM"}),
        ("gpt2", {"target_modules": r".*\.0\.attn\.c_attn", "lora_alpha": 3, "fan_in_fan_out": True}),
        ("bert", {"target_modules": ["query", "value"], "task_type": "SEQ_CLS", "lora_dropout": 0.1}),
        ("bert", {"target_modules": "all-linear", "modules_to_save": ["classifier", "pooler"], "use_rslora": True}),
        (
            "bert",
            {
                "target_modules": ["query", "key"],
                "rank_pattern": {"query": 2},
                "alpha_pattern": {"layer.1.attention.self.key": 30},
            },
        ),
        ("encoder", {"target_modules": ["linear1", "linear2"], "modules_to_save": ["classifier"]}),
        ("convnet", {"target_modules": ["conv1", "conv2"]}),
    ],
    ids=str,
)
def test_we_read_what_peft_writes(tmp_path, kind, settings):
    bench = Bench(tmp_path, kind)
    said = by_peft(bench, tmp_path / "theirs", **settings)
    assert close(bench.says(bench.load("theirs", **({} if kind == "gpt2" else {"num_labels": 3}))), said)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"bias": "lora_only"}, "trained biases"),
        ({"lora_bias": True}, "biases inside the update"),
    ],
)
def test_what_we_do_not_have_is_refused(tmp_path, settings, words):
    bench = Bench(tmp_path, "bert")
    by_peft(bench, tmp_path / "theirs", target_modules=["query"], **settings)
    with pytest.raises(ValueInRecipeError, match=f"was made with {words}, which lmwb does not have") as caught:
        bench.load("theirs")
    assert caught.value.key == "model.from"


# -- our own --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "methods",
    [
        [Lora(targets=["query", "value"])],
        [Adapters(targets=["output.dense"], size=3)],
        [Lora(targets=["query"]), Adapters(targets=["output.dense"], size=3), Layers(train=["pooler"])],
        [Layers(train=["layer.1"])],
        [LinearProbe()],
        [],
    ],
    ids=lambda methods: "+".join(method.kind for method in methods) or "full",
)
@pytest.mark.parametrize("labels", [3, 5])
def test_a_result_says_the_same_when_it_is_loaded(tmp_path, methods, labels):
    bench = Bench(tmp_path, "bert")
    model = bench.adapted(*methods, num_labels=labels)
    folder = bench.save(model)
    again = bench.load("result", num_labels=labels)
    assert close(bench.says(again), bench.says(model))
    assert not list(lora.layers(again))
    assert all(weight.requires_grad for weight in again.parameters())
    # and it may be stored whole, too
    bench.save(again, "whole")
    assert close(bench.says(bench.load("whole", num_labels=labels)), bench.says(model))
    small = any(method.kind in ("lora", "adapters") for method in methods)
    assert bool(list(folder.glob("model*.safetensors"))) == (not small)


def test_checkpoints_of_adapted_models_give_every_bit_back(tmp_path):
    bench = Bench(tmp_path, "bert")
    methods = (Lora(targets=["query"]), Adapters(targets=["output.dense"], size=3))
    model = bench.adapted(*methods)
    folder = bench.save(model)
    other = bench.adapted(*methods)
    assert not torch.equal(bench.says(other), bench.says(model))
    load_weights(other, folder)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match="does not hold this model"):
        load_weights(bench.adapted(Lora(targets=["key"])), folder)


def test_stages_may_build_on_one_another(tmp_path):
    bench = Bench(tmp_path, "bert")
    bench.save(bench.adapted(Lora(targets=["query"]), Adapters(targets=["layer.0.output.dense"])), "first")
    first = bench.says(bench.load("first"))
    model = bench.adapted(Lora(targets=["query", "value"], rank=2), source="first")
    assert any("low-rank updates of 2 layers in" in line and "merged" in line for line in bench.said)
    assert any("1 layers in" in line and "bottleneck adapters" in line for line in bench.said)
    bench.save(model, "second")
    assert not close(bench.says(model), first)
    assert close(bench.says(bench.load("second")), bench.says(model))
    with pytest.raises(ValueInRecipeError, match="has an adapter from an earlier stage; target other layers"):
        bench.adapted(Lora(targets=["layer.0.output.dense"]), source="first")


def test_a_stage_may_want_another_head(tmp_path):
    bench = Bench(tmp_path, "bert")
    model = bench.adapted(Lora(targets=["query"]))
    bench.save(model)
    bench.said.clear()
    other = bench.load("result", num_labels=7)
    assert other.classifier.weight.shape == (7, 16)
    assert "has no weights for classifier.bias, classifier.weight; they are new" in bench.said[-1]
    lora.fold(model)
    assert torch.equal(
        other.bert.encoder.layer[0].attention.self.query.weight, model.bert.encoder.layer[0].attention.self.query.weight
    )
    masked = bench.load("result", head="masked-lm")
    assert isinstance(masked, BertForMaskedLM)
    assert torch.equal(masked.bert.embeddings.word_embeddings.weight, model.bert.embeddings.word_embeddings.weight)
    assert masked.cls.predictions.decoder.weight is masked.bert.embeddings.word_embeddings.weight


def test_weights_that_the_base_did_not_have_are_stored(tmp_path):
    """Frozen as they were drawn, they could be had from nowhere else."""
    bench = Bench(tmp_path, "bert")
    BertForMaskedLM(BERT).save_pretrained(tmp_path / "masked")
    model = bench.adapted(Lora(targets=["query"], head=False), source="masked", num_labels=3)
    bench.save(model)
    torch.manual_seed(99)
    assert close(bench.says(bench.load("result", num_labels=3)), bench.says(model))


def test_a_new_base_is_stored_beside(tmp_path):
    bench = Bench(tmp_path, "encoder")
    model = KINDS["encoder"][0]()
    adapt(model, [Lora(targets=["query"])], print)
    torch.nn.init.normal_(model.encoder.layers[0].query.lora["default"].B.data)
    folder = bench.save(model)
    assert close(bench.says(bench.load("result", num_labels=3)), bench.says(model))
    assert close(
        bench.says(PeftModel.from_pretrained(bench.auto.from_pretrained(folder / "base"), folder)), bench.says(model)
    )


def test_several_adapters_on_one_base(tmp_path):
    bench = Bench(tmp_path, "bert")
    said = {None: bench.says(bench.load("base"))}
    for name, labels in (("a", 3), ("b", 5)):
        model = bench.adapted(Lora(targets=["query", "key"], rank=labels), num_labels=labels)
        bench.save(model, name)
        said[name] = bench.says(model)
    said["theirs"] = by_peft(bench, tmp_path / "theirs", target_modules=["value"], modules_to_save=["classifier"])
    base = bench.load("base")
    several = load_adapters(base, {name: tmp_path / name for name in ("a", "b", "theirs")})
    assert several.names == ["a", "b", "theirs"]
    for name in (None, "b", "a", "theirs", None, "a"):
        several.use(name)
        assert close(bench.says(base), said[name]), name
    with pytest.raises(ValueError, match="there is no update 'c'; there are a, b, theirs"):
        several.use("c")


def test_what_does_not_fit_or_is_not_there_is_told(tmp_path):
    bench = Bench(tmp_path, "bert")
    folder = bench.save(bench.adapted(Lora(targets=["query"])))
    config = json.loads((folder / "adapter_config.json").read_text())

    def with_config(**changes):
        (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(ValueInRecipeError) as caught:
            bench.load("result", num_labels=3)
        assert caught.value.key == "model.from"
        return str(caught.value)

    assert "belongs to '/nowhere', which cannot be loaded" in with_config(base_model_name_or_path="/nowhere")
    assert "does not say which model it belongs to" in with_config(base_model_name_or_path=None)
    assert "was made with LOHA, which lmwb does not have" in with_config(peft_type="LOHA")
    (folder / "adapter_model.safetensors").unlink()
    assert "has no adapter_model.safetensors; save it with safetensors" in with_config()


def test_an_adapted_model_can_be_looked_at_without_weights(tmp_path):
    bench = Bench(tmp_path, "bert")
    bench.save(bench.adapted(Lora(targets=["query"]), num_labels=5))
    model = outline(PretrainedModel(**{"from": str(tmp_path / "result")}), "classification", None, {"num_labels": 5})
    assert model.classifier.weight.shape == (5, 16)
    assert not list(adapters.layers(model))
