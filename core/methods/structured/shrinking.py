"""Take the heads and neurons out of a model that pruning has left without effect: smaller matrices, same answers.

A neuron has no effect of its own if nothing comes in (its row of the first feed-forward matrix is zero) or nothing
goes out (its column of the second is zero); a head likewise, by its values and by its columns of the output. Without
input a neuron says act(b) to everything, and a head its values' bias, since attention adds up to one: a constant,
which goes into the next bias. What pruning has left is thus kept exactly, up to rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .. import adapters, lora
from .anatomy import KNOWN, Layer, Sizes, bias_of, configure, configured, layers_of, matrix_of, sizes_of

_ADDED = (adapters.BottleneckLayer, lora.LoraLayer)


@dataclass(frozen=True)
class Shrunk:
    """What was taken out: sizes of each layer, and weights of the whole model, before and after."""

    before: Sequence[Sizes]
    after: Sequence[Sizes]
    weights_before: int
    weights_after: int


@torch.no_grad()
def shrink(model: nn.Module, uniform: bool = False) -> Shrunk:
    """Take out of a model, in place, what has no effect; each layer keeps at least one head and one neuron.

    Args:
        model: of BERT's or GPT-2's kin.
        uniform: only as far as its configuration can say: all heads, and in every layer as many neurons as in that
            which needs most.

    Raises:
        ValueError: the model is of another kind, or has masks or adapters.
    """
    layers = layers_of(model)
    if any(parametrize.is_parametrized(module) or isinstance(module, _ADDED) for module in model.modules()):
        raise ValueError("its layers have masks or adapters, which would not become smaller with them")
    if not layers:
        raise ValueError(f"its heads and neurons are not known; those of these are: {', '.join(KNOWN)}")
    before, weights = sizes_of(model), _count(model)
    heads = [torch.ones(layer.sizes.heads, dtype=torch.bool) if uniform else _living_heads(layer) for layer in layers]
    neurons = [_living_neurons(layer) for layer in layers]
    least = max(int(alive.sum()) for alive in neurons) if uniform else 1
    for layer, living_heads, living in zip(layers, heads, neurons, strict=True):
        _remove_heads(layer, _at_least(living_heads, 1))
        _remove_neurons(layer, _at_least(living, least))
    after = sizes_of(model)
    if len(set(after)) == 1 and after[0].heads == configured(model.config).heads:
        configure(model.config, after[0].width)
    return Shrunk(before, after, weights, _count(model))


def _living_heads(layer: Layer) -> Tensor:
    values, _ = layer.value_rows()
    count, size = layer.sizes.heads, layer.head_size
    said = values.reshape(count, -1).ne(0).any(1)
    heard = matrix_of(layer.output).reshape(-1, count, size).ne(0).any(2).any(0)
    return (said & heard).cpu()


def _living_neurons(layer: Layer) -> Tensor:
    return (matrix_of(layer.inner).ne(0).any(1) & matrix_of(layer.outer).ne(0).any(0)).cpu()


def _at_least(living: Tensor, count: int) -> Tensor:
    """The same, with the first of the dead among the living if these are too few."""
    missing = count - int(living.sum())
    living = living.clone()
    if missing > 0:
        living[(~living).nonzero().squeeze(1)[:missing]] = True
    return living


def _remove_heads(layer: Layer, living: Tensor) -> None:
    _, bias = layer.value_rows()
    _add_constant(layer.output, ~living.repeat_interleave(layer.head_size), bias)
    layer.keep_heads(living.nonzero().squeeze(1))


def _remove_neurons(layer: Layer, living: Tensor) -> None:
    activation = cast("Callable[[Tensor], Tensor]", layer.activation)
    _add_constant(layer.outer, ~living, activation(bias_of(layer.inner).double()))
    layer.keep_neurons(living.nonzero().squeeze(1))


def _add_constant(module: nn.Module, gone: Tensor, constants: Tensor) -> None:
    """Add to the bias of a linear layer what its inputs that go would always have said."""
    gone = gone.to(constants.device)
    added = matrix_of(module)[:, gone].double() @ constants[gone].double()
    bias = cast("Tensor", module.bias)
    bias.copy_(bias.double() + added)


def _count(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())
