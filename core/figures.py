"""Pictures of results: curves, metrics, sizes, learning rates, and how much of its rank a LoRA update uses.

Drawn with matplotlib, without a screen and without its global state; the same results give the same SVG, byte for
byte. Colours are those of Okabe and Ito, which people with any colour vision tell apart.
"""

import contextlib
import math
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from .comparison import LOWER_IS_BETTER, Comparison, Outcome, Row
from .errors import MachineError
from .history.queries import History
from .tables import mean_text
from .text import printable, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("svg", "png", "pdf", "jpg")
"""What pictures can be saved as."""

_BLUE, _ORANGE, _GREEN, _RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
_PURPLE, _SKY, _BLACK = "#CC79A7", "#56B4E9", "#000000"
_COLOURS = (_BLUE, _ORANGE, _GREEN, _RED, _PURPLE, _SKY, _BLACK)
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "text.parse_math": False,  # names are data
    "svg.hashsalt": "lmwb",
    "svg.fonttype": "path",
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
}
_BINS = 100
"""Points of a training curve; each is the mean of the steps around it."""
_NAMED = 12
"""Lines that a legend names."""
_LABEL = 28
"""Characters of a name that fit beside a picture."""


@dataclass(frozen=True)
class Picture:
    """A picture that can be saved."""

    figure: Figure

    def save(self, path: Path) -> None:
        """Write it in the format that the path's suffix names, one of `FORMATS`.

        Raises:
            MachineError: the disk does not take it.
        """
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:])
        with _styled():
            try:
                self.figure.savefig(path, format=path.suffix[1:], metadata=metadata)
            except OSError as error:
                raise MachineError(f"cannot write the picture {path}: {error.strerror}") from None


def draw(kind: str, history: History, comparison: Comparison) -> Picture | None:
    """One picture of the outcomes that a comparison was made from; None if there is nothing to show.

    Args:
        kind: one of `KINDS`.
        history: where the curves are.
        comparison: says which stages of which runs, and the metric.
    """
    with _styled():
        figure = KINDS[kind](history, comparison)
    return None if figure is None else Picture(figure)


def draw_all(history: History, comparison: Comparison) -> Iterator[tuple[str, Picture]]:
    """Every kind of picture that there is something to show in, with its name."""
    for kind in KINDS:
        if picture := draw(kind, history, comparison):
            yield kind, picture


def draw_probabilities(panels: Sequence[tuple[str, Mapping[str, NDArray[np.float32]]]]) -> Picture:
    """The probability of each token of some texts, a panel for each prompt.

    Args:
        panels: the prompt, foreign text, and a curve of probabilities for each name.
    """
    with _styled():
        figure = Figure(figsize=(6.4, 2.3 * len(panels) + 0.9))
        handles: dict[str, Any] = {}
        grid: Any = figure.subplots(len(panels), 1, squeeze=False, sharex=True, sharey=True)
        for axes, (prompt, curves) in zip(grid.flat, panels, strict=True):
            axes.set_title(_short(prompt, 80))
            axes.set_ylabel("probability")
            axes.set_ylim(-0.03, 1.03)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            for number, (name, p) in enumerate(curves.items()):
                style = "osD^v"[number % 5] + ("-", "--", ":", "-.")[number // len(_COLOURS) % 4]
                colour = _COLOURS[number % len(_COLOURS)]
                label = _short(name, 60)
                wide = 1.2 + 1.8 * (len(curves) - number - 1)  # of those that lie on each other, each can be seen
                steps = range(1, len(p) + 1)
                handles[label] = axes.plot(steps, p, style, color=colour, markersize=2 + wide, linewidth=wide)[0]
        grid[-1, 0].set_xlabel("generated token")
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(3, max(1, len(handles))))
    return Picture(figure)


# -- the kinds ------------------------------------------------------------------------------------


