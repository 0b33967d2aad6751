"""Low-rank adaptation (Hu et al. 2021): W + (alpha / rank)·B·A, with W frozen.

An adapted layer stays the object it was, in its place and under its name; it gets a class whose `weight` is the sum,
while its own forward takes the cheap way through A and B. So whatever reads the weight instead of calling the layer,
such as torch's fused encoder or an attention's output projection, computes with the update too, in training and in
evaluation. The weights of the base keep their names.
"""

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers.pytorch_utils import Conv1D

DEFAULT = "default"
"""The name of an update that nobody named."""


class LowRank(nn.Module):
    """One update of one weight, (out, in, ...): `scale`·B·A with A (rank, in, ...) and B (out, rank)."""

    def __init__(self, like: Tensor, rank: int, scale: float, dropout: float):
        """A as `nn.Linear` draws its weights, B zero; `like` gives shape, number type and device."""
        super().__init__()
        kind: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
        self.A = nn.Parameter(torch.empty(rank, *like.shape[1:], **kind))
        self.B = nn.Parameter(torch.zeros(like.shape[0], rank, **kind))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.scale = scale
        self.dropout = dropout

    def dropped(self, x: Tensor) -> Tensor:
        """The input of A."""
        return F.dropout(x, self.dropout, self.training) if self.dropout else x

    def delta(self) -> Tensor:
        """The update itself, (out, in, ...)."""
        return (self.B @ self.A.flatten(1)).mul(self.scale).view(-1, *self.A.shape[1:])


class LoraLayer(nn.Module):
    """What all adapted layers have in common.

    Attributes:
        lora: the updates by name.
        lora_active: the names of those that count.
        lora_kept: the weight as it was, while updates are merged into it.
        lora_class: the class that the layer had.
    """

    lora: nn.ModuleDict
    lora_active: tuple[str, ...]
    lora_kept: Tensor | None
    lora_class: type[nn.Module]
    weight_name = "weight"
    transposed = False

    @property
    def base_weight(self) -> nn.Parameter:
        """The weight of the base."""
        return cast("nn.Parameter", self._parameters[self.weight_name])

    def updates(self) -> list[LowRank]:
        """The updates that must be added to the base."""
        return [] if self.lora_kept is not None else [cast("LowRank", self.lora[name]) for name in self.lora_active]

    def effective(self) -> Tensor:
        """The weight with all active updates, in the layer's own orientation."""
        weight: Tensor = self.base_weight
        for update in self.updates():
            weight = weight + (update.delta().T if self.transposed else update.delta())
        return weight


class LoraLinear(LoraLayer, nn.Linear):
    """`nn.Linear` with updates."""

    weight = property(LoraLayer.effective)  # type: ignore[assignment]

    def forward(self, input: Tensor) -> Tensor:
        """Base and updates, without making the sum of the weights."""
        output = F.linear(input, self.base_weight, self.bias)
        for update in self.updates():
            output = output + F.linear(F.linear(update.dropped(input), update.A) * update.scale, update.B)
        return output


class LoraConv1D(LoraLayer, Conv1D):
    """GPT-2's linear layer, whose weight is (in, out), with updates."""

    weight = property(LoraLayer.effective)  # type: ignore[assignment]
    transposed = True

    def forward(self, x: Tensor) -> Tensor:
        """Base and updates, without making the sum of the weights."""
        output = F.linear(x, self.base_weight.T, self.bias)
        for update in self.updates():
            output = output + F.linear(F.linear(update.dropped(x), update.A) * update.scale, update.B)
        return output


class LoraConv1d(LoraLayer, nn.Conv1d):
    """`nn.Conv1d` with updates."""

    weight = property(LoraLayer.effective)  # type: ignore[assignment]

    def forward(self, input: Tensor) -> Tensor:
        """Base and updates: a convolution to `rank` channels, then one of width 1."""
        output = self._conv_forward(input, self.base_weight, self.bias)
        for update in self.updates():
            low = self._conv_forward(update.dropped(input), update.A, None)
            output = output + F.conv1d(low * update.scale, update.B[:, :, None])
        return output


class LoraConv2d(LoraLayer, nn.Conv2d):
    """`nn.Conv2d` with updates."""

    weight = property(LoraLayer.effective)  # type: ignore[assignment]

    def forward(self, input: Tensor) -> Tensor:
        """Base and updates: a convolution to `rank` channels, then one of width 1."""
        output = self._conv_forward(input, self.base_weight, self.bias)
        for update in self.updates():
            low = self._conv_forward(update.dropped(input), update.A, None)
            output = output + F.conv2d(low * update.scale, update.B[:, :, None, None])
        return output


class LoraAttention(LoraLayer, nn.MultiheadAttention):
    """`nn.MultiheadAttention` with updates of its joint input projection, which it only ever reads as a weight."""

    in_proj_weight = property(LoraLayer.effective)  # type: ignore[assignment]
    weight_name = "in_proj_weight"


