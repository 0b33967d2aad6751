"""Which contexts each optimiser step sees when they are drawn: first an article, then where in it to begin."""

from collections.abc import Sequence
from functools import lru_cache

import torch

from ..data.crops import Crops
from ..recipe.schema import Train
from .plan import Plan, steps_of
from .randomness import generator

_AT_ONCE = 1024
"""Draws that one generator makes; any of them can be had without those before."""


class Draws:
    """An endless series of rows: every article is as likely as any other, and so is every start within it.

    A draw is a function of the seed and its number, and of nothing else.
    """

    def __init__(self, crops: Crops, seed: int, purpose: str = "crops"):
        """Draws for a purpose; those for others are independent of them."""
        self._crops = crops
        self._seed = seed
        self._purpose = purpose
        self._chunk = lru_cache(maxsize=4)(self._draw)

    def rows(self, first: int, end: int) -> list[int]:
        """The rows of the draws numbered from `first` up to, not including, `end`; the first of all is 0."""
        return [self._chunk(number // _AT_ONCE)[number % _AT_ONCE] for number in range(first, end)]

    def _draw(self, chunk: int) -> list[int]:
        source = generator(self._seed, self._purpose, chunk)
        counts = torch.from_numpy(self._crops.counts)
        articles = torch.randint(len(counts), (_AT_ONCE,), generator=source)
        shares = torch.rand(_AT_ONCE, generator=source, dtype=torch.float64)
        numbers = (shares * counts[articles]).long()  # a share is below 1 by at least 2⁻⁵³: never past the last
        return [
            self._crops.row(article, number)
            for article, number in zip(articles.tolist(), numbers.tolist(), strict=True)
        ]


class CropPlan(Plan):
    """Steps over contexts drawn anew each time; an epoch is as many as would fit into the articles end to end."""

    def __init__(self, crops: Crops, settings: Train, seed: int, purpose: str = "crops"):
        """The plan that the settings ask for."""
        rows = crops.end_to_end
        super().__init__(rows, settings.batch_size, settings.gradient_accumulation, steps_of(settings, rows), seed)
        self._draws = Draws(crops, seed, purpose)

    def micro_batches(self, step: int) -> Sequence[Sequence[int]]:
        """The row numbers of each micro-batch of a step; no step has fewer than others."""
        size = self.batch_size * self.accumulation
        rows = self._draws.rows((step - 1) * size, step * size)
        return [rows[i : i + self.batch_size] for i in range(0, size, self.batch_size)]
