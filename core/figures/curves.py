"""Curves over the steps: loss and metric, learning rates."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..comparison import LOWER_IS_BETTER, Comparison
from ..history.queries import History
from .bundles import Bundle, bundle, outcomes_of
from .style import BLUE, COLOURS, RED, band, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 100
"""Points of a training curve; each is the mean of the steps around it."""


def curves(history: History, comparison: Comparison) -> Figure | None:
    """Loss, and the metric on a second axis, over the steps; a panel for each label, a band over its seeds."""
    metric = comparison.metric.rpartition("/")[2]
    twin = None if metric in LOWER_IS_BETTER else f"validation/{metric}"
    wanted = {name: _BINS if name == "train/loss" else None for name in ("train/loss", "validation/loss", twin) if name}
    panels = {
        row.label: {name: bundle(history, outcomes_of(comparison, row), name, bins) for name, bins in wanted.items()}
        for row in comparison.rows
    }
    panels = {label: curves for label, curves in panels.items() if any(len(curve.steps) for curve in curves.values())}
    if not panels:
        return None
    columns = min(len(panels), 3)
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(max(5.0, 3.1 * columns + 0.6), 2.5 * lines + 0.7))
    axes: Any = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for spare in axes.flat[len(panels) :]:
        spare.set_visible(False)
    seconds: list[Axes] = []
    handles: dict[str, Any] = {}
    for number, (label, curves) in enumerate(panels.items()):
        first: Axes = axes.flat[number]
        first.set_title(short(label, 36))
        last_line = number + columns >= len(panels)
        first.set_xlabel("step" if last_line else "")
        first.set_ylabel("loss" if number % columns == 0 else "")
        first.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        handles |= band(first, curves["train/loss"], BLUE, "training loss", alpha=0.55)
        handles |= band(first, curves["validation/loss"], BLUE, "validation loss", style="--")
        if twin and len(curves[twin].steps):
            second = first.twinx()
            second.spines["right"].set_visible(True)
            handles |= band(second, curves[twin], RED, f"validation {metric}")
            second.tick_params(axis="y", colors=RED)
            right = number % columns == columns - 1 or number == len(panels) - 1
            second.set_ylabel(metric if right else "", color=RED)
            second.tick_params(axis="y", labelright=right)
            seconds.append(second)
    _share_limits(seconds)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def learning_rates(history: History, comparison: Comparison) -> Figure | None:
    """The learning rate over the steps, a line for each label; one for those that are alike."""
    curves: dict[bytes, tuple[Bundle, list[str]]] = {}
    for row in comparison.rows:
        curve = bundle(history, outcomes_of(comparison, row)[:1], "train/lr", None)
        if len(curve.steps):
            curves.setdefault(curve.steps.tobytes() + curve.mean.tobytes(), (curve, []))[1].append(row.label)
    if not curves:
        return None
    figure = Figure(figsize=(6.2, 3.2))
    axes = figure.subplots()
    for number, (curve, labels) in enumerate(curves.values()):
        dashes = ("-", "--", ":", "-.")[number // len(COLOURS) % 4]
        axes.plot(curve.steps, curve.mean, dashes, color=COLOURS[number % len(COLOURS)], label=_listed(labels))
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _share_limits(axes: "Sequence[Axes]") -> None:
    if axes:
        limits = [each.get_ylim() for each in axes]
        for each in axes:
            each.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _listed(labels: Sequence[str]) -> str:
    """The names of lines that lie on each other."""
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return ", ".join(short(label) for label in labels[:3]) + more
