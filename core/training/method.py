"""What a method may do while a model is trained.

Adapting a model (layers, LoRA, adapters) needs none of this: it is done once, before. A method that stays active, such
as pruning or distillation, is a `Method`: the loop and the stage call its parts and know nothing else of it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from .distribution import Team
from .objective import Batch, Objective
from .optimizers import Group


class Steps(Protocol):
    """Which rows each optimiser step sees; `Plan` is one."""

    @property
    def seed(self) -> int:
        """Of the data order and of what is drawn in each step."""
        ...

    @property
    def total(self) -> int:
        """Steps in all, numbered from 1."""
        ...

    def micro_batches(self, step: int) -> Sequence[Sequence[int]]:
        """The row numbers of each micro-batch of a step; asked for each step once, in order."""
        ...


class Method:
    """A method that is active in training; each part does nothing unless a method says otherwise.

    Where several processes train together, each has the method, with the same weights at every step, and asks the same
    of it: it must come to the same in all. Which rows a step has, the first one's decides; a penalty counts once; only
    the first one's `state` is saved, and only its `finish` is called.
    """

    name: str = "method"
    """Goes before the names of its curves and results: `pruning/kept`."""

    def groups(self) -> Sequence[Group]:
        """Weights of its own to train, such as scores; the model's trainable weights are trained anyway."""
        return ()

    def objective(self, objective: Objective) -> Objective:
        """The objective to train with; evaluation keeps the one it is given."""
        return objective

    def steps(self, steps: Steps) -> Steps:
        """The rows to train on, chosen from those planned."""
        return steps

    def weigh(self, batches: Sequence[Batch], team: Team) -> None:
        """The micro-batches of the step about to be made, on the CPU: what losses of its own are to be divided by.

        They are those of this process, and may be none; the team adds up.
        """

    def before_step(self, step: int) -> None:
        """An optimiser step, numbered from 1, is about to be made."""

    def penalty(self) -> Tensor | None:
        """A scalar to add to the step's mean loss, in nats; asked once a step, after `before_step`."""
        return None

    def after_step(self, step: int) -> None:
        """An optimiser step was made."""

    def figures(self) -> Mapping[str, Tensor | float]:
        """What to draw as curves, by name; scalars, those on the training device fetched later. Asked after steps that
        are logged."""
        return {}

    def state(self) -> Mapping[str, Any]:
        """What must be saved besides the model and the optimiser to go on exactly: tensors and plain values."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` saved."""

    def finish(self, model: nn.Module, folder: Path) -> Mapping[str, Any]:  # noqa: ARG002 - for those that need them
        """Training has ended and the chosen weights are in the model, but not yet written: make it what people load.

        Args:
            model: the trained model, changed in place, for example by taking masks off.
            folder: the stage's, for tables and other files.

        Returns:
            Entries for the stage's results.
        """
        return {}
