"""Bottleneck adapters (Houlsby et al. 2019): y + up(relu(down(y))) behind a linear layer, whose weight is frozen.

The layer stays the object it was and gets a class that adds the bottleneck. What reads the layer's weight instead of
calling it would leave the bottleneck out without a word; so the weight that such a layer shows knows of it: used in
torch's linear and attention functions it adds the bottleneck, it keeps torch's fused encoder from being taken, and
any other use of it is an error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from transformers.pytorch_utils import Conv1D


class Bottleneck(nn.Module):
    """y + up(relu(down(y))) over the last dimension; `up` begins with zeros, so that nothing changes at first."""

    def __init__(self, width: int, size: int, like: Tensor):
        """From `width` numbers to `size` and back; `like` gives number type and device."""
        super().__init__()
        self.down = nn.Linear(width, size, dtype=like.dtype, device=like.device)
        self.up = nn.Linear(size, width, dtype=like.dtype, device=like.device)
        nn.init.zeros_(self.down.bias)  # so that small activations, too, reach both sides of the ReLU
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    @property
    def size(self) -> int:
        """Width of the bottleneck."""
        return self.down.out_features

    def forward(self, y: Tensor) -> Tensor:
        """(..., width) → (..., width)."""
        return y + self.up(F.relu(self.down(y)))


class BottleneckLayer(nn.Module):
    """What linear layers with a bottleneck behind them have in common."""

    bottleneck: Bottleneck

    @property
    def base_weight(self) -> nn.Parameter:
        """The layer's own weight."""
        return cast("nn.Parameter", self._parameters["weight"])

    def shown_weight(self) -> Tensor:
        """The weight, for whoever reads it."""
        shown = self.base_weight.as_subclass(GuardedWeight)
        shown.layer = self
        return shown


class BottleneckLinear(BottleneckLayer, nn.Linear):
    """`nn.Linear` with a bottleneck behind it."""

    weight = property(BottleneckLayer.shown_weight)  # type: ignore[assignment]

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) → (..., out)."""
        return self.bottleneck(F.linear(input, self.base_weight, self.bias))


class BottleneckConv1D(BottleneckLayer, Conv1D):
    """GPT-2's linear layer, whose weight is (in, out), with a bottleneck behind it."""

    weight = property(BottleneckLayer.shown_weight)  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) → (..., out)."""
        return self.bottleneck(F.linear(x, self.base_weight.T, self.bias))


_HARMLESS: set[Callable[..., Any]] = {
    *(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "device", "ndim", "requires_grad", "is_nested")),
    *(getattr(Tensor, name) for name in ("size", "dim", "numel", "is_floating_point", "__repr__")),
}
"""What may be asked of a weight without computing with it."""


class GuardedWeight(Tensor):
    """The weight of a layer that does more than multiply by it.

    torch takes no fused path for a tensor with a `__torch_function__` of its own, and asks that function instead.
    """

    layer: BottleneckLayer

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Compute with the bottleneck, or refuse.

        Raises:
            RuntimeError: the weight was used in a way that would leave the bottleneck out.
        """
        named = kwargs or {}
        layer = next(value for value in (*args, *named.values()) if isinstance(value, cls)).layer
        with torch._C.DisableTorchFunctionSubclass():
            if func in _HARMLESS:
                return func(*args, **named)
            if func is F.linear and isinstance(layer, nn.Linear):
                return layer.bottleneck(func(*args, **named))
            if func is F.multi_head_attention_forward:  # the weight of its output projection
                output, weights = func(*args, **named)
                return layer.bottleneck(output), weights
        raise RuntimeError(  # a TypeError would be taken for an operator that is not there
            f"{getattr(func, '__name__', func)} reads the weight of a layer that has an adapter behind it and would "
            "leave the adapter out; call the layer"
        )


_CLASSES: dict[type[nn.Module], type[BottleneckLayer]] = {
    nn.Linear: BottleneckLinear,
    NonDynamicallyQuantizableLinear: BottleneckLinear,
    Conv1D: BottleneckConv1D,
}


def why_not(module: nn.Module) -> str | None:
    """Why a layer cannot have a bottleneck behind it; None if it can."""
    return None if type(module) in _CLASSES else f"is a {type(module).__name__}"


def add_bottleneck(module: nn.Module, size: int) -> None:
    """Put a bottleneck behind a linear layer; freezing the layer is the caller's work.

    Raises:
        ValueError: it is no linear layer, or is adapted already.
    """
    if reason := why_not(module):
        raise ValueError(f"no adapter: the layer {reason}")
    width = module.nf if isinstance(module, Conv1D) else cast("nn.Linear", module).out_features
    module.__class__ = _CLASSES[type(module)]  # type: ignore[assignment]
    layer = cast("BottleneckLayer", module)
    layer.bottleneck = Bottleneck(int(width), size, layer.base_weight)
    layer.bottleneck.train(layer.training)


def spare_nested_tensors(model: nn.Module) -> None:
    """Keep torch's encoders from packing rows for their fused path, which only the first layer is asked about."""
    for module in model.modules():
        if isinstance(module, nn.TransformerEncoder) and any(layers(module)):
            module.use_nested_tensor = False


def layers(model: nn.Module) -> Iterator[tuple[str, BottleneckLayer]]:
    """The layers with a bottleneck behind them, and their names."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, BottleneckLayer))
