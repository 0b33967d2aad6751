"""What score processors took away from the model's probabilities, row by row.

Most processors block a few tokens; then only these are looked at, and the rest of the vocabulary is left alone.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .choosing import take

Best = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Values and ids (rows, m) of the best tokens, best first."""

_MANY = 1 / 8
"""From this share of the numbers on, whole rows are looked at."""


@dataclass(frozen=True)
class Taken:
    """What is left of n rows.

    Attributes:
        left: (n,) float32, logarithm of the probability that is left; above 0 if processors made scores higher.
        blocked: (n,) float32, probability of the tokens that must not come.
        best: of the model itself.
    """

    left: NDArray[np.float32]
    blocked: NDArray[np.float32]
    best: Best


def what_was_taken(logprob: Tensor, scores: Tensor, best: Best) -> Taken:
    """Compare the model's log-probabilities with the scores (rows, vocabulary), of which `best` are the best."""
    left, blocked = np.zeros((2, len(logprob)), np.float32)
    if scores is logprob:
        return Taken(left, blocked, best)
    different = _different(logprob, scores)
    places = np.flatnonzero(different)
    if len(places) == 0:
        return Taken(left, blocked, best)
    rows, ids = np.divmod(places, logprob.shape[1])
    if len(places) < _MANY * different.size and (_picked(scores, rows, ids) == -np.inf).all():
        return _few(logprob, scores, best, rows, ids)
    return _whole_rows(logprob, scores, best, np.unique(rows))


def best_of(logprob: Tensor, count: int) -> Best:
    """The `count` best of each row, equals in any order; fewer if the vocabulary has fewer."""
    found = logprob.topk(min(count, logprob.shape[1]))
    return found.values.cpu().numpy(), found.indices.cpu().numpy()


def _few(logprob: Tensor, scores: Tensor, best: Best, rows: NDArray[np.int64], ids: NDArray[np.int64]) -> Taken:
    """Some tokens, row by row, are blocked, and all others are as they were."""
    gone = _picked(logprob, rows, ids)
    blocked = np.bincount(rows, np.exp(gone), len(logprob))
    left = np.log1p(-np.minimum(blocked, 0.5))
    most = np.flatnonzero(blocked > 0.5)
    if len(most):  # a small rest is no good difference
        left[most] = scores[_index(most, scores)].logsumexp(1).cpu().numpy()
    values, names = best[0].copy(), best[1].copy()
    short = np.flatnonzero(values[:, -1] == -np.inf)
    if len(short):
        values[short], names[short] = best_of(logprob[_index(short, logprob)], values.shape[1])
    better = (gone > values[rows, -1]) & ~np.isin(rows, short)  # those rows have theirs already
    if better.any():
        _put_in(values, names, rows[better], gone[better], ids[better])
    return Taken(left.astype(np.float32), np.minimum(blocked, 1).astype(np.float32), (values, names))


def _put_in(
    values: NDArray[np.float32],
    names: NDArray[np.int64],
    rows: NDArray[np.int64],
    more: NDArray[np.float32],
    ids: NDArray[np.int64],
) -> None:
    """Put more values, whose rows are in rising order, among the best of their rows."""
    new = np.append(True, rows[1:] != rows[:-1])
    starts, places = np.flatnonzero(new), np.cumsum(new) - 1
    touched = rows[starts]
    columns = values.shape[1] + np.arange(len(rows)) - starts[places]
    shape = len(touched), columns.max() + 1
    all_values, all_names = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.int64)
    all_values[:, : values.shape[1]], all_names[:, : values.shape[1]] = values[touched], names[touched]
    all_values[places, columns], all_names[places, columns] = more, ids
    order = np.argsort(-all_values, axis=1, kind="stable")[:, : values.shape[1]]
    values[touched], names[touched] = take(all_values, order), take(all_names, order)


def _whole_rows(logprob: Tensor, scores: Tensor, best: Best, rows: NDArray[np.int64]) -> Taken:
    """Some rows are changed in many places."""
    left, blocked = np.zeros((2, len(logprob)), np.float32)
    place = _index(rows, logprob)
    logprob, scores = logprob[place], scores[place]
    left[rows] = scores.logsumexp(1).cpu().numpy()
    gone = torch.where(torch.isneginf(scores), logprob.exp(), 0).sum(1)
    blocked[rows] = gone.clamp(0, 1).cpu().numpy()
    values, names = best[0].copy(), best[1].copy()
    values[rows], names[rows] = best_of(logprob, values.shape[1])
    return Taken(left, blocked, (values, names))


def _different(logprob: Tensor, scores: Tensor) -> NDArray[np.bool_]:
    """(rows, vocabulary); on a CPU numpy compares six times as fast as torch."""
    if logprob.device.type == "cpu":
        return scores.numpy() != logprob.numpy()
    return (scores != logprob).cpu().numpy()


def _picked(numbers: Tensor, rows: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n,) single numbers."""
    if numbers.device.type == "cpu":
        return numbers.numpy()[rows, ids]
    return numbers[_index(rows, numbers), _index(ids, numbers)].cpu().numpy()


def _index(places: NDArray[np.int64], like: Tensor) -> Tensor:
    return torch.from_numpy(places).to(like.device)
