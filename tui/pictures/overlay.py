"""Curves of several runs in one chart: a colour and a sign for each, and the mean over those that belong together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from .series import Series, smoothed

if TYPE_CHECKING:
    from ...core.history.blocks import Points

SHARES = {"accuracy", "f1", "precision", "recall"}
"""Metrics from 0 to 1."""

CORRELATIONS = {"matthews", "pearson", "spearman", "combined"}
"""Metrics from -1 to 1."""

_DENSE = 50
"""Curves with fewer points are never smoothed: validation says what it says."""


@dataclass(frozen=True, eq=False)
class RunCurves:
    """The curves of one run: points by metric.

    Attributes:
        name: for the legend; foreign text is allowed.
        colour: index into the series colours.
        curves: points by the names of metrics, such as ``train/loss``.
    """

    name: str
    colour: int
    curves: "Mapping[str, Points]"


def bounds(group: str, series: Sequence[Series]) -> tuple[float, float] | None:
    """The whole range of a metric that has one: 0 to 1, or from -1 if there are values below 0."""
    if group in SHARES:
        return 0.0, 1.0
    if group in CORRELATIONS:
        return (-1.0 if any(np.any(one.y < 0) for one in series) else 0.0), 1.0
    return None


def best_side(group: str, origin: str) -> "str | None":
    """Whether the lowest or the highest value of a curve is marked: of validation only."""
    if not origin.startswith("validation"):
        return None
    return "min" if group in ("loss", "perplexity") else "max" if group in SHARES | CORRELATIONS else None


def one_run(curves: "Mapping[str, Points]", group: str, weight: float) -> list[Series]:
    """The curves of one run by where they were measured: ``train``, ``validation``, …

    Args:
        curves: points by metric.
        group: the metric without its origin.
        weight: of the smoothing; 0 for none.
    """
    drawn: list[Series] = []
    colour = 1
    for name, points in curves.items():
        origin, _, metric = name.rpartition("/")
        if metric != group:
            continue
        best = best_side(group, origin)
        series = Series(origin, points.steps.astype(float), points.values, 0 if origin == "train" else colour)
        series = replace(series, best=best)  # type: ignore[arg-type]
        colour += origin != "train"
        drawn += smoothed(series, weight if len(series) >= _DENSE else 0.0)
    return drawn


def several_runs(runs: Sequence[RunCurves], group: str, weight: float, mean: str = "") -> list[Series]:
    """A curve for each run: of validation if it has one, in front of a pale one of training; else of training.

    Args:
        runs: in the order of the legend.
        group: the metric without its origin.
        weight: of the smoothing; 0 for none.
        mean: draw the runs pale, and their mean over the steps that all have reached, under this name.
    """
    drawn: list[Series] = []
    leading: list[Series] = []
    for run in runs:
        found = sorted((name for name in run.curves if name.rpartition("/")[2] == group), key=_leads)
        series = [_series(run, name) for name in found]
        if series:
            leading.append(series[0])
            drawn += [replace(other, faint=True) for other in series[1:] if not mean]
    if mean and len(leading) > 1:
        return [
            *(replace(one, faint=True) for one in leading),
            *smoothed(mean_of(leading, mean), _weight(leading, weight)),
        ]
    return drawn + [piece for one in leading for piece in smoothed(one, _weight([one], weight))]


def mean_of(series: Sequence[Series], name: str, colour: int = 0) -> Series:
    """The mean at the steps that all have; empty if there are none."""
    steps = reduce(np.intersect1d, [one.x for one in series])
    values = [one.y[np.searchsorted(one.x, steps)] for one in series]
    return Series(name, steps, np.mean(values, axis=0) if len(steps) else steps, colour)


def _series(run: RunCurves, name: str) -> Series:
    points = run.curves[name]
    return Series(run.name, points.steps.astype(float), points.values, run.colour)


def _leads(name: str) -> tuple[int, str]:
    """Validation before all else, training last."""
    origin = name.rpartition("/")[0]
    return (0 if origin == "validation" else 2 if origin == "train" else 1, name)


def _weight(series: Sequence[Series], weight: float) -> float:
    return weight if min(map(len, series)) >= _DENSE else 0.0
