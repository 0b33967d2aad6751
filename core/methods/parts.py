"""The parts of a model that methods tell apart: its head and its base, its weights and what was added to it."""

import re
from typing import TYPE_CHECKING, cast

from torch import nn

from ..models.origin import origin_of

ADDED = re.compile(r"\.(lora|bottleneck)\.")
"""What is in the name of a weight that a method added."""

if TYPE_CHECKING:
    from collections.abc import Iterator


def head_modules(model: nn.Module) -> dict[str, nn.Module]:
    """What stands on the base: the modules outside `base_model`, and those in it whose weights are new.

    Empty for a language model whose output layer is its embedding used once more, and for a model without a base.
    """
    base = cast("nn.Module", getattr(model, "base_model", model))
    inside = {id(weight) for weight in base.parameters()}
    children = {} if base is model else dict(model.named_children())
    head = {
        name: child
        for name, child in children.items()
        if child is not base and any(id(weight) not in inside for weight in child.parameters())
    }
    origin = origin_of(model)
    if origin.source is not None:
        modules = dict(model.named_modules())
        for weight in sorted(origin.new):
            name = weight.rpartition(".")[0]
            if name in modules and not any(covers(known, name) for known in head):
                head[name] = modules[name]
    return head


def head_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of the head, those that it shares with the base left out."""
    base = cast("nn.Module", getattr(model, "base_model", model))
    new = origin_of(model).new
    shared = {id(weight) for name, weight in model.named_parameters() if name not in new}
    shared &= {id(weight) for weight in base.parameters()} if base is not model else set()
    return {
        name: weight
        for name, weight in model.named_parameters()
        if id(weight) not in shared and any(covers(module, name) for module in head_modules(model))
    }


def covers(module: str, name: str) -> bool:
    """Whether a name is that of a module or of something in it; all are in the model, whose name is empty."""
    return not module or name == module or name.startswith(f"{module}.")


def owner_of(weight: str) -> str:
    """The layer that a weight belongs to: for one that a method added, the layer that it was added to."""
    owner = re.split(r"\.(?:lora|bottleneck|parametrizations)\.", weight)[0]
    return weight.rpartition(".")[0] if owner == weight else owner


def batch_norms(model: nn.Module) -> "Iterator[tuple[str, nn.Module]]":
    """The modules whose running statistics change in training although no weight of theirs may."""
    return (
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    )
