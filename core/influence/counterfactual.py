"""Which rows are left out to see what they were good for."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..training.randomness import derived_seed

RANDOM = "random"
"""What rows chosen by lot are called among strategies."""


def left_out(scores: NDArray[np.floating], share: float) -> list[int]:
    """The rows with the highest sums of scores (queries, rows) over all queries, highest first; one row at least, and
    one at least stays. Of equal rows the first goes."""
    total = np.asarray(scores, np.float64).sum(0)
    return np.argsort(-total, kind="stable")[: count_of(share, len(total))].tolist()


def drawn_out(rows: int, share: float, seed: int) -> list[int]:
    """As many rows chosen by lot; those of a smaller share are among those of a larger one."""
    order = np.random.default_rng(derived_seed(seed, "left out")).permutation(rows)
    return order[: count_of(share, rows)].tolist()


def count_of(share: float, rows: int) -> int:
    """How many rows a share of them is."""
    return min(rows - 1, max(1, round(share * rows)))


def order_of(rises: Mapping[str, float]) -> Sequence[str]:
    """Strategies by how much the loss rises without their rows, most first."""
    return sorted(rises, key=lambda name: -rises[name])
