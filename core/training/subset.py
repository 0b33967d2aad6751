"""Which rows each optimiser step sees when only some of the rows are trained on."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..recipe.schema import Train
from .plan import Plan


class SubsetPlan(Plan):
    """Steps over some rows, named by their own numbers, so that whatever is random in a row stays as it was.

    With all rows it is the plan of the whole.
    """

    def __init__(self, rows: Sequence[int], settings: Train, seed: int, lengths: NDArray[np.int64]):
        """The plan that the settings ask for.

        Args:
            rows: numbers of the rows to train on, each once.
            settings: with the number of steps; see `settings_for`.
            seed: of the data order.
            lengths: tokens of all rows, those not trained on too.
        """
        self._numbers = sorted(rows)
        size = settings.gradient_accumulation
        bucketed = lengths[self._numbers] if settings.bucketing else None
        super().__init__(len(self._numbers), settings.batch_size, size, settings.steps or 1, seed, bucketed)

    def micro_batches(self, step: int) -> Sequence[Sequence[int]]:
        """The row numbers of each micro-batch of a step."""
        return [[self._numbers[row] for row in rows] for rows in super().micro_batches(step)]


def settings_for(settings: Train, whole: Plan, rows: int) -> Train:
    """The settings of a training on fewer rows: as many epochs, and steps that the schedule names in proportion.

    It is not compiled: that would take longer than a small training itself.
    """
    per_epoch = math.ceil(rows / (settings.batch_size * settings.gradient_accumulation))
    steps = max(1, round(whole.total * per_epoch / whole.steps_per_epoch))
    share = steps / whole.total
    warmup = settings.warmup if settings.warmup < 1 else max(1.0, settings.warmup * share)
    every = max(1, round(settings.step_every * share))
    return settings.model_copy(
        update={"epochs": None, "steps": steps, "warmup": warmup, "step_every": every, "compile": False}
    )
