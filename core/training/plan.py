"""Which rows each optimiser step sees: arithmetic, so that any step can be entered directly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from ..recipe.schema import Train
from .randomness import generator


@dataclass(frozen=True)
class Plan:
    """The steps of a training.

    Attributes:
        rows: training rows.
        batch_size: rows per micro-batch.
        accumulation: micro-batches per step.
        total: steps in all; steps are numbered from 1.
        seed: of the data order.
    """

    rows: int
    batch_size: int
    accumulation: int
    total: int
    seed: int

    @classmethod
    def of(cls, settings: Train, rows: int, seed: int) -> "Plan":
        """The plan that the settings ask for; one epoch if they name neither epochs nor steps."""
        per_epoch = math.ceil(rows / (settings.batch_size * settings.gradient_accumulation))
        epochs = 1.0 if settings.epochs is None else settings.epochs
        total = settings.steps or max(1, round(epochs * per_epoch))
        return cls(rows, settings.batch_size, settings.gradient_accumulation, total, seed)

    @property
    def steps_per_epoch(self) -> int:
        """The last step of an epoch may have fewer rows; none are left out."""
        return math.ceil(self.rows / (self.batch_size * self.accumulation))

    def micro_batches(self, step: int) -> Sequence[Sequence[int]]:
        """The row numbers of each micro-batch of a step."""
        epoch, position = divmod(step - 1, self.steps_per_epoch)
        size = self.batch_size * self.accumulation
        rows = _order(self.rows, self.seed, epoch)[position * size : (position + 1) * size]
        return [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]


@lru_cache(maxsize=2)
def _order(rows: int, seed: int, epoch: int) -> Sequence[int]:
    return torch.randperm(rows, generator=generator(seed, "order", epoch)).tolist()
