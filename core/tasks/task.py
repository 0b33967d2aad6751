"""What a task is: the part of a training stage that knows its data and its objective.

A task reads and encodes what the recipe names, says which head and which fields the model needs for it, and, where
there are prompts, lets the model speak. The training stage does everything else, alike for all tasks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import nn

from ..models.loading import Head
from ..recipe.schema import Train
from ..training.objective import Objective
from ..training.plan import Plan

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..tokens import TokenTrace

LEARNED = ("⟦", "⟧")
"""What `Task.example` puts around that which is learned, where not all of it is."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Surroundings:
    """What a task works in.

    Attributes:
        seed: of the run.
        cache: a folder for what can be made again.
        tell: takes a sentence about what was done, counted or left out.
        saved: a checkpoint's folder; tokenizer and label names are taken from there instead of being made anew.
    """

    seed: int
    cache: Path
    tell: Tell
    saved: Path | None = None


@dataclass(frozen=True)
class Material:
    """What a task makes of a recipe's data.

    Attributes:
        tokenizer: None for images.
        train: the training rows.
        validation: by the name that their figures get: `validation`, and for some tasks more, such as
            `validation-mismatched`. The first tells which weights are best; empty for no validation.
        test: likewise.
        fields: fields of the model's configuration that the data decide, such as `num_labels`.
        counts: what was read, for `lmwb check`: for example {"documents": {"train": 80, "validation": 4}}.
        details: what else `lmwb check --json` tells.
        plan: which rows each step sees, where that is not one pass over all of them after the other.
    """

    tokenizer: "PreTrainedTokenizerBase | None"
    train: Objective
    validation: Mapping[str, Objective] = field(default_factory=dict[str, Objective])
    test: Mapping[str, Objective] = field(default_factory=dict[str, Objective])
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    plan: Callable[[Train], Plan] | None = None

    def planned(self, settings: Train, seed: int) -> Plan:
        """The steps of a training."""
        if self.plan is not None:
            return self.plan(settings)
        return Plan.of(settings, len(self.train), seed, self.train.lengths)


class Task(Protocol):
    """Knows the data and the objective of a training stage."""

    head: ClassVar[Head]

    def read(self) -> Material:
        """Read and encode everything.

        Raises:
            ValueInRecipeError: something does not fit; it names the key.
        """
        ...

    def check_model(self, model: "PreTrainedModel") -> None:
        """See whether the rows fit the model.

        Raises:
            ValueInRecipeError: they do not.
        """
        ...

    def example(self, row: int) -> str:
        """A training row as a person reads it; foreign text."""
        ...

    @property
    def prompts(self) -> Sequence[str]:
        """What the model is asked while it learns; may be empty."""
        ...

    def speak(self, model: nn.Module, prompt: str, seed: int) -> "TokenTrace":
        """Let the model answer a prompt.

        Raises:
            ValueError: it cannot; the text says why.
        """
        ...

    def finish(self, model: nn.Module, folder: Path) -> Mapping[str, Any]:
        """Write what the recipe asks for besides the model, such as predictions; returns entries for the results."""
        ...
