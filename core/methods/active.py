"""From a recipe's methods to those that stay active in training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..recipe.schema import Train
from ..recipe.schema.method import AnyMethod
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


def activate(methods: Sequence[AnyMethod], place: Place) -> list[Method]:
    """The methods that stay active, in the recipe's order; they may change the model at once, in place.

    Raises:
        ValueInRecipeError: a method does not fit the model, the data or another method.
    """
    return [active for number, method in enumerate(methods) for active in _activate(number, method, place)]


def _activate(number: int, method: AnyMethod, place: Place) -> Sequence[Method]:  # noqa: ARG001
    return ()
