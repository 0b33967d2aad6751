"""Where masks go: which layers of a model are pruned, which of its weights are frozen besides."""

import re
from collections.abc import Callable, Sequence
from typing import cast

from torch import nn
from transformers.pytorch_utils import Conv1D

from ...errors import ValueInRecipeError
from .. import adapters, lora
from ..names import find_layers
from ..parts import head_modules

_IN_LAYERS = re.compile(r"(?:^|\.)\d+\.")
"""In the name of a module inside one of a model's repeated layers."""


def find_matrices(model: nn.Module, number: int, targets: Sequence[str] | None) -> dict[str, nn.Module]:
    """The layers to prune, by name; without targets, every linear layer within the repeated layers of the base.

    Raises:
        ValueInRecipeError: there are none, or one is adapted or shares its weight.
    """
    key = f"method.{number}.targets"
    modules = dict(model.named_modules())
    if targets is None:
        names = [name for name, module in modules.items() if why_not(module) is None and _in_layers(model, name)]
        if not names:
            raise ValueInRecipeError(key, "the model has no repeated layers with linear parts; name those to prune")
    else:
        meant = {each for t in targets for each in find_layers(key, t, modules, why_not, "linear layer")}
        names = [name for name in modules if name in meant]
    for name, module in modules.items():
        if isinstance(module, lora.LoraLayer | adapters.BottleneckLayer):
            raise ValueInRecipeError(
                f"method.{number}.kind",
                f"'{name}' has an adapter from an earlier stage, which pruning does not see; prune before adapting",
            )
    owners: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(weight), []).append(name.rpartition(".")[0])
    for name in names:
        shared = [other for other in owners[id(modules[name].weight)] if modules[other] is not modules[name]]
        if shared:
            raise ValueInRecipeError(key, f"'{name}' shares its weight with '{shared[0]}', which would be pruned too")
    return {name: modules[name] for name in names}


def why_not(module: nn.Module) -> str | None:
    """Why a layer cannot be pruned; None if it can."""
    if isinstance(module, lora.LoraLayer | adapters.BottleneckLayer):
        return "has an adapter"
    return None if isinstance(module, nn.Linear | Conv1D) else f"is a {type(module).__name__}"


def is_transposed(module: nn.Module) -> bool:
    """Whether a layer stores its weight as (in, out)."""
    return isinstance(module, Conv1D)


def freeze_embeddings(model: nn.Module, tell: Callable[[str], None]) -> None:
    """Freeze the embeddings before the layers, with the norms that belong to them; say what is frozen with them."""
    tables = {
        name: module
        for name, module in model.named_modules()
        if not _IN_LAYERS.search(name) and (isinstance(module, nn.Embedding) or name.endswith("embeddings"))
    }
    frozen = {id(weight): weight for module in tables.values() for weight in module.parameters()}
    for weight in frozen.values():
        weight.requires_grad_(False)
    others = {
        name
        for name, weight in model.named_parameters(remove_duplicate=False)
        if id(weight) in frozen and not any(name.startswith(f"{table}.") for table in tables)
    }
    count = sum(weight.numel() for weight in frozen.values())
    also = f", and with them {', '.join(sorted(others))}, which shares their weights" if others else ""
    if count:
        tell(f"pruning: {count:,} weights of the embeddings are frozen{also}")


def layer_of(name: str) -> str:
    """The repeated layer that a module is in, such as `bert.encoder.layer.0`; else its own name."""
    found = re.match(r"(.*?(?:^|\.)\d+)(?:\.|$)", name)
    return found[1] if found else name


def short_names(layers: Sequence[str]) -> dict[str, str]:
    """For each layer a name short enough for a chart, `layer.0`; whole ones where that would name two."""
    short = {layer: ".".join(layer.split(".")[-2:]) for layer in layers}
    return short if len(set(short.values())) == len(short) else {layer: layer for layer in layers}


def _in_layers(model: nn.Module, name: str) -> bool:
    base = cast("nn.Module", getattr(model, "base_model", model))
    prefix = next((each for each, module in model.named_modules() if module is base), "")
    inside = name.startswith(f"{prefix}.") if prefix else True
    in_head = any(name == head or name.startswith(f"{head}.") for head in head_modules(model))
    return inside and not in_head and _IN_LAYERS.search(name) is not None
