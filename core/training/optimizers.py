"""The rules that change weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from ..recipe.schema import Rule


@dataclass(frozen=True)
class Group:
    """Weights with a share of the learning rate of their own.

    Attributes:
        weights: to be trained.
        scale: what the learning rate is multiplied by.
        decays: whether the weight decay is meant for them.
    """

    weights: Sequence[nn.Parameter]
    scale: float = 1.0
    decays: bool = True


def make_optimizer(groups: Sequence[Group], settings: Rule) -> torch.optim.Optimizer:
    """AdamW or SGD over the groups' weights, fused where torch can.

    Weight decay applies to matrices only, not to biases and norms (Loshchilov & Hutter 2019).
    """
    parts = [part for group in groups for part in _parts(group, settings.weight_decay)]
    fused = all(weight.device.type in ("cuda", "cpu") for group in groups for weight in group.weights)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parts, lr=settings.lr, momentum=settings.momentum, fused=fused)
    return torch.optim.AdamW(parts, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=fused)


def trainable(model: nn.Module) -> Sequence[Group]:
    """All weights that are not frozen, as one group."""
    return [Group([weight for weight in model.parameters() if weight.requires_grad])]


def without(taken: Sequence[Group], groups: Sequence[Group]) -> Sequence[Group]:
    """The groups, but for the weights that others have taken."""
    gone = {id(weight) for group in taken for weight in group.weights}
    left = [replace(each, weights=[weight for weight in each.weights if id(weight) not in gone]) for each in groups]
    return [group for group in left if group.weights]


def _parts(group: Group, decay: float) -> list[dict[str, object]]:
    weights = list(group.weights)
    if not decay or not group.decays:
        return [{"params": weights, "weight_decay": 0.0, "scale": group.scale}]
    matrices = [weight for weight in weights if weight.ndim >= 2]
    others = [weight for weight in weights if weight.ndim < 2]
    return [
        {"params": part, "weight_decay": share, "scale": group.scale}
        for part, share in ((matrices, decay), (others, 0.0))
        if part
    ]
