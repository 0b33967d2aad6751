"""Which layers of a model are looked at, and the hooks that see what passes through them.

A layer maps inputs a (rows, tokens, inputs) to outputs s = W a + b (rows, tokens, outputs); with g = ∂loss/∂s, a row's
gradient of the weight is Σ_t g_t a_tᵀ, and that of the offset Σ_t g_t. The hooks take a and g by reference: nothing is
copied, no gradient of a weight is computed, and each layer is done with as soon as the backward pass has left it.
"""

from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from ..errors import UsageError
from ..methods import lora
from ..methods.adapters import BottleneckLayer
from ..models.origin import origin_of
from ..text import printable

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Kind = Literal["linear", "convolution", "embedding", "lora-a", "lora-b"]
See = Callable[["Layer", Tensor, Tensor], None]
"""Hears of a layer's inputs (rows, tokens, inputs), or ids (rows, tokens) for an embedding, and of the gradients of its
outputs (rows, tokens, outputs)."""

_LINEAR = (nn.Linear, Conv1D)
_CONVOLUTION = (nn.Conv1d, nn.Conv2d)


@dataclass(frozen=True)
class Layer:
    """A weight whose influence is looked at.

    Attributes:
        name: of the module, with the part behind it for low-rank updates.
        module: whose inputs and outputs are seen.
        kind: what it computes.
        inputs: how many numbers each token brings, the one for the offset left out; for embeddings the vocabulary.
        outputs: how many it gives.
        bias: whether it has an offset.
        update: the low-rank update that the layer is a part of.
    """

    name: str
    module: nn.Module
    kind: Kind
    inputs: int
    outputs: int
    bias: bool = False
    update: lora.LowRank | None = None

    @property
    def width(self) -> int:
        """Inputs with the one for the offset."""
        return self.inputs + self.bias

    @property
    def size(self) -> int:
        """Numbers in its gradient."""
        return self.outputs * self.width

    def views(self, x: Tensor, gradient: Tensor, rows: int) -> tuple[Tensor, Tensor]:
        """a and g of the layer from its module's input and the gradient of its module's output, as `See` hears them.

        Raises:
            UsageError: rows of the batch cannot be told apart in them.
        """
        if self.kind == "embedding":
            return x.reshape(rows, -1), gradient.reshape(rows, -1, self.outputs)
        if isinstance(self.module, _CONVOLUTION):
            inputs = _patches(self.module, x)
            gradients = gradient.flatten(2).transpose(1, 2)
        else:
            if x.shape[0] % rows:
                raise UsageError(
                    f"layer '{printable(self.name)}' mixes the rows of a batch: {rows} rows come as {list(x.shape)}; "
                    "leave it out of `layers`"
                )
            inputs = x.reshape(rows, -1, x.shape[-1])
            gradients = gradient.reshape(rows, -1, gradient.shape[-1])
        if self.update is None:
            return inputs, gradients
        if self.kind == "lora-a":
            return inputs, (gradients.to(self.update.B.dtype) @ self.update.B) * self.update.scale
        return (inputs.to(self.update.A.dtype) @ self.update.A.flatten(1).T) * self.update.scale, gradients


@dataclass(frozen=True)
class Found:
    """The layers of a model that are looked at, and sentences about those that are not."""

    layers: tuple[Layer, ...]
    notes: tuple[str, ...]


