"""Figures for classes and scores, as accounts that take one batch after another.

Each holds counts or sums, never logits, so that neither batch size nor padding leaves a trace. Where a figure is not
defined (a division by zero), it is 0, as scikit-learn has it.
"""

import math

import numpy as np
from numpy.typing import NDArray


class Confusion:
    """How often each class was taken for each other; all its figures follow from these counts."""

    def __init__(self, classes: int):
        """An empty account for classes numbered from 0; memory is their number squared."""
        self.counts = np.zeros((classes, classes), np.int64)

    def add(self, predicted: NDArray[np.int64], true: NDArray[np.int64]) -> None:
        """Count the predictions for some rows, both (rows,)."""
        np.add.at(self.counts, (true, predicted), 1)

    def accuracy(self) -> float:
        """Share of the rows whose class was found."""
        return _share(np.trace(self.counts), self.counts.sum())

    def f1(self) -> float:
        """Harmonic mean of precision and recall for class 1, the positive one."""
        return float(self._f1_by_class()[1])

    def macro_f1(self) -> float:
        """Mean of the classes' F1, over the classes that occur as truth or as prediction."""
        occurs = (self.counts.sum(0) + self.counts.sum(1)) > 0
        return float(self._f1_by_class()[occurs].mean()) if occurs.any() else 0.0

    def matthews(self) -> float:
        """Matthews' correlation, for several classes as in Gorodkin 2004, equation 8; in [-1, 1]."""
        counts = self.counts.astype(np.float64)
        total, right, true, predicted = counts.sum(), np.trace(counts), counts.sum(1), counts.sum(0)
        covariance = right * total - true @ predicted
        variances = (total**2 - predicted @ predicted) * (total**2 - true @ true)
        return float(covariance / math.sqrt(variances)) if variances > 0 else 0.0

    def _f1_by_class(self) -> NDArray[np.float64]:
        both = self.counts.sum(0) + self.counts.sum(1)
        return 2 * np.diag(self.counts) / np.maximum(both, 1)


CLASS_FIGURES = {
    "accuracy": Confusion.accuracy,
    "f1": Confusion.f1,
    "macro_f1": Confusion.macro_f1,
    "matthews": Confusion.matthews,
}
"""The figures of a classifier by the names that recipes and tables give them."""


class Scores:
    """Predicted and true scores, two numbers a row: ranks cannot be had from sums."""

    def __init__(self) -> None:
        self._predicted: list[NDArray[np.float64]] = []
        self._true: list[NDArray[np.float64]] = []

    def add(self, predicted: NDArray[np.float64], true: NDArray[np.float64]) -> None:
        """Take the scores of some rows, both (rows,)."""
        self._predicted.append(predicted.astype(np.float64))
        self._true.append(true.astype(np.float64))

    def merge(self, other: "Scores") -> None:
        """Take another's scores too."""
        self._predicted += other._predicted
        self._true += other._true

    def pearson(self) -> float:
        """Linear correlation, in [-1, 1]."""
        return _correlation(np.concatenate(self._predicted), np.concatenate(self._true))

    def spearman(self) -> float:
        """Correlation of the ranks, equal scores sharing their mean rank; in [-1, 1]."""
        return _correlation(_ranks(np.concatenate(self._predicted)), _ranks(np.concatenate(self._true)))


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 0.0


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if (a == a[:1]).all() or (b == b[:1]).all():
        return 0.0
    a, b = _centred(a), _centred(b)
    return float(np.clip(a @ b, -1.0, 1.0))


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """With mean 0 and length 1; scaled first, so that neither tiny nor huge numbers leave the range of a float."""
    values = values - values.mean()
    values = values / np.abs(values).max()
    return values / np.linalg.norm(values)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return ranks[which]
