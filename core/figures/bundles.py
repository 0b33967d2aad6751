"""Curves of several seeds as one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..comparison import Comparison, Outcome, Row
from ..history.queries import History


@dataclass(frozen=True)
class Bundle:
    """Curves of several seeds as one: at each step their mean, and their standard deviation (0 for one seed)."""

    steps: Any
    mean: Any
    deviation: Any


def outcomes_of(comparison: Comparison, row: Row) -> list[Outcome]:
    """What a row of the table was made from."""
    return [each for each in comparison.outcomes if each.label == row.label]


def bundle(history: History, outcomes: Sequence[Outcome], metric: str, bins: int | None) -> Bundle:
    """A curve of several outcomes, such as the seeds of a stage.

    Args:
        history: where the curves are.
        outcomes: whose.
        metric: full name.
        bins: at most so many points, each the mean of the steps around it; None for all steps.
    """
    curves = [curve for outcome in outcomes if (curve := curve_of(history, outcome, metric, bins))]
    steps = sorted(set().union(*curves)) if curves else []
    columns = [[curve[step] for curve in curves if step in curve] for step in steps]
    mean = [float(np.mean(column)) for column in columns]
    deviation = [float(np.std(column, ddof=1)) if len(column) > 1 else 0.0 for column in columns]
    return Bundle(np.array(steps), np.array(mean), np.array(deviation))


def curve_of(history: History, outcome: Outcome, metric: str, bins: int | None = None) -> dict[float, float]:
    """A curve of one outcome: values by step; empty if there is none. `bins` as in `bundle`."""
    stages = {stage.name: stage.id for stage in history.stages(history.find(outcome.uid).id)}
    points = history.points(stages[outcome.stage], metric)
    return _binned(points.steps, points.values, bins) if len(points) else {}


def _binned(steps: Any, values: Any, bins: int | None) -> dict[float, float]:
    """A curve as a dictionary; long ones as the means of spans of equal length, by the middle of the span."""
    if bins is None or len(steps) <= bins:
        return {float(step): float(value) for step, value in zip(steps, values, strict=True)}
    width = math.ceil((int(steps[-1]) + 1) / bins)
    groups = steps // width
    return {float(g * width + width / 2): float(np.mean(values[groups == g])) for g in np.unique(groups)}
