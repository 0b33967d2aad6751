"""Low-rank updates: what they compute, in every kind of layer and on every path; merging; several on one base."""

import copy

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.core.methods import lora
from torch import nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D
from traps import Fused


def stir(*modules):
    """Give all updates values of some size; B is zero at first."""
    for module in modules:
        for name, weight in module.named_parameters():
            if ".lora." in f".{name}":
                nn.init.normal_(weight, std=0.3)


def layers_and_inputs():
    yield nn.Linear(6, 5), torch.randn(3, 4, 6)
    yield nn.Linear(6, 5, bias=False), torch.randn(3, 6)
    yield Conv1D(5, 6), torch.randn(3, 4, 6)
    yield nn.Conv1d(4, 6, 3, padding=1), torch.randn(2, 4, 9)
    yield nn.Conv2d(3, 8, 5, stride=2, padding=2, padding_mode="circular"), torch.randn(2, 3, 9, 9)
    yield nn.Conv2d(3, 8, 3, dilation=2), torch.randn(2, 3, 9, 9)


def plain(layer, weight):
    """A layer as it was before, with another weight."""
    twin = copy.deepcopy(layer)
    lora.fold(twin)
    twin.weight.data.copy_(weight)
    return twin


@pytest.mark.parametrize(("layer", "x"), layers_and_inputs(), ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("training", [True, False])
def test_an_update_is_what_the_sum_of_the_weights_would_compute(layer, x, training):
    before, layer = layer, copy.deepcopy(layer)
    lora.add_update(layer, rank=2, scale=1.5)
    assert torch.equal(layer(x), before(x))
    stir(layer)
    layer.train(training)
    low = layer.lora["default"]
    product = 1.5 * torch.einsum("or,r...->o...", low.B, low.A)
    expected = before.weight + (product.T if isinstance(layer, Conv1D) else product)
    assert torch.allclose(layer.weight, expected, atol=1e-6)
    assert torch.allclose(layer(x), plain(layer, expected)(x), atol=1e-5)
    assert (layer(x) - before(x)).abs().max() > 0.01


@pytest.mark.parametrize("target", ["self_attn", "self_attn.out_proj", "linear1", "linear2"])
def test_torchs_fused_encoder_computes_with_the_update(target):
    """The truth is the same encoder with the sum as its weights, and the fast path off."""
    model = Fused(dropout=0.0)
    ids = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 0, 0, 0]])
    without = model.eval()(ids)
    for layer in model.encoder.layers:
        lora.add_update(layer.get_submodule(target), rank=3, scale=1.0)
    stir(model)
    model.requires_grad_(False)
    for name, weight in model.named_parameters():
        weight.requires_grad_(".lora." in name)
    training = model.train()(ids)
    model.eval()
    with torch.no_grad():
        fast = model(ids)
        truth = copy.deepcopy(model)
        lora.fold(truth)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            slow = truth(ids)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
    assert torch.allclose(fast, slow, atol=1e-5)
    assert torch.allclose(training, slow, atol=1e-5)
    assert torch.allclose(model(ids), slow, atol=1e-5)
    assert (slow - without).abs().max() > 0.01
    training.sum().backward()
    assert all(weight.grad.count_nonzero() for name, weight in model.named_parameters() if ".lora." in name)


def test_only_inputs_of_the_update_are_dropped_and_only_in_training():
    layer = nn.Linear(50, 4)
    lora.add_update(layer, rank=2, scale=1.0, dropout=0.5)
    x = torch.randn(8, 50)
    assert torch.equal(layer(x), F.linear(x, layer.base_weight, layer.bias))  # B is zero
    stir(layer)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.allclose(layer(x), F.linear(x, layer.weight, layer.bias), atol=1e-5)


def test_unmerging_gives_every_bit_back():
    model = tiny.model(tiny.tokenizer())
    ids = torch.arange(20).view(2, 10)
    names = [name for name, module in model.named_modules() if isinstance(module, Conv1D)]
    for name in names:
        lora.add_update(model.get_submodule(name), rank=2, scale=0.7)
    stir(model)
    bits, said = copy.deepcopy(model.state_dict()), model(ids).logits
    lora.merge(model)
    assert torch.allclose(model(ids).logits, said, atol=1e-5)
    lora.merge(model)  # a second time adds nothing
    assert torch.allclose(model(ids).logits, said, atol=1e-5)
    with pytest.raises(ValueError, match="merged into the weights; unmerge first"):
        lora.use(model)
    lora.unmerge(model)
    assert all(torch.equal(value, bits[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(ids).logits, said)


def test_folding_leaves_the_layers_as_they_were_but_for_their_weights():
    model = tiny.model(tiny.tokenizer())
    ids = torch.arange(20).view(2, 10)
    names, kinds = set(model.state_dict()), [type(module) for module in model.modules()]
    for layer in (model.transformer.h[0].attn.c_attn, model.transformer.h[1].mlp.c_fc):
        lora.add_update(layer, rank=2, scale=0.7)
    stir(model)
    said = model(ids).logits
    assert lora.fold(model) == 2
    assert torch.allclose(model(ids).logits, said, atol=1e-5)
    assert set(model.state_dict()) == names
    assert [type(module) for module in model.modules()] == kinds


def test_the_number_type_is_kept():
    layer = nn.Linear(4, 4, dtype=torch.bfloat16)
    lora.add_update(layer, rank=2, scale=1.0)
    assert {weight.dtype for weight in layer.parameters()} == {torch.bfloat16}
    assert layer(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_updates_by_name():
    layer = nn.Linear(4, 4)
    base = layer.weight.detach().clone()
    for name in ("a", "b"):
        lora.add_update(layer, rank=2, scale=1.0, name=name)
    stir(layer)
    deltas = {name: layer.lora[name].delta() for name in ("a", "b")}
    for names in ((), ("a",), ("b",), ("a", "b")):
        lora.use(layer, *names)
        assert torch.allclose(layer.weight, base + sum(deltas[name] for name in names), atol=1e-6)
    with pytest.raises(ValueError, match="there is no update 'c'; there are a, b"):
        lora.use(layer, "c")
    with pytest.raises(ValueError, match="no update 'a'"):
        lora.add_update(layer, rank=2, scale=1.0, name="a")
    with pytest.raises(ValueError, match=r"no update 'a\.b'"):
        lora.add_update(nn.Linear(2, 2), rank=2, scale=1.0, name="a.b")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Embedding(3, 4), "is a Embedding"),
        (nn.Conv2d(4, 4, 3, groups=2), "a convolution in groups"),
        (nn.MultiheadAttention(4, 2, kdim=6, vdim=6), "keys or values have another width"),
        (type("Other", (nn.Linear,), {})(2, 2), "is a Other"),
    ],
)
def test_what_cannot_be_adapted_says_why(module, words):
    with pytest.raises(ValueError, match=words):
        lora.add_update(module, rank=2, scale=1.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 12), st.floats(0.01, 10))
def test_the_spectrum_is_that_of_the_whole_update(out, width, rank, scale):
    layer = nn.Linear(width, out)
    lora.add_update(layer, rank, scale)
    stir(layer)
    model = nn.Sequential(layer, nn.ReLU())
    (found,) = lora.update_spectrum(model).values()
    expected = torch.linalg.svdvals(layer.lora["default"].delta().double())
    assert len(found) == min(rank, out, width)
    assert torch.allclose(torch.tensor(found, dtype=torch.double), expected[: len(found)], rtol=1e-4, atol=1e-5 * scale)