def find_layers(
    model: nn.Module,
    embeddings: bool = False,
    head: bool = False,
    wanted: Callable[[str], bool] = lambda _: True,
) -> Found:
    """The layers that influence can be computed for.

    Linear layers, GPT-2's `Conv1D`, convolutions that are not in groups, and the parts of low-rank updates; of an
    adapted model what was trained, not its frozen base.

    Args:
        model: any model.
        embeddings: also the table of token embeddings.
        head: also the layer that gives a language model's logits.
        wanted: told a layer's name, says whether to take it.

    Raises:
        UsageError: there are none.
    """
    adapted = any(isinstance(module, lora.LoraLayer | BottleneckLayer) for module in model.modules())
    whole = _trained_whole(model, adapted)
    table, output = _ends(model)
    layers: list[Layer] = []
    notes: list[str] = []
    unsupported: Counter[str] = Counter()
    frozen = 0
    for name, module in model.named_modules():
        if not name and next(module.children(), None) is not None:
            continue
        if module is output and not head:
            tied = table is not None and getattr(table, "weight", None) is module._parameters.get("weight")
            notes.append(
                f"the head '{printable(name)}' is left out" + (", its weight being that of the embeddings" * tied)
            )
        elif module is table and not embeddings:
            notes.append(f"the embeddings '{printable(name)}' are left out")
        elif isinstance(module, lora.LoraLayer):
            layers += _updates(name, module)
        else:
            layer = _plain(name, module, module is table)
            if layer is None:
                if module._parameters and not list(module.children()) and not isinstance(module, lora.LowRank):
                    unsupported[type(module).__name__] += 1
            elif name in whole:
                layers.append(layer)
            else:
                frozen += 1
    if unsupported:
        listed = ", ".join(f"{count} {kind}" for kind, count in unsupported.most_common())
        notes.append(f"layers of kinds that influence is not computed for: {listed}")
    if frozen:
        notes.append(f"layers that were not trained and are left out: {frozen}")
    chosen = tuple(layer for layer in layers if wanted(layer.name))
    if not chosen:
        _complain(model, layers, frozen)
    if len(chosen) < len(layers):
        notes.append(f"layers left out by the choice of `layers`: {len(layers) - len(chosen)}")
    return Found(chosen, tuple(notes))


class Tracker:
    """Sees what passes through layers while it is open; weights get no gradients meanwhile."""

    def __init__(self, model: nn.Module, layers: Sequence[Layer], see: See):
        """`see` hears of each layer once per backward pass, in the order of the backward pass."""
        self._model = model
        self._see = see
        self._rows = 0
        self._parts: dict[nn.Module, list[Layer]] = {}
        for layer in layers:
            self._parts.setdefault(layer.module, []).append(layer)
        self._calls: dict[nn.Module, list[_Call]] = {}

    @contextmanager
    def open(self) -> Generator["Tracker"]:
        """Hooks are in place, and the model is in evaluation mode, until the end of the block."""
        training = self._model.training
        flags = [(weight, weight.requires_grad) for weight in self._model.parameters()]
        handles = [
            module.register_forward_hook(self._forward, with_kwargs=True, always_call=False) for module in self._parts
        ]
        self._model.eval()
        for weight, _ in flags:
            weight.requires_grad_(False)
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()
            for weight, flag in flags:
                weight.requires_grad_(flag)
            self._model.train(training)
            self._calls.clear()

    def begin(self, rows: int) -> None:
        """A batch of so many rows comes."""
        self._rows = rows
        self._calls.clear()

    def end(self) -> set[str]:
        """The backward pass is over; returns the names of layers that the batch did not reach."""
        for module, calls in self._calls.items():
            if len(calls) > 1:
                self._join(module, calls)
        unreached = {
            layer.name for module, parts in self._parts.items() for layer in parts if module not in self._calls
        }
        self._calls.clear()
        return unreached

    def _forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> Any:
        x = cast("Tensor", args[0] if args else next(iter(kwargs.values()))).detach()
        call = _Call(x, x._version)
        self._calls.setdefault(module, []).append(call)
        if output.requires_grad:
            output.register_hook(partial(self._backward, module, call))
            return None
        # nothing before this layer is looked at: here the backward pass ends. The copy may be changed in place
        passed = output.requires_grad_().clone()
        passed.register_hook(partial(self._backward, module, call))
        return passed

    @torch.no_grad()
    def _backward(self, module: nn.Module, call: "_Call", gradient: Tensor) -> None:
        if call.x._version != call.version:
            raise UsageError(
                f"layer '{printable(self._parts[module][0].name)}' has its input changed in place by the model; leave "
                "it out of `layers`"
            )
        if len(self._calls[module]) > 1:  # the rows' gradients are sums over all calls
            call.gradient = gradient
            return
        for layer in self._parts[module]:
            self._see(layer, *layer.views(call.x, gradient, self._rows))
        call.x = call.x.new_empty(0)

    @torch.no_grad()
    def _join(self, module: nn.Module, calls: "Sequence[_Call]") -> None:
        seen = [call for call in calls if call.gradient is not None]
        for layer in self._parts[module]:
            views = [layer.views(call.x, cast("Tensor", call.gradient), self._rows) for call in seen]
            if views:
                self._see(layer, torch.cat([a for a, _ in views], 1), torch.cat([g for _, g in views], 1))


