"""Which rows each optimiser step sees: arithmetic, so that any step can be entered directly."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from ..recipe.schema import Train
from .randomness import generator

_WINDOW = 50
"""Steps whose rows are sorted by length together; order between and beyond them stays random."""


def steps_of(settings: Train, rows: int) -> int:
    """The steps that the settings ask for; one epoch of `rows` rows if they name neither epochs nor steps."""
    per_epoch = math.ceil(rows / (settings.batch_size * settings.gradient_accumulation))
    epochs = 1.0 if settings.epochs is None else settings.epochs
    return settings.steps or max(1, round(epochs * per_epoch))


class Plan:
    """The steps of a training.

    Attributes:
        rows: training rows.
        batch_size: rows per micro-batch.
        accumulation: micro-batches per step.
        total: steps in all; steps are numbered from 1.
        seed: of the data order.
    """

    def __init__(
        self,
        rows: int,
        batch_size: int,
        accumulation: int,
        total: int,
        seed: int,
        lengths: NDArray[np.int64] | None = None,
    ):
        """A plan over `rows` rows; with `lengths` (rows,), rows of like length go into a step."""
        self.rows = rows
        self.batch_size = batch_size
        self.accumulation = accumulation
        self.total = total
        self.seed = seed
        self._lengths = None if lengths is None or (lengths == lengths[:1]).all() else lengths
        self._epoch = lru_cache(maxsize=2)(self._steps_of_epoch)

    @classmethod
    def of(cls, settings: Train, rows: int, seed: int, lengths: NDArray[np.int64] | None = None) -> "Plan":
        """The plan that the settings ask for; one epoch if they name neither epochs nor steps."""
        total = steps_of(settings, rows)
        bucketed = lengths if settings.bucketing else None
        return cls(rows, settings.batch_size, settings.gradient_accumulation, total, seed, bucketed)

    @property
    def steps_per_epoch(self) -> int:
        """One step of an epoch may have fewer rows; none are left out."""
        return math.ceil(self.rows / (self.batch_size * self.accumulation))

    def micro_batches(self, step: int) -> Sequence[Sequence[int]]:
        """The row numbers of each micro-batch of a step."""
        epoch, position = divmod(step - 1, self.steps_per_epoch)
        rows = self._epoch(epoch)[position]
        return [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]

    def _steps_of_epoch(self, epoch: int) -> Sequence[Sequence[int]]:
        """The rows of each step of an epoch: drawn at random, or at random and then sorted within a window."""
        order = torch.randperm(self.rows, generator=generator(self.seed, "order", epoch)).numpy()
        size = self.batch_size * self.accumulation
        if self._lengths is None:
            return [order[i : i + size].tolist() for i in range(0, self.rows, size)]
        for start in range(0, self.rows, size * _WINDOW):
            window = order[start : start + size * _WINDOW]
            order[start : start + size * _WINDOW] = window[np.argsort(self._lengths[window], kind="stable")]
        steps = [order[i : i + size].tolist() for i in range(0, self.rows, size)]
        return [steps[i] for i in torch.randperm(len(steps), generator=generator(self.seed, "steps", epoch)).tolist()]
