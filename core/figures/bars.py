"""A bar for each label: the metric, and the weights that are trained."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ..comparison import Comparison
from ..history.queries import History
from ..tables import mean_text
from .style import BLACK, BLUE, bars, name_bars


def metric_bars(_: History, comparison: Comparison) -> Figure | None:
    """The metric's mean for each label, with its standard deviation and a point for each seed."""
    rows = [row for row in comparison.rows if row.values]
    most = max(row.n for row in rows)
    figure, axes = bars(len(rows))
    for place, row in enumerate(rows):
        axes.barh(place, row.mean, xerr=row.deviation, color=BLUE, alpha=0.75, height=0.62, capsize=3)
        if row.n > 1:
            spread = np.linspace(-0.18, 0.18, row.n)
            axes.plot(row.values, place + spread, "o", color=BLACK, markersize=2.5, alpha=0.8)
        reach = max([row.mean + (row.deviation or 0), 0, *row.values])
        note = mean_text(row) + (f"  (n = {row.n})" if row.n < most else "")
        axes.annotate(note, (reach, place), (5, 0), textcoords="offset points", va="center", fontsize=8)
    name_bars(axes, rows)
    axes.margins(x=0.28)
    error = f", mean ± standard deviation over {most} seeds" if most > 1 else ", one seed"
    axes.set_xlabel(f"{comparison.metric}{error} ({'less' if comparison.lower_is_better else 'more'} is better)")
    if comparison.lower_is_better is False and all(0 <= value <= 1 for row in rows for value in row.values):
        axes.set_xlim(0, 1.3)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    return figure


def parameters(_: History, comparison: Comparison) -> Figure | None:
    """The weights that each label trains, before all that its model has, on a log axis."""
    rows = [row for row in comparison.rows if row.costs.get("trained") and row.costs.get("parameters")]
    if not rows:
        return None
    figure, axes = bars(len(rows))
    least = min(row.costs["trained"] for row in rows)
    start = 10 ** math.floor(math.log10(least) - 0.3)
    for place, row in enumerate(rows):
        trained, total = row.costs["trained"], row.costs["parameters"]
        axes.barh(place, total - start, left=start, color="#DDDDDD", height=0.62, label="all" if place == 0 else None)
        axes.barh(place, trained - start, left=start, color=BLUE, height=0.62, label="trained" if place == 0 else None)
        text = f"{trained:,.0f}  ({100 * trained / total:.3g} %)"
        axes.annotate(text, (total, place), (5, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xscale("log")
    most = max(row.costs["parameters"] for row in rows)
    axes.set_xlim(start, most * (most / start) ** 0.42)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_minor_formatter("")
    name_bars(axes, rows)
    axes.set_xlabel("weights (log scale)")
    figure.legend(loc="outside lower right", ncols=2)
    return figure
