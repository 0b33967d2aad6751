"""From scores to candidates: the best tokens of each row, or tokens drawn at random."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..recipe.schema import Decoding
from ..training.randomness import generator
from .choosing import Candidates, Rows, best_candidates, in_order, take

Best = tuple[NDArray[np.float32], NDArray[np.int64]]
"""Scores and ids (rows, m) of the best tokens, best first."""

Pick = Callable[[Tensor, Rows, int], tuple[Candidates, Best]]
"""From scores (b·r, vocabulary), the rows and the step (from 0) to candidates and each row's best tokens."""

_GROUP = 128
"""Neighbours of which the best is looked for first, in a large vocabulary."""


def picker(settings: Decoding, width: int, alternatives: int) -> Pick:
    """How a search finds its candidates.

    Args:
        settings: how to search.
        width: candidates of each prompt.
        alternatives: how many of the best tokens the caller wants to know besides.
    """
    if settings.search == "sample":
        return _drawing(settings, max(1, alternatives))

    def pick(scores: Tensor, rows: Rows, step: int) -> tuple[Candidates, Best]:  # noqa: ARG001
        b, r = rows.totals.shape
        values, ids = best_tokens(scores, width, alternatives)
        shape = b, r, -1
        few = values[:, :width].reshape(shape), ids[:, :width].reshape(shape)
        return best_candidates(*few, rows.totals, width), (values, ids)

    return pick


def best_tokens(scores: Tensor, count: int, more: int = 0) -> Best:
    """The best `count` tokens of each row, equals by id; beyond, up to `more`, equals come in any order.

    Args:
        scores: (rows, vocabulary).
        count: how many are needed.
        more: how many are wished for.
    """
    vocabulary = scores.shape[1]
    count = min(count, vocabulary)
    wanted = min(max(count + 1, more), vocabulary)
    values, ids = (each.cpu().numpy() for each in _topk(scores, wanted))
    if count < wanted:
        # topk takes any of those that are as good as its last
        cut = np.flatnonzero((values[:, count - 1] == values[:, count]) & (values[:, count] > -np.inf))
        if len(cut):
            rows = scores[torch.from_numpy(cut).to(scores.device)].sort(dim=1, descending=True, stable=True)
            values[cut] = rows.values[:, :wanted].cpu().numpy()
            ids[cut] = rows.indices[:, :wanted].cpu().numpy()
    return in_order(values, ids)


def _topk(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """torch.topk; on a CPU, where it is slow for large vocabularies, among the groups with the best members."""
    rows, vocabulary = scores.shape
    groups = vocabulary // _GROUP
    if scores.device.type != "cpu" or groups < 4 * count:
        found = scores.topk(count)
        return found.values, found.indices
    even = groups * _GROUP
    grouped = scores[:, :even].view(rows, groups, _GROUP)
    chosen = grouped.amax(2).topk(count).indices
    places = (chosen[:, :, None] * _GROUP + torch.arange(_GROUP)).flatten(1)
    places = torch.cat([places, torch.arange(even, vocabulary).expand(rows, -1)], 1)
    found = scores.gather(1, places).topk(count)
    return found.values, places.gather(1, found.indices)


def _drawing(settings: Decoding, shown: int) -> Pick:
    """Each row draws a token; each text of a prompt has random numbers of its own, the same for every prompt."""
    uniform = np.stack([_uniform(settings, text) for text in range(settings.samples)])

    def pick(scores: Tensor, rows: Rows, step: int) -> tuple[Candidates, Best]:
        b, r = rows.totals.shape
        best = best_tokens(scores, 1, shown)
        # in the first step all texts go on from the same row
        texts = np.broadcast_to(np.arange(settings.samples), (b, settings.samples)) if step == 0 else rows.texts
        draws = torch.from_numpy(uniform[texts, step].reshape(b * r, -1)).to(scores.device)
        heights = scores.softmax(1).cumsum(1, dtype=torch.float64)
        ids = torch.searchsorted(heights, draws * heights[:, -1:], right=True).clamp_max(scores.shape[1] - 1)
        values = scores.gather(1, ids).cpu().numpy().reshape(texts.shape)
        parents = np.broadcast_to(np.arange(r) if step else 0, texts.shape)
        totals = take(rows.totals, parents) + values
        live_first = np.argsort(totals == -np.inf, axis=1, kind="stable")
        columns = (parents, ids.cpu().numpy().reshape(texts.shape), values, totals, texts)
        return Candidates(*(take(column, live_first) for column in columns)), best

    return pick


def _uniform(settings: Decoding, text: int) -> NDArray[np.float64]:
    """(steps,) random numbers from 0 to 1 for one text of each prompt."""
    own = generator(settings.seed, "sampling", text)
    return torch.rand(settings.tokens, dtype=torch.float64, generator=own).numpy()
