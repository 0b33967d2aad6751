"""Pruning in blocks, rows, columns and heads; models that are smaller for it and say the same."""

import json

import pytest
import small_models
import tiny
import torch
from lmwb.core.errors import UsageError, ValueInRecipeError
from lmwb.core.methods.active import Place
from lmwb.core.methods.compressed import compress, decompress
from lmwb.core.methods.pruning import Pruning
from lmwb.core.methods.pruning.gates import masked
from lmwb.core.methods.pruning.masks import masks_of, original_of
from lmwb.core.methods.pruning.shapes import EachWeight
from lmwb.core.methods.pruning.units import Blocks, grains_of
from lmwb.core.methods.structured import Sizes, shrink, sizes_of
from lmwb.core.methods.structured.anatomy import matrix_of
from lmwb.core.models.loading import make_model, outline
from lmwb.core.models.shrinking import write_shrunk
from lmwb.core.models.shrunk import is_shrunk
from lmwb.core.models.storage import load_weights, save_model
from lmwb.core.recipe.schema import PretrainedModel, Train
from lmwb.core.recipe.schema.method import Lora
from lmwb.core.recipe.schema.pruning import MovementPruning
from lmwb.core.training.plan import Plan
from lmwb.tui.cli import run
from pydantic import ValidationError
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.pytorch_utils import Conv1D

WEIGHT = torch.arange(1.0, 13.0).reshape(3, 4)


def said(sentences):
    return sentences.append


# -- units ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grain", "shape", "sums"),
    [
        (Blocks(1, None, False), (3, 1), [[10.0], [26.0], [42.0]]),
        (Blocks(None, 1, False), (1, 4), [[15.0, 18.0, 21.0, 24.0]]),
        (Blocks(2, 3, False), (2, 2), [[1 + 2 + 3 + 5 + 6 + 7.0, 4 + 8.0], [9 + 10 + 11.0, 12.0]]),
        (Blocks(2, 3, True), (1, 2), [[1 + 2 + 5 + 6 + 9 + 10.0, 3 + 4 + 7 + 8 + 11 + 12.0]]),
        (Blocks(1, None, True), (1, 4), [[15.0, 18.0, 21.0, 24.0]]),
        (Blocks(9, 9, False), (1, 1), [[78.0]]),
    ],
)
def test_a_score_stands_for_a_block_and_gets_the_sum_of_its_gradients(grain, shape, sums):
    assert grain.shape(WEIGHT) == shape
    assert grain.gather(WEIGHT, torch.zeros(shape)).tolist() == sums
    numbers = torch.arange(float(torch.tensor(shape).prod())).reshape(shape)
    spread = grain.spread(numbers, WEIGHT)
    assert spread.shape == WEIGHT.shape
    for number in numbers.flatten():
        assert WEIGHT[spread == number].sum() == grain.gather(WEIGHT, numbers)[numbers == number].sum()


def test_the_gradient_of_a_blocks_score_is_that_of_a_gate_on_the_block():
    grain = Blocks(2, 2, False)
    weight, scores = WEIGHT.clone().requires_grad_(), torch.ones(2, 2, requires_grad=True)
    gradient = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    masked(weight, torch.ones(3, 4, dtype=torch.bool), scores, grain).backward(gradient)
    gates = torch.ones(2, 2, requires_grad=True)
    (WEIGHT * grain.spread(gates, WEIGHT)).backward(gradient)
    assert torch.allclose(scores.grad, gates.grad)


