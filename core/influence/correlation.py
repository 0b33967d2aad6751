"""Correlations line by line: how alike two lists of scores are, or how alike they rank."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def pearson(left: NDArray[np.floating], right: NDArray[np.floating]) -> Floats:
    """The correlation of each line of two matrices (lines, values); NaN where a line does not vary."""
    a, b = (np.asarray(each, np.float64) for each in (left, right))
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))


def spearman(left: NDArray[np.floating], right: NDArray[np.floating]) -> Floats:
    """The rank correlation of each line; equal values share the mean of their ranks. NaN where a line does not vary."""
    from scipy.stats import rankdata

    return pearson(rankdata(left, axis=-1), rankdata(right, axis=-1))


def weighted_spearman(values: NDArray[np.floating], fixed: NDArray[np.floating], weights: Floats) -> Floats:
    """The rank correlation of two lists of values that are drawn several times: what a bootstrap needs, all at once.

    Args:
        values, fixed: (values,) each.
        weights: (draws, values), how often each value was drawn; each line adds up to the same.

    Returns:
        (draws,), exactly what `spearman` says of the values written out as often as they were drawn; NaN where they do
        not vary.
    """
    centre = (weights.sum(1, keepdims=True) + 1) / 2  # the mean rank
    a, b = (_ranks(np.asarray(each), weights) - centre for each in (values, fixed))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights * a * b).sum(1) / np.sqrt((weights * a**2).sum(1) * (weights * b**2).sum(1))


def _ranks(values: NDArray[np.floating], weights: Floats) -> Floats:
    """(draws, values): one more than the count of smaller values, and half of the other equal ones."""
    smaller = values[None, :] < values[:, None]
    equal = values[None, :] == values[:, None]
    return weights @ (smaller + 0.5 * equal).T.astype(np.float64) + 0.5