@dataclass
class _Call:
    """One use of a module: its input, the input's version, and the gradient of the output once it is known."""

    x: Tensor
    version: int
    gradient: Tensor | None = None


def _plain(name: str, module: nn.Module, is_table: bool) -> Layer | None:
    """By the module's very class: one derived from it may compute something else."""
    has_bias = getattr(module, "bias", None) is not None
    if type(module) is nn.Linear:
        return Layer(name, module, "linear", module.in_features, module.out_features, has_bias)
    if type(module) is Conv1D:
        inputs, outputs = module.weight.shape
        return Layer(name, module, "linear", inputs, outputs, has_bias)
    if type(module) in _CONVOLUTION:
        convolution = cast("nn.Conv1d | nn.Conv2d", module)
        if convolution.groups == 1:
            inputs = convolution.weight[0].numel()
            return Layer(name, module, "convolution", inputs, convolution.out_channels, has_bias)
    if type(module) is nn.Embedding and is_table:
        return Layer(name, module, "embedding", module.num_embeddings, module.embedding_dim)
    return None


def _updates(name: str, module: lora.LoraLayer) -> list[Layer]:
    """The two halves of each active update; an attention reads its updates as weights and shows no inputs."""
    if isinstance(module, nn.MultiheadAttention):
        return []
    kind: tuple[Kind, Kind] = ("lora-a", "lora-b")
    layers: list[Layer] = []
    for update_name in module.lora_active:
        update = cast("lora.LowRank", module.lora[update_name])
        rank, inputs = update.A.flatten(1).shape
        prefix = f"{name}.lora.{update_name}"
        layers.append(Layer(f"{prefix}.A", module, kind[0], inputs, rank, update=update))
        layers.append(Layer(f"{prefix}.B", module, kind[1], rank, update.B.shape[0], update=update))
    return layers


def _trained_whole(model: nn.Module, adapted: bool) -> set[str]:
    """Names of modules all of whose weights were trained, as far as the model shows it."""
    weights = dict(model.named_parameters(remove_duplicate=False))
    all_alike = len({weight.requires_grad for weight in weights.values()}) < 2
    new = set(origin_of(model).new) if adapted and all_alike else set[str]()

    def trained(name: str, module: nn.Module) -> bool:
        own = [
            f"{name}.{part}" if name else part for part in module._parameters if f"{name}.{part}".strip(".") in weights
        ]
        if adapted and all_alike:  # a base loaded again does not show that it was frozen
            return ".bottleneck." in f".{name}." or any(each in new for each in own)
        return all_alike or any(weights[each].requires_grad for each in own)

    return {name for name, module in model.named_modules() if trained(name, module)}


def _ends(model: nn.Module) -> tuple[nn.Module | None, nn.Module | None]:
    """The table of token embeddings and the layer that gives a language model's logits, if the model names them."""
    table = output = None
    try:
        table = cast("PreTrainedModel", model).get_input_embeddings()
        output = cast("PreTrainedModel", model).get_output_embeddings()
    except (AttributeError, NotImplementedError):
        pass
    return table, output


def _complain(model: nn.Module, layers: Sequence[Layer], frozen: int) -> None:
    name = type(model).__name__
    if layers:
        some = ", ".join(printable(layer.name) for layer in layers[:3])
        raise UsageError(f"the choice of `layers` leaves none of the model's {len(layers)}; there are {some}, …")
    if frozen:
        raise UsageError(f"all {frozen} layers of this {name} are frozen; influence needs weights that were trained")
    raise UsageError(
        f"this {name} has no layers that influence can be computed for: it needs linear layers, convolutions or "
        "low-rank updates"
    )


def _patches(module: "nn.Conv1d | nn.Conv2d", x: Tensor) -> Tensor:
    """What each place of a convolution looks at, (rows, places, inputs)."""
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = F.pad(x, module._reversed_padding_repeated_twice, mode)
    if isinstance(module, nn.Conv1d):
        x = x.unsqueeze(2)
        sizes = [(1, module.kernel_size[0]), (1, module.dilation[0]), 0, (1, module.stride[0])]
    else:
        sizes = [module.kernel_size, module.dilation, 0, module.stride]
    return F.unfold(x, *cast("list[Any]", sizes)).transpose(1, 2)
