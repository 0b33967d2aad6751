"""Bottleneck adapters: what they compute, and that nothing gets past them."""

import pytest
import torch
from lmwb.core.methods import adapters
from torch import nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D
from traps import Fused


def stir(module):
    for name, weight in module.named_parameters():
        if "bottleneck." in name:
            nn.init.normal_(weight, std=0.5)


@pytest.mark.parametrize("layer", [nn.Linear(6, 5), nn.Linear(6, 5, bias=False), Conv1D(5, 6)], ids=str)
def test_the_formula(layer):
    x = torch.randn(3, 4, 6)
    y = layer(x)
    adapters.add_bottleneck(layer, 2)
    assert torch.equal(layer(x), y) or torch.allclose(layer(x), y, atol=1e-6)  # nothing changes at first
    stir(layer)
    down, up = layer.bottleneck.down, layer.bottleneck.up
    expected = y + (y @ down.weight.T + down.bias).clamp(min=0) @ up.weight.T + up.bias
    assert torch.allclose(layer(x), expected, atol=1e-5)
    assert (expected - y).abs().max() > 0.01


@pytest.mark.parametrize("target", ["linear1", "linear2", "self_attn.out_proj"])
@pytest.mark.parametrize("which", [[0], [1], [0, 1]])
def test_torchs_fused_encoder_does_not_leave_the_adapter_out(target, which):
    """The truth is worked out without torch's encoder layer: each part by hand."""
    model = Fused(dropout=0.0).eval().requires_grad_(False)
    ids = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 0, 0, 0]])
    without = model(ids)
    for number in which:
        adapters.add_bottleneck(model.encoder.layers[number].get_submodule(target), 3)
    adapters.spare_nested_tensors(model)
    stir(model)
    said = model(ids)
    assert torch.allclose(said, by_hand(model, ids), atol=1e-5)
    assert (said - without).abs().max() > 0.01


def by_hand(model, ids):
    padding = ids == 0
    x = model.embeddings(ids)
    for layer in model.encoder.layers:
        attention = layer.self_attn
        query, key, value = (
            part.unflatten(-1, (2, -1)).transpose(1, 2)
            for part in F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1)
        )
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        mixed = scores.masked_fill(padding[:, None, None], -torch.inf).softmax(-1) @ value
        x = layer.norm1(x + attention.out_proj(mixed.transpose(1, 2).flatten(2)))
        x = layer.norm2(x + layer.linear2(layer.linear1(x).relu()))
    x = x.masked_fill(padding[:, :, None], 0.0)
    return model.classifier(x.sum(1) / (~padding).sum(1, keepdim=True))


def test_the_weight_cannot_be_used_without_the_adapter():
    layer = nn.Linear(4, 4)
    adapters.add_bottleneck(layer, 2)
    stir(layer)
    x = torch.randn(3, 4)
    assert torch.equal(F.linear(x, layer.weight, layer.bias), layer(x))
    for use in (lambda: x @ layer.weight.T, lambda: layer.weight * 2, lambda: torch.addmm(layer.bias, x, layer.weight)):
        with pytest.raises(RuntimeError, match="would leave the adapter out; call the layer"):
            use()
    assert layer.weight.shape == (4, 4)
    assert layer.weight.dtype == torch.float32
    assert layer.weight.device.type == "cpu"


def test_stored_names_and_the_layers_own_weight_stay():
    layer = nn.Linear(4, 4)
    weight = layer.weight
    adapters.add_bottleneck(layer, 2)
    assert layer.base_weight is weight
    assert {"weight", "bias"} < set(layer.state_dict())
    with pytest.raises(ValueError, match="is a BottleneckLinear"):
        adapters.add_bottleneck(layer, 2)
    with pytest.raises(ValueError, match="is a Conv2d"):
        adapters.add_bottleneck(nn.Conv2d(1, 1, 1), 2)
