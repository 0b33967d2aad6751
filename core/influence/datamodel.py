"""Linear datamodeling score (Park et al. 2023, section 2): does the sum of the scores of the rows that were trained on
rank the losses of models as they truly are?

Models are trained on random subsets of the rows. For each query, a strategy predicts the loss of each of them as
−Σ scores of the subset's rows; its LDS is the rank correlation of these predictions with the true losses, the mean over
queries. Strategies are compared on the same subsets only: with others, all of them move by some hundredths.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .correlation import Floats, spearman, weighted_spearman
from .counterfactual import count_of

_DRAWS = 1000
_LEVEL = 0.95
_SPLITS = 50


@dataclass(frozen=True)
class Interval:
    """A figure, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """How well a strategy ranks.

    Attributes:
        lds: its linear datamodeling score.
        difference: to the reference, on the same subsets and queries; None for the reference itself.
        queries: by query its rank correlation, (queries,).
        undefined: queries of which it predicts the same for all subsets; they count as 0.
    """

    lds: Interval
    difference: Interval | None
    queries: Floats
    undefined: int


@dataclass(frozen=True)
class Ceiling:
    """How well any strategy could do, for the losses scatter from seed to seed.

    Attributes:
        halves: how well losses averaged over one half of the seeds rank those of the other half.
        attainable: the rank correlation that a perfect prediction would reach with losses averaged over all seeds, by
            the formulas of Spearman and Brown: with r = `halves` of m seeds each, the mean over k seeds has the
            reliability (k/m) r / (1 + (k/m − 1) r), of which this is the square root.
    """

    halves: float
    attainable: float


def draw_subsets(rows: int, share: float, count: int, seed: int) -> NDArray[np.bool_]:
    """(count, rows): which rows are in each subset, all of one size, drawn without putting back."""
    random = np.random.default_rng(seed)
    size = count_of(share, rows)
    masks = np.zeros((count, rows), bool)
    for mask in masks:
        mask[random.choice(rows, size, replace=False)] = True
    return masks


def predicted(masks: NDArray[np.bool_], scores: NDArray[np.floating]) -> Floats:
    """(queries, subsets): −Σ of the scores (queries, rows) of each subset's rows, low where losses should be low."""
    return -np.asarray(scores, np.float64) @ masks.T.astype(np.float64)


def datamodel_scores(
    masks: NDArray[np.bool_],
    losses: Floats,
    scores: Mapping[str, NDArray[np.floating]],
    reference: str,
    seed: int = 0,
) -> dict[str, Score]:
    """The linear datamodeling score of each strategy, with a bootstrap interval.

    Subsets and queries are both drawn anew, with putting back, 1,000 times, and the same draws serve all strategies;
    intervals go from the 2.5th to the 97.5th percentile. They hold for other subsets and other queries of the same
    kind, not for another training.

    Args:
        masks: (subsets, rows), as `draw_subsets` gives them.
        losses: (subsets, queries), true ones.
        scores: by strategy (queries, rows).
        reference: the strategy that others are compared with.
        seed: of the bootstrap.
    """
    random = np.random.default_rng(seed)
    subsets, queries = losses.shape
    weights = random.multinomial(subsets, np.full(subsets, 1 / subsets), _DRAWS).astype(np.float64)
    chosen = random.multinomial(queries, np.full(queries, 1 / queries), _DRAWS) / queries
    found: dict[str, tuple[Floats, Floats]] = {}
    for name, of_rows in scores.items():
        told = predicted(masks, of_rows)
        drawn = np.stack([weighted_spearman(*pair, weights) for pair in zip(told, losses.T, strict=True)], 1)
        found[name] = spearman(told, losses.T), (np.nan_to_num(drawn) * chosen).sum(1)
    return {name: _score(found, name, reference) for name in found}


def _score(found: Mapping[str, tuple[Floats, Floats]], name: str, reference: str) -> Score:
    each, drawn = found[name]
    value = float(np.nan_to_num(each).mean())
    difference = None
    if name != reference:
        others, drawn_others = found[reference]
        difference = _interval(value - float(np.nan_to_num(others).mean()), drawn - drawn_others)
    return Score(_interval(value, drawn), difference, each, int(np.isnan(each).sum()))


def _interval(value: float, drawn: Floats) -> Interval:
    tail = 100 * (1 - _LEVEL) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Interval(value, float(low), float(high))


def ceiling(losses: Floats) -> Ceiling | None:
    """What the scatter over seeds allows, from losses (subsets, seeds, queries); None for a single seed.

    Of many ways to halve the seeds, 50 are taken.
    """
    seeds = losses.shape[1]
    if seeds < 2:
        return None
    half = seeds // 2
    found: list[float] = []
    for left, right in itertools.islice(_halvings(seeds, half), _SPLITS):
        ranked = spearman(losses[:, left].mean(1).T, losses[:, right].mean(1).T)
        found.append(float(np.nan_to_num(ranked).mean()))
    r = float(np.mean(found))
    longer = seeds / half
    reliability = max(0.0, longer * r / (1 + (longer - 1) * r))
    return Ceiling(r, float(np.sqrt(reliability)))


def _halvings(seeds: int, half: int) -> "itertools.chain[tuple[list[int], list[int]]]":
    """Pairs of groups of `half` seeds that have none in common, each pair once."""
    return itertools.chain.from_iterable(
        (
            (list(left), list(right))
            for right in itertools.combinations([s for s in range(seeds) if s not in left], half)
            if left < right
        )
        for left in itertools.combinations(range(seeds), half)
    )