def test_the_last_pattern_that_matches_says_what_is_pruned_together(tmp_path):
    small_models.bert_classifier(tmp_path / "bert")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "bert")
    linear = {name: each for name, each in model.named_modules() if isinstance(each, torch.nn.Linear)}
    units = {"attention.*": "2x4", "intermediate.dense": "rows", "query": "heads", "attention.output.dense": "heads"}
    grains = grains_of(0, units, linear, model)
    shapes = {name.partition("layer.0.")[2]: grains[name].shape(module.weight) for name, module in linear.items()}
    del shapes[""]
    assert shapes == {
        "attention.self.query": (2, 1),
        "attention.self.key": (8, 4),
        "attention.self.value": (8, 4),
        "attention.output.dense": (1, 2),
        "intermediate.dense": (32, 1),
        "output.dense": (16, 32),
    }
    assert isinstance(grains["classifier"], EachWeight)
    with pytest.raises(ValueInRecipeError, match="' is no part of an attention") as refused:
        grains_of(3, {"intermediate.dense": "heads"}, linear, model)
    assert refused.value.key == "method.3.units"
    with pytest.raises(ValueInRecipeError, match="no pruned layer is named 'querry'; did you mean"):
        grains_of(0, {"querry": "rows"}, linear, model)


def test_heads_of_gpt2_are_found_in_its_transposed_layers():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_embd=16, n_head=4, n_layer=1, n_positions=8))
    layers = {name: each for name, each in model.named_modules() if isinstance(each, Conv1D)}
    grains = grains_of(0, {"c_attn": "heads", "attn.c_proj": "heads", "c_fc": "rows"}, layers, model)
    shapes = [grains[name].shape(module.weight) for name, module in layers.items()]
    assert shapes == [(1, 12), (4, 1), (1, 64), (64, 16)]


@pytest.mark.parametrize("unit", ["row", "32", "32x", "0x4", "32x32x32", "heads "])
def test_units_that_are_none_are_refused(unit):
    with pytest.raises(ValidationError):
        MovementPruning(units={"query": unit})
    with pytest.raises(ValidationError, match="cannot be compared over the whole model"):
        MovementPruning(units={"query": "rows"}, scope="model")


# -- masks over units -----------------------------------------------------------------------------