_CLASSES: dict[type[nn.Module], type[LoraLayer]] = {
    nn.Linear: LoraLinear,
    NonDynamicallyQuantizableLinear: LoraLinear,
    Conv1D: LoraConv1D,
    nn.Conv1d: LoraConv1d,
    nn.Conv2d: LoraConv2d,
    nn.MultiheadAttention: LoraAttention,
}
"""By the layer's very class: one derived from it may compute something else."""


def why_not(module: nn.Module) -> str | None:
    """Why a layer cannot be adapted; None if it can."""
    if not isinstance(module, LoraLayer) and type(module) not in _CLASSES:
        return f"is a {type(module).__name__}"
    if isinstance(module, nn.Conv1d | nn.Conv2d) and module.groups != 1:
        return "is a convolution in groups"
    if isinstance(module, nn.MultiheadAttention) and not module._qkv_same_embed_dim:
        return "is an attention whose keys or values have another width"
    return None


def add_update(module: nn.Module, rank: int, scale: float, dropout: float = 0.0, name: str = DEFAULT) -> None:
    """Give a layer a further update, which counts from now on; freezing the base is the caller's work.

    Raises:
        ValueError: the layer cannot be adapted, or has an update of that name.
    """
    reason = why_not(module)
    if reason or "." in name or (isinstance(module, LoraLayer) and name in module.lora):
        raise ValueError(f"no update '{name}': the layer {reason or 'has one by that name, or the name has a dot'}")
    if not isinstance(module, LoraLayer):
        before = type(module)
        module.__class__ = _CLASSES[before]
        layer = cast("LoraLayer", module)
        layer.lora, layer.lora_active, layer.lora_kept, layer.lora_class = nn.ModuleDict(), (), None, before
    layer = cast("LoraLayer", module)
    like = layer.base_weight.T if layer.transposed else layer.base_weight
    layer.lora[name] = LowRank(like, rank, scale, dropout)
    layer.lora.train(layer.training)
    layer.lora_active = (*layer.lora_active, name)


def layers(model: nn.Module) -> Iterator[tuple[str, LoraLayer]]:
    """The adapted layers and their names."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer))


def use(model: nn.Module, *names: str) -> None:
    """Let the updates of these names count and no others; none for the base alone.

    Raises:
        ValueError: no layer has an update of that name, or updates are merged.
    """
    adapted = [layer for _, layer in layers(model)]
    for name in names:
        if not any(name in layer.lora for layer in adapted):
            known = sorted({each for layer in adapted for each in layer.lora})
            raise ValueError(f"there is no update '{name}'; there are {', '.join(known) or 'none'}")
    if any(layer.lora_kept is not None for layer in adapted):
        raise ValueError("updates are merged into the weights; unmerge first")
    for layer in adapted:
        layer.lora_active = tuple(name for name in names if name in layer.lora)


@torch.no_grad()
def merge(model: nn.Module) -> None:
    """Add the active updates to the weights, which saves time in inference; a copy is kept for `unmerge`."""
    for _, layer in layers(model):
        if layer.lora_kept is None:
            summed, kept = layer.effective().clone(), layer.base_weight.clone()
            layer.base_weight.copy_(summed)
            layer.lora_kept = kept


@torch.no_grad()
def unmerge(model: nn.Module) -> None:
    """Give the base its weights back, bit by bit."""
    for _, layer in layers(model):
        if layer.lora_kept is not None:
            layer.base_weight.copy_(layer.lora_kept)
            layer.lora_kept = None


@torch.no_grad()
def fold(model: nn.Module) -> int:
    """Merge for good: the layers become what they were, with other weights; returns how many there were."""
    adapted = [layer for _, layer in layers(model)]
    for layer in adapted:
        layer.base_weight.copy_(layer.effective())
        before = layer.lora_class
        for name in ("lora", "lora_active", "lora_kept", "lora_class"):
            delattr(layer, name)
        layer.__class__ = before  # type: ignore[assignment]
    return len(adapted)


@torch.no_grad()
def update_spectrum(model: nn.Module, name: str = DEFAULT) -> dict[str, list[float]]:
    """By layer, the singular values of its update scale·B·A, largest first, at most `rank` of them.

    They are those of a rank × rank core: with B = Q R and Aᵀ = Q' R', those of R·R'ᵀ.
    """
    spectrum: dict[str, list[float]] = {}
    for layer_name, layer in layers(model):
        if name in layer.lora:
            update = cast("LowRank", layer.lora[name])
            core_b = torch.linalg.qr(update.B.double().cpu()).R
            core_a = torch.linalg.qr(update.A.flatten(1).double().cpu().T).R
            spectrum[layer_name] = (torch.linalg.svdvals(core_b @ core_a.T) * update.scale).tolist()
    return spectrum
