"""A metric of the validation rows against the steps, all strategies in one picture, with confidence over the seeds."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator

from ..comparison import Comparison
from ..history.queries import History
from .bundles import Bundle, curve_of, outcomes_of
from .style import COLOURS, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = Mapping[float, float]


def progress(history: History, comparison: Comparison) -> Figure | None:
    """Means over the seeds with their 95 % confidence bands; beside them, the paired differences to the baseline.

    Drawn for two strategies or more of which one has two seeds or more.
    """
    name = f"validation/{comparison.metric.rpartition('/')[2]}"
    found = {
        row.label: {each.seed: curve_of(history, each, name) for each in outcomes_of(comparison, row)}
        for row in comparison.rows
    }
    found = {label: {seed: curve for seed, curve in of.items() if len(curve) > 1} for label, of in found.items()}
    found = {label: of for label, of in found.items() if of}
    if len(found) < 2 or all(len(of) < 2 for of in found.values()):
        return None
    figure = Figure(figsize=(9.2, 3.6))
    left, right = figure.subplots(1, 2)
    colours = {label: COLOURS[number % len(COLOURS)] for number, label in enumerate(found)}
    for label, of in found.items():
        _line(left, with_confidence(list(of.values())), colours[label], label)
    base = found.get(comparison.baseline, {})
    for label, of in found.items():
        if label != comparison.baseline:
            gaps = [
                {step: curve[step] - base[seed][step] for step in curve if step in base[seed]}
                for seed, curve in of.items()
                if seed in base
            ]
            _line(right, with_confidence(gaps), colours[label], label)
    right.axhline(0, color=colours.get(comparison.baseline, "black"), linewidth=1)
    left.set_ylabel(name)
    if name.endswith("perplexity"):
        left.set_yscale("log")
        left.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        left.yaxis.set_minor_formatter(FormatStrFormatter("%g"))
    right.set_ylabel(f"difference to {short(comparison.baseline)}")
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    most = max(len(of) for of in found.values())
    left.set_title(f"mean and 95 % confidence, n = {most}")
    right.set_title("paired by seed")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def with_confidence(curves: Sequence[Curve]) -> Bundle:
    """Curves as one: the mean at each step, and as its deviation half of the 95 % interval by Student's t."""
    from scipy.stats import t

    steps = sorted(set[float]().union(*curves)) if curves else []
    columns = [[curve[step] for curve in curves if step in curve] for step in steps]
    reach = [
        float(t.ppf(0.975, len(column) - 1)) * float(np.std(column, ddof=1)) / math.sqrt(len(column))
        if len(column) > 1
        else 0.0
        for column in columns
    ]
    return Bundle(np.array(steps), np.array([np.mean(column) for column in columns]), np.array(reach))


def _line(axes: "Axes", curve: Bundle, colour: str, label: str) -> None:
    if not len(curve.steps):
        return
    axes.plot(curve.steps, curve.mean, "o-", color=colour, label=short(label), markersize=3)
    low, high = curve.mean - curve.deviation, curve.mean + curve.deviation
    axes.fill_between(curve.steps, low, high, color=colour, alpha=0.18, linewidth=0)