@pytest.mark.parametrize("mask", ["top-k", "sigmoid-threshold", "threshold", "magnitude", "l0"])
@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_masks_of_every_kind_leave_whole_units_and_what_they_leave_is_shrunk(kind, mask, tmp_path):
    model = KINDS[kind][0]()
    output, inner = ("attn.c_proj", "mlp.c_fc") if kind == "gpt2" else ("attention.output.dense", "intermediate.dense")
    shares = {"final_threshold": 0.5, **({"initial_threshold": 0.0} if mask == "threshold" else {})}
    settings = MovementPruning(
        mask=mask,
        targets=[output, inner],
        units={output: "heads", inner: "rows"},
        init="uniform",
        init_scale=3,
        **shares,
    )
    train = Train(steps=100, batch_size=4, lr=1e-2, result="last")
    cpu = torch.device("cpu")
    place = Place(model, None, None, Plan.of(train, 40, 0), train, 0, cpu, tmp_path, tmp_path, lambda _: None)
    pruning = Pruning(0, settings, place)
    pruning.before_step(100)
    model.train()(**INPUTS).logits.square().sum().backward()
    found = {name: (module, each) for name, module, each in masks_of(model)}
    for module, each in found.values():
        weight = original_of(module)
        assert weight.grad is not None
        if mask != "magnitude":
            assert each.scores.shape == each.scores.grad.shape == each.grain.shape(weight)
    with torch.no_grad():
        wanted = logits(model)  # from here on the masks are those of evaluation
        matrices = {name: matrix_of(module) for name, (module, _) in found.items()}
        rows = [matrix.ne(0).any(1) for name, matrix in matrices.items() if name.endswith(inner)]
        heads = [matrix.reshape(16, 4, 4).ne(0).any(2) for name, matrix in matrices.items() if name.endswith(output)]
    assert all(torch.equal(each, each[:1].expand_as(each)) for each in heads)  # for all outputs the same heads
    alive = [Sizes(int(head[0].sum()), int(row.sum())) for head, row in zip(heads, rows, strict=True)]
    if mask in ("top-k", "magnitude"):
        assert alive == [Sizes(2, len(rows[0]) // 2)] * 2
    results = pruning.finish(model, tmp_path)
    assert 0 < results["kept"] < 1
    assert results["kept_weights"] == sum(16 * (4 * each.heads + each.width) for each in alive)
    assert close(logits(model), wanted)
    shrink(model)
    assert sizes_of(model) == alive
    assert close(logits(model), wanted)


def test_units_without_scores_are_kept_by_the_sum_of_their_sizes(tmp_path):
    model = bert(1)
    layer = model.bert.encoder.layer[0].intermediate.dense
    largest = layer.weight.detach().abs().sum(1).topk(8).indices.sort().values
    settings = MovementPruning(
        mask="magnitude", targets=["intermediate.dense"], units={"dense": "rows"}, final_threshold=0.25
    )
    train = Train(steps=100, batch_size=4, lr=1e-2)
    cpu = torch.device("cpu")
    place = Place(model, None, None, Plan.of(train, 40, 0), train, 0, cpu, tmp_path, tmp_path, lambda _: None)
    Pruning(0, settings, place).finish(model, tmp_path)
    assert torch.equal(layer.weight.ne(0).all(1).nonzero().squeeze(1), largest)


# -- shrinking ------------------------------------------------------------------------------------


def bert(layers=2):
    torch.manual_seed(0)
    config = small_models.bert_config(num_labels=3)
    config.num_hidden_layers, config.num_attention_heads = layers, 4
    return BertForSequenceClassification(config).eval()


def gpt2():
    torch.manual_seed(0)
    size = {"n_layer": 2, "n_head": 4, "n_embd": 16, "n_positions": 32, "initializer_range": 0.5}
    return GPT2LMHeadModel(GPT2Config(vocab_size=40, bos_token_id=0, eos_token_id=0, **size)).eval()


KINDS = {"bert": (bert, "classification"), "gpt2": (gpt2, "causal-lm")}
IDS = torch.tensor([[5, 6, 7, 8, 9], [11, 12, 13, 1, 1]])
INPUTS = {"input_ids": IDS, "attention_mask": (IDS != 1).long()}


@torch.no_grad()
def prune(model):
    """By hand: heads 1 and 3 of the first layer (one says nothing, one is not heard), and neurons in both layers."""
    for weight in model.parameters():
        if weight.dim() == 1:
            weight.add_(torch.randn_like(weight), alpha=0.3)  # biases that matter
    if isinstance(model, GPT2LMHeadModel):
        first, second = model.transformer.h
        first.attn.c_attn.weight[:, 36:40] = 0
        first.attn.c_proj.weight[12:] = 0
        for block, silent, unheard in ((first, 5, 20), (second, 2, 40)):
            block.mlp.c_fc.weight[:, :silent] = 0
            block.mlp.c_proj.weight[unheard:] = 0
    else:
        first, second = model.bert.encoder.layer
        first.attention.self.value.weight[4:8] = 0
        first.attention.output.dense.weight[:, 12:] = 0
        for layer, silent, unheard in ((first, 5, 20), (second, 2, 30)):
            layer.intermediate.dense.weight[:silent] = 0
            layer.output.dense.weight[:, unheard:] = 0
    return model


def logits(model, **inputs):
    with torch.no_grad():
        return model.eval()(**(inputs or INPUTS)).logits


def close(one, other):
    """Logits that are equal but for rounding, in units of the largest."""
    return (one - other).abs().max() <= 2e-6 * other.abs().max().clamp(min=1)


def load(folder, head, **fields):
    return make_model(PretrainedModel(**{"from": str(folder)}), head, None, fields, lambda _: None)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_its_dead_heads_and_neurons_says_the_same(kind, attention):
    model = prune(KINDS[kind][0]())
    model.set_attn_implementation(attention)
    before, weights = logits(model), sum(weight.numel() for weight in model.parameters())
    shrunk = shrink(model)
    second = Sizes(4, 38 if kind == "gpt2" else 28)
    assert list(shrunk.after) == sizes_of(model) == [Sizes(2, 15), second]
    assert shrunk.weights_before == weights
    assert shrunk.weights_after == sum(weight.numel() for weight in model.parameters()) < weights
    assert close(logits(model), before)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_dead_always_say_is_not_lost(kind):
    """A silent head still says its bias, a silent neuron what its activation makes of its own."""
    model = prune(KINDS[kind][0]())
    before = logits(model)
    shrink(model)
    body = model.transformer.h if kind == "gpt2" else model.bert.encoder.layer
    for changed in (
        body[0].attn.c_proj if kind == "gpt2" else body[0].attention.output.dense,
        body[0].mlp.c_proj if kind == "gpt2" else body[0].output.dense,
    ):
        untouched = prune(KINDS[kind][0]()).state_dict()
        name = next(name for name, module in model.named_modules() if module is changed)
        assert not torch.equal(changed.bias, untouched[f"{name}.bias"])
    assert close(logits(model), before)


def test_a_layer_that_is_dead_altogether_keeps_one_head_and_one_neuron():
    model = bert(1)
    with torch.no_grad():
        layer = model.bert.encoder.layer[0]
        layer.attention.self.value.weight.zero_()
        layer.intermediate.dense.weight.zero_()
    before = logits(model)
    shrink(model)
    assert sizes_of(model) == [Sizes(1, 1)]
    assert close(logits(model), before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_with_nothing_dead_stays_what_it_was(kind):
    model = KINDS[kind][0]()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    shrink(model)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_what_cannot_be_shrunk_is_refused():
    size = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    with pytest.raises(ValueError, match="those of these are: bert, "):
        shrink(T5ForConditionalGeneration(T5Config(vocab_size=20, **size)))
    from lmwb.core.methods import adapt

    model = bert()
    adapt(model, [Lora(targets=["query"])], lambda _: None)
    with pytest.raises(ValueError, match="masks or adapters"):
        shrink(model)


# -- on disk --------------------------------------------------------------------------------------


@pytest.fixture(params=KINDS)
def small(request, tmp_path):
    """Kind, head, the pruned model, and the folder of what is left of it."""
    make, head = KINDS[request.param]
    model = prune(make())
    model.save_pretrained(tmp_path / "pruned")
    tiny.tokenizer().save_pretrained(tmp_path / "pruned")
    write_shrunk(tmp_path / "pruned", tmp_path / "small", False, lambda _: None)
    return request.param, head, model, tmp_path / "small"


def test_what_is_left_is_loaded_wherever_lmwb_loads_models(small):
    kind, head, model, folder = small
    assert json.loads((folder / "pruned.json").read_text())["layers"][0] == {"heads": 2, "width": 15}
    assert (folder / "tokenizer.json").is_file()
    found = load(folder, head)
    assert close(logits(found), logits(model))
    drawn = outline(PretrainedModel(**{"from": str(folder)}), head, None, {})
    assert {name: each.shape for name, each in drawn.state_dict().items()} == {
        name: each.shape for name, each in found.state_dict().items()
    }
    if kind == "gpt2":
        words = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
        asked = {name: each[:1] for name, each in INPUTS.items()}
        assert torch.equal(found.generate(**asked, **words), model.generate(**asked, **words))


def test_transformers_alone_does_not_load_it_as_something_else(small):
    kind, _, _, folder = small
    auto = AutoModelForCausalLM if kind == "gpt2" else AutoModelForSequenceClassification
    with pytest.raises(RuntimeError, match=r"size mismatch|mismatched"):
        auto.from_pretrained(folder)


def test_it_can_be_trained_on_saved_and_taken_up_again(small, tmp_path):
    _, head, _, folder = small
    model = load(folder, head)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
    (tmp_path / "again").mkdir()
    save_model(model, None, tmp_path / "again")
    assert is_shrunk(tmp_path / "again")
    assert torch.equal(logits(load(tmp_path / "again", head)), logits(model))
    other = load(folder, head)
    load_weights(other, tmp_path / "again")
    assert torch.equal(logits(other), logits(model))


def test_an_adapter_on_it_finds_its_base(small, tmp_path):
    from lmwb.core.methods import adapt

    kind, head, _, folder = small
    model = load(folder, head)
    adapt(model, [Lora(targets=["c_attn" if kind == "gpt2" else "query"], rank=2)], lambda _: None)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1)
    (tmp_path / "adapted").mkdir()
    save_model(model, None, tmp_path / "adapted")
    assert not list((tmp_path / "adapted").glob("model*"))
    assert torch.allclose(logits(load(tmp_path / "adapted", head)), logits(model), atol=1e-5)  # merged on loading


@pytest.mark.parametrize("small", ["bert"], indirect=True)
def test_another_head_is_put_on_and_told(small):
    _, _, _, folder = small
    told = []
    model = make_model(PretrainedModel(**{"from": str(folder)}), "classification", None, {"num_labels": 5}, said(told))
    assert logits(model).shape == (2, 5)
    assert told == [f"model: '{folder}' has no weights for classifier.bias, classifier.weight; they are new"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_configuration_can_say_needs_nothing_of_ours(kind, tmp_path):
    model = prune(KINDS[kind][0]())
    model.save_pretrained(tmp_path / "pruned")
    shrunk = write_shrunk(tmp_path / "pruned", tmp_path / "small", True, lambda _: None)
    width = 38 if kind == "gpt2" else 28
    assert list(shrunk.after) == [Sizes(4, width)] * 2
    assert not is_shrunk(tmp_path / "small")
    found, report = type(model).from_pretrained(tmp_path / "small", output_loading_info=True)
    assert not any(report.values())
    assert close(logits(found), logits(model))


def test_a_compressed_file_holds_the_sizes_too(small, tmp_path):
    _, head, _, folder = small
    compress(folder, tmp_path / "file", "exact")
    decompress(tmp_path / "file", tmp_path / "back")
    assert torch.equal(logits(load(tmp_path / "back", head)), logits(load(folder, head)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "it is no list of layers"),
        ('{"layers": 3}', "it is no list of layers"),
        ('{"layers": [{"heads": 2, "width": 15}]}', "it speaks of 1 layers, the model has 2"),
        ('{"layers": [{"heads": 0, "width": 15}, {"heads": 4, "width": 28}]}', "it is no list of layers"),
        ('{"layers": [{"heads": 9, "width": 15}, {"heads": 4, "width": 28}]}', "9 heads and 15 neurons"),
        ('{"layers": [{"heads": 3, "width": 15}, {"heads": 4, "width": 28}]}', "no fitting weights for"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tmp_path, text, sentence):
    model = prune(bert())
    model.save_pretrained(tmp_path / "pruned")
    write_shrunk(tmp_path / "pruned", tmp_path / "small", False, lambda _: None)
    (tmp_path / "small" / "pruned.json").write_text(text)
    with pytest.raises(ValueInRecipeError, match=sentence):
        load(tmp_path / "small", "classification")


# -- the command ----------------------------------------------------------------------------------


def test_the_command_tells_what_is_left_of_each_layer(tmp_path, capsys):
    prune(bert()).save_pretrained(tmp_path / "pruned")
    words = ["shrink", str(tmp_path / "pruned"), str(tmp_path / "small"), "--home", "/nonexistent"]
    assert run(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["layer", "heads", "of", "neurons", "of"],
        ["0", "2", "4", "15", "32"],
        ["1", "4", "4", "28", "32"],
    ]
    assert lines[3].endswith(" weights")
    assert run(words) == 2
    assert "exists already" in capsys.readouterr().err
    words[2] = str(tmp_path / "uniform")
    assert run([*words, "--uniform", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][0]["after"] == {"heads": 4, "width": 28}


def test_a_model_without_a_head_that_is_known_is_refused(tmp_path):
    small_models.headless_bert(tmp_path / "bert")
    with pytest.raises(UsageError, match="has no head that lmwb knows"):
        write_shrunk(tmp_path / "bert", tmp_path / "small", False, lambda _: None)
    assert not (tmp_path / "small").exists()
