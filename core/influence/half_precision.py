"""How far scores with bfloat16 products are from those with float32, query by query."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .correlation import Floats, pearson, spearman


@dataclass(frozen=True)
class Agreement:
    """How two lists of scores for the same queries agree, over all rows, (queries,) each."""

    pearson: Floats
    spearman: Floats

    @property
    def typical(self) -> tuple[int, int, int]:
        """The queries with the lowest, the median and the highest rank correlation."""
        order = np.argsort(np.nan_to_num(self.spearman, nan=-2.0))
        return int(order[0]), int(order[(len(order) - 1) // 2]), int(order[-1])


def agreement(exact: NDArray[np.floating], rough: NDArray[np.floating]) -> Agreement:
    """How the scores (queries, rows) of two number types agree."""
    return Agreement(pearson(exact, rough), spearman(exact, rough))
