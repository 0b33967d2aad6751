"""From a recipe's methods to those that stay active in training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import ValueInRecipeError
from ..recipe.schema import Train
from ..recipe.schema.distilling import Distillation
from ..recipe.schema.gain import InformationGain
from ..recipe.schema.method import Adaptation, AnyMethod
from ..recipe.schema.pruning import MovementPruning
from ..training.method import Method
from ..training.objective import Objective
from ..training.plan import Plan

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Place:
    """What an active method works in.

    Attributes:
        model: to be trained; still on the CPU, with its weights loaded, not yet adapted.
        tokenizer: its own; None for images.
        train: the training rows.
        plan: the steps planned.
        settings: how it is trained.
        seed: of the run.
        device: where it will be trained.
        cache: a folder for what can be made again, shared by all runs.
        folder: the stage's own.
        tell: takes a sentence about what was done, counted or left out.
        held_out: what is measured on and never trained on, by the names of the figures.
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase | None"
    train: Objective
    plan: Plan
    settings: Train
    seed: int
    device: torch.device
    cache: Path
    folder: Path
    tell: Callable[[str], None]
    held_out: Mapping[str, Objective] = field(default_factory=dict[str, Objective])


def activate(methods: Sequence[AnyMethod], place: Place) -> list[Method]:
    """The methods that stay active, in the recipe's order; they may change the model at once, in place.

    Raises:
        ValueInRecipeError: a method does not fit the model, the data or another method.
    """
    _refuse_adapters_beside_pruning(methods)
    return [active for number, method in enumerate(methods) for active in _activate(number, method, place)]


def _activate(number: int, method: AnyMethod, place: Place) -> Sequence[Method]:
    if isinstance(method, MovementPruning):
        from .pruning import Pruning

        return [Pruning(number, method, place)]
    if isinstance(method, Distillation):
        from .distillation import distillation

        return [distillation(number, method, place)]
    if isinstance(method, InformationGain):
        from .information_gain.filtration import Filtration

        return [Filtration(number, method, place)]
    return ()


def _refuse_adapters_beside_pruning(methods: Sequence[AnyMethod]) -> None:
    for number, method in enumerate(methods):
        if isinstance(method, Adaptation) and any(isinstance(each, MovementPruning) for each in methods):
            raise ValueInRecipeError(
                f"method.{number}.kind",
                f"'{method.kind}' freezes what movement pruning trains; use one of them, or two stages",
            )
