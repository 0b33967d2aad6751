"""How a model is adapted: which of its weights are trained, and what is added to it."""

from collections.abc import Callable, Sequence

from torch import nn

from ..recipe.schema import AnyMethod
from ..training.optimizers import Group, trainable


def adapt(model: nn.Module, methods: Sequence[AnyMethod], tell: Callable[[str], None]) -> Sequence[Group]:
    """Rewrite the model in place as the methods say, freeze the rest; returns what is trained, at which rates.

    Without methods all of it is trained.

    Raises:
        ValueInRecipeError: a target or pattern matches nothing.
    """
    assert not methods, "to come"
    tell("training all weights")
    return trainable(model)
