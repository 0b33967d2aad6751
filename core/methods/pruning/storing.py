"""Masked models on disk: as the plain models that they are in evaluation. Masks and scores are the method's to keep."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .masks import masks_of, original_of

_ORIGINAL = ".parametrizations.weight.original"
_SCORES = ".parametrizations.weight.0.scores"


@torch.no_grad()
def plain_state(model: nn.Module) -> dict[str, Tensor] | None:
    """The weights of the model as evaluated, by the names of a plain model; None if nothing in it is masked."""
    masks = {f"{name}{_ORIGINAL}": (module, mask) for name, module, mask in masks_of(model)}
    if not masks:
        return None
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if name in masks:
            module, mask = masks[name]
            state[name.replace(_ORIGINAL, ".weight")] = mask.evaluated(original_of(module).detach())
        elif not name.endswith(_SCORES):
            state[name] = value
    return state


def as_masked(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names of a plain model, by the names that they have in a masked one, scores left as they are."""
    renamed = dict(weights)
    for name, _, mask in masks_of(model):
        if f"{name}.weight" in renamed:
            renamed[name + _ORIGINAL] = renamed.pop(f"{name}.weight")
        if mask.scores is not None:
            renamed[name + _SCORES] = mask.scores.detach()
    return renamed


@torch.no_grad()
def fold(model: nn.Module) -> None:
    """Take the masks off and leave the pruned weights: the model becomes a plain one that says the same."""
    for _, module, mask in list(masks_of(model)):
        pruned = mask.evaluated(original_of(module))
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
        module.weight.copy_(pruned)  # pyright: ignore
