"""Where the heads and the feed-forward neurons are in models of BERT's and GPT-2's kin, and how to change their number.

Their attention works with any number of heads, each layer with its own, as long as the size of a head stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

_BERT_LIKE = ("bert", "camembert", "electra", "roberta", "xlm-roberta")
KNOWN = (*_BERT_LIKE, "gpt2")
"""Model types whose layers are known here."""


@dataclass(frozen=True)
class Sizes:
    """Of one layer: attention heads, and feed-forward neurons."""

    heads: int
    width: int


@dataclass(frozen=True)
class Layer:
    """The parts of a layer that heads and neurons stand in.

    Attributes:
        name: of the layer in its model.
        attention: the module that counts its heads.
        projections: to queries, keys and values: three layers, or one with all.
        output: from the heads back to the hidden state.
        head_size: numbers that a head gives for each token.
        inner: the first layer of the feed-forward pair.
        activation: between the two.
        outer: the second.
    """

    name: str
    attention: nn.Module
    projections: Sequence[nn.Module]
    output: nn.Module
    head_size: int
    inner: nn.Module
    activation: nn.Module
    outer: nn.Module

    @property
    def sizes(self) -> Sizes:
        """How many heads and neurons there are."""
        return Sizes(_inputs_of(self.output) // self.head_size, _inputs_of(self.outer))

    def value_rows(self) -> tuple[Tensor, Tensor]:
        """Weights (out, in) and bias (out) of the projection to values."""
        last = self.projections[-1]
        size = self.sizes.heads * self.head_size
        return matrix_of(last)[-size:], bias_of(last)[-size:]

    def keep_heads(self, heads: Tensor) -> None:
        """Leave only these heads, by ascending number."""
        size, count = self.head_size, self.sizes.heads
        channels = (heads[:, None] * size + torch.arange(size)).flatten()
        per_layer = 3 // len(self.projections)
        several = torch.cat([channels + part * count * size for part in range(per_layer)])
        for projection in self.projections:
            keep_outputs(projection, several)
        keep_inputs(self.output, channels)
        for name, value in _counters(self.attention, len(heads), len(channels)).items():
            setattr(self.attention, name, value)

    def keep_neurons(self, neurons: Tensor) -> None:
        """Leave only these neurons, by ascending number."""
        keep_outputs(self.inner, neurons)
        keep_inputs(self.outer, neurons)


def layers_of(model: nn.Module) -> list[Layer]:
    """The layers of a model, first to last; none if it is of another kind."""
    config: Any = model.config
    if config.model_type in _BERT_LIKE and not getattr(config, "add_cross_attention", False):
        return [_bert_layer(name, module) for name, module in _holders(model, "attention", "intermediate")]
    if config.model_type == "gpt2" and not config.add_cross_attention:
        return [_gpt2_layer(name, module) for name, module in _holders(model, "attn", "mlp")]
    return []


def sizes_of(model: nn.Module) -> list[Sizes]:
    """Heads and neurons of each layer, first to last."""
    return [layer.sizes for layer in layers_of(model)]


def configured(config: Any) -> Sizes:
    """Heads and neurons of each layer as a configuration says."""
    if config.model_type == "gpt2":
        return Sizes(config.n_head, config.n_inner if config.n_inner is not None else 4 * config.n_embd)
    return Sizes(config.num_attention_heads, config.intermediate_size)


def configure(config: Any, width: int) -> None:
    """Let a configuration say that each layer has so many neurons."""
    setattr(config, "n_inner" if config.model_type == "gpt2" else "intermediate_size", width)


def resize(model: nn.Module, sizes: Sequence[Sizes]) -> None:
    """Give the layers of a model fewer heads and neurons, whichever; for weights that are filled in afterwards.

    Raises:
        ValueError: the sizes are not of this model.
    """
    layers = layers_of(model)
    if len(layers) != len(sizes):
        raise ValueError(f"it speaks of {len(sizes)} layers, the model has {len(layers)}")
    for layer, wanted in zip(layers, sizes, strict=True):
        have = layer.sizes
        if not (1 <= wanted.heads <= have.heads and 1 <= wanted.width <= have.width):
            raise ValueError(f"it gives '{layer.name}' {wanted.heads} heads and {wanted.width} neurons")
        if wanted.heads != have.heads:
            layer.keep_heads(torch.arange(wanted.heads))
        if wanted.width != have.width:
            layer.keep_neurons(torch.arange(wanted.width))


def matrix_of(module: nn.Module) -> Tensor:
    """A linear layer's weights as (out, in), however they are stored."""
    weight = cast("Tensor", module.weight).detach()
    return weight.T if isinstance(module, Conv1D) else weight


def bias_of(module: nn.Module) -> Tensor:
    """A linear layer's bias, (out)."""
    return cast("Tensor", module.bias).detach()


def keep_outputs(module: nn.Module, chosen: Tensor) -> None:
    """Leave only these outputs of a linear layer."""
    _set(module, "weight", _chosen(module.weight, 1 if isinstance(module, Conv1D) else 0, chosen))
    _set(module, "bias", _chosen(module.bias, 0, chosen))
    setattr(module, "nf" if isinstance(module, Conv1D) else "out_features", len(chosen))


def keep_inputs(module: nn.Module, chosen: Tensor) -> None:
    """Leave only these inputs of a linear layer."""
    _set(module, "weight", _chosen(module.weight, 0 if isinstance(module, Conv1D) else 1, chosen))
    setattr(module, "nx" if isinstance(module, Conv1D) else "in_features", len(chosen))


def _inputs_of(module: Any) -> int:
    return module.nx if isinstance(module, Conv1D) else module.in_features


def _chosen(weight: Any, axis: int, chosen: Tensor) -> Tensor:
    return weight.detach().index_select(axis, chosen.to(weight.device)).contiguous()


def _set(module: nn.Module, name: str, value: Tensor) -> None:
    before = getattr(module, name)
    setattr(module, name, nn.Parameter(value, requires_grad=before.requires_grad))


def _holders(model: nn.Module, *parts: str) -> list[tuple[str, Any]]:
    return [(name, module) for name, module in model.named_modules() if all(hasattr(module, part) for part in parts)]


def _bert_layer(name: str, layer: Any) -> Layer:
    own = layer.attention.self
    return Layer(
        name,
        own,
        (own.query, own.key, own.value),
        layer.attention.output.dense,
        own.attention_head_size,
        layer.intermediate.dense,
        layer.intermediate.intermediate_act_fn,
        layer.output.dense,
    )


def _gpt2_layer(name: str, block: Any) -> Layer:
    own, mlp = block.attn, block.mlp
    return Layer(name, own, (own.c_attn,), own.c_proj, own.head_dim, mlp.c_fc, mlp.act, mlp.c_proj)


def _counters(attention: nn.Module, heads: int, channels: int) -> dict[str, int]:
    """The attributes in which an attention module counts its heads."""
    if hasattr(attention, "split_size"):
        return {"num_heads": heads, "split_size": channels}
    return {"num_attention_heads": heads, "all_head_size": channels}