def _curves(history: History, comparison: Comparison) -> Figure | None:
    """Loss, and the metric on a second axis, over the steps; a panel for each label, a band over its seeds."""
    metric = comparison.metric.rpartition("/")[2]
    twin = None if metric in LOWER_IS_BETTER else f"validation/{metric}"
    wanted = {name: _BINS if name == "train/loss" else None for name in ("train/loss", "validation/loss", twin) if name}
    panels = {
        row.label: {name: _bundle(history, _of(comparison, row), name, bins) for name, bins in wanted.items()}
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
        first.set_title(_short(label, 36))
        last_line = number + columns >= len(panels)
        first.set_xlabel("step" if last_line else "")
        first.set_ylabel("loss" if number % columns == 0 else "")
        first.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        handles |= _band(first, curves["train/loss"], _BLUE, "training loss", alpha=0.55)
        handles |= _band(first, curves["validation/loss"], _BLUE, "validation loss", style="--")
        if twin and len(curves[twin].steps):
            second = first.twinx()
            second.spines["right"].set_visible(True)
            handles |= _band(second, curves[twin], _RED, f"validation {metric}")
            second.tick_params(axis="y", colors=_RED)
            right = number % columns == columns - 1 or number == len(panels) - 1
            second.set_ylabel(metric if right else "", color=_RED)
            second.tick_params(axis="y", labelright=right)
            seconds.append(second)
    _share_limits(seconds)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _metric(_: History, comparison: Comparison) -> Figure | None:
    """The metric's mean for each label, with its standard deviation and a point for each seed."""
    rows = [row for row in comparison.rows if row.values]
    most = max(row.n for row in rows)
    figure, axes = _bars(len(rows))
    for place, row in enumerate(rows):
        axes.barh(place, row.mean, xerr=row.deviation, color=_BLUE, alpha=0.75, height=0.62, capsize=3)
        if row.n > 1:
            spread = np.linspace(-0.18, 0.18, row.n)
            axes.plot(row.values, place + spread, "o", color=_BLACK, markersize=2.5, alpha=0.8)
        reach = max([row.mean + (row.deviation or 0), 0, *row.values])
        note = mean_text(row) + (f"  (n = {row.n})" if row.n < most else "")
        axes.annotate(note, (reach, place), (5, 0), textcoords="offset points", va="center", fontsize=8)
    _name_bars(axes, rows)
    axes.margins(x=0.28)
    error = f", mean ± standard deviation over {most} seeds" if most > 1 else ", one seed"
    axes.set_xlabel(f"{comparison.metric}{error} ({'less' if comparison.lower_is_better else 'more'} is better)")
    if comparison.lower_is_better is False and all(0 <= value <= 1 for row in rows for value in row.values):
        axes.set_xlim(0, 1.3)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    return figure


def _parameters(_: History, comparison: Comparison) -> Figure | None:
    """The weights that each label trains, before all that its model has, on a log axis."""
    rows = [row for row in comparison.rows if row.costs.get("trained") and row.costs.get("parameters")]
    if not rows:
        return None
    figure, axes = _bars(len(rows))
    least = min(row.costs["trained"] for row in rows)
    start = 10 ** math.floor(math.log10(least) - 0.3)
    for place, row in enumerate(rows):
        trained, total = row.costs["trained"], row.costs["parameters"]
        axes.barh(place, total - start, left=start, color="#DDDDDD", height=0.62, label="all" if place == 0 else None)
        axes.barh(place, trained - start, left=start, color=_BLUE, height=0.62, label="trained" if place == 0 else None)
        text = f"{trained:,.0f}  ({100 * trained / total:.3g} %)"
        axes.annotate(text, (total, place), (5, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xscale("log")
    most = max(row.costs["parameters"] for row in rows)
    axes.set_xlim(start, most * (most / start) ** 0.42)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_minor_formatter("")
    _name_bars(axes, rows)
    axes.set_xlabel("weights (log scale)")
    figure.legend(loc="outside lower right", ncols=2)
    return figure


def _learning_rates(history: History, comparison: Comparison) -> Figure | None:
    """The learning rate over the steps, a line for each label; one for those that are alike."""
    curves: dict[bytes, tuple[_Bundle, list[str]]] = {}
    for row in comparison.rows:
        curve = _bundle(history, _of(comparison, row)[:1], "train/lr", None)
        if len(curve.steps):
            curves.setdefault(curve.steps.tobytes() + curve.mean.tobytes(), (curve, []))[1].append(row.label)
    if not curves:
        return None
    figure = Figure(figsize=(6.2, 3.2))
    axes = figure.subplots()
    for number, (curve, labels) in enumerate(curves.values()):
        dashes = ("-", "--", ":", "-.")[number // len(_COLOURS) % 4]
        axes.plot(curve.steps, curve.mean, dashes, color=_COLOURS[number % len(_COLOURS)], label=_listed(labels))
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _spectrum(history: History, comparison: Comparison) -> Figure | None:
    """The singular values of each LoRA update, of the first seed, beside each other: how much of the rank is used."""
    found = [(row.label, _spectra(history, _of(comparison, row))) for row in comparison.rows]
    found = [(label, spectra) for label, spectra in found if spectra]
    if not found:
        return None
    figure = Figure(figsize=(max(5.0, 3.6 * len(found) + 1.6), 3.4))
    axes: Any = figure.subplots(1, len(found), squeeze=False, sharey=True)
    for panel, (label, spectra) in zip(axes.flat, found, strict=True):
        for number, (module, values) in enumerate(spectra.items()):
            style = "osD^v"[number // len(_COLOURS) % 5] + "-"
            colour = _COLOURS[number % len(_COLOURS)]
            shown = _short(module, 40)
            panel.plot(range(1, len(values) + 1), values, style, color=colour, label=shown, markersize=3.5, linewidth=1)
        panel.set_title(_short(label, 36))
        panel.set_xlabel("singular value, by size")
        panel.set_ylim(bottom=0)
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        handles, names = panel.get_legend_handles_labels()
        more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
        panel.legend(handles[: _NAMED + len(more)], names[:_NAMED] + more, loc="upper right", fontsize=7)
    axes.flat[0].set_ylabel("size in the update BA")
    return figure


KINDS: Mapping[str, Callable[[History, Comparison], Figure | None]] = {
    "curves": _curves,
    "metric": _metric,
    "parameters": _parameters,
    "lr": _learning_rates,
    "spectrum": _spectrum,
}


# -- data -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bundle:
    """Curves of several seeds as one: at each step their mean, and their standard deviation (0 for one seed)."""

    steps: Any
    mean: Any
    deviation: Any


def _of(comparison: Comparison, row: Row) -> list[Outcome]:
    return [each for each in comparison.outcomes if each.label == row.label]


def _bundle(history: History, outcomes: Sequence[Outcome], metric: str, bins: int | None) -> _Bundle:
    curves: list[dict[float, float]] = []
    for outcome in outcomes:
        stages = {stage.name: stage.id for stage in history.stages(history.find(outcome.uid).id)}
        points = history.points(stages[outcome.stage], metric)
        if len(points):
            curves.append(_binned(points.steps, points.values, bins))
    steps = sorted(set().union(*curves)) if curves else []
    columns = [[curve[step] for curve in curves if step in curve] for step in steps]
    mean = [float(np.mean(column)) for column in columns]
    deviation = [float(np.std(column, ddof=1)) if len(column) > 1 else 0.0 for column in columns]
    return _Bundle(np.array(steps), np.array(mean), np.array(deviation))


def _binned(steps: Any, values: Any, bins: int | None) -> dict[float, float]:
    """A curve as a dictionary; long ones as the means of spans of equal length, by the middle of the span."""
    if bins is None or len(steps) <= bins:
        return {float(step): float(value) for step, value in zip(steps, values, strict=True)}
    width = math.ceil((int(steps[-1]) + 1) / bins)
    groups = steps // width
    return {float(g * width + width / 2): float(np.mean(values[groups == g])) for g in np.unique(groups)}


def _spectra(history: History, outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    for outcome in outcomes:
        for stage in history.stages(history.find(outcome.uid).id):
            found = stage.summary.get("spectrum")
            if stage.name == outcome.stage and isinstance(found, dict) and found:
                return {str(module): [float(value) for value in values] for module, values in found.items()}
    return {}


# -- drawing --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _styled() -> Generator[None]:
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def _band(axes: "Axes", curve: _Bundle, colour: str, name: str, style: str = "-", alpha: float = 1.0) -> dict[str, Any]:
    """A line with a band of one standard deviation around it; returns its handle for the legend."""
    if not len(curve.steps):
        return {}
    marker = "o" if len(curve.steps) == 1 else None
    (line,) = axes.plot(curve.steps, curve.mean, style, color=colour, alpha=alpha, marker=marker)
    if curve.deviation.any():
        low, high = curve.mean - curve.deviation, curve.mean + curve.deviation
        axes.fill_between(curve.steps, low, high, color=colour, alpha=0.18, linewidth=0)
    return {name: line}


def _share_limits(axes: "Sequence[Axes]") -> None:
    if axes:
        limits = [each.get_ylim() for each in axes]
        for each in axes:
            each.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _bars(n: int) -> tuple[Figure, "Axes"]:
    figure = Figure(figsize=(6.4, 0.36 * n + 1.1))
    return figure, figure.subplots()


def _name_bars(axes: "Axes", rows: Sequence[Row]) -> None:
    axes.set_yticks(range(len(rows)), [_short(row.label) for row in rows])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)


def _short(label: str, length: int = _LABEL) -> str:
    return shorten(printable(label), length)


def _listed(labels: Sequence[str]) -> str:
    """The names of lines that lie on each other."""
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    return ", ".join(_short(label) for label in labels[:3]) + more
