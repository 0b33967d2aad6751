"""The best and the worst of a stream of scores, kept on the fly: memory for k, not for all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Top:
    """For each query the rows with the highest scores, best first; of equal ones the earlier row.

    Attributes:
        rows: (queries, kept) int64.
        scores: (queries, kept) float64.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]

    @classmethod
    def none(cls, queries: int) -> "Top":
        """Of nothing."""
        return cls(np.empty((queries, 0), np.int64), np.empty((queries, 0)))

    def with_more(self, rows: Sequence[int], scores: NDArray[np.floating], keep: int) -> "Top":
        """Also these rows' scores, (queries, rows)."""
        numbers = np.asarray(rows, np.int64)
        if scores.shape[1] > keep:  # most need not be sorted
            kth = np.partition(scores, scores.shape[1] - keep, axis=1)[:, -keep, None] if keep else np.inf
            wanted = (scores >= kth).any(axis=0)
            numbers, scores = numbers[wanted], scores[:, wanted]
        both = np.concatenate([self.rows, np.broadcast_to(numbers, (len(self.rows), len(numbers)))], 1)
        values = np.concatenate([self.scores, scores.astype(np.float64)], 1)
        order = np.lexsort((both, -values), axis=1)[:, :keep]
        return Top(np.take_along_axis(both, order, 1), np.take_along_axis(values, order, 1))

    def with_all_of(self, other: "Top", keep: int) -> "Top":
        """The best of both."""
        both = np.concatenate([self.rows, other.rows], 1)
        values = np.concatenate([self.scores, other.scores], 1)
        order = np.lexsort((both, -values), axis=1)[:, :keep]
        return Top(np.take_along_axis(both, order, 1), np.take_along_axis(values, order, 1))

    def beside(self, other: "Top") -> "Top":
        """These queries and others behind them, of which as many rows are kept."""
        if not len(self.rows):
            return other
        return Top(np.concatenate([self.rows, other.rows]), np.concatenate([self.scores, other.scores]))

    def negated(self) -> "Top":
        """The same with scores of the other sign: what was kept of −scores are the lowest scores."""
        return Top(self.rows, -self.scores)
