"""What taking weights away costs: the metric against the share of weights that are kept."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from ..comparison import Comparison, Row
from ..history.queries import History
from .style import BLACK, COLOURS, short


def kept_weights(_: History, comparison: Comparison) -> Figure | None:
    """The metric's mean against the weights kept, a line for each way of pruning; what was not pruned is a level line.

    Labels that differ only in the values that were swept make a line. Nothing if no label has been pruned.
    """
    pruned = [row for row in comparison.rows if row.values and "kept" in row.costs]
    if not pruned:
        return None
    figure = Figure(figsize=(6.4, 4.0))
    axes = figure.subplots()
    for number, (line, rows) in enumerate(_lines(comparison, pruned).items()):
        rows = sorted(rows, key=lambda row: row.costs["kept"])
        kept, mean = [100 * row.costs["kept"] for row in rows], [row.mean for row in rows]
        deviation = [row.deviation or 0.0 for row in rows]
        style = "osD^v"[number // len(COLOURS) % 5] + "-"
        colour = COLOURS[number % len(COLOURS)]
        axes.errorbar(kept, mean, deviation, fmt=style, color=colour, label=short(line), markersize=4, capsize=2)
    for row in comparison.rows:
        if row.values and "kept" not in row.costs:
            axes.axhline(row.mean, color=BLACK, linestyle=":", linewidth=1, label=short(row.label))
    axes.set_xscale("log")
    ticks = [tick for tick in (1, 2, 3, 5, 10, 15, 30, 50, 100) if _within(tick, pruned)]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("weights kept of those that may be pruned, % (log scale)")
    axes.set_ylabel(comparison.metric)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _lines(comparison: Comparison, rows: list[Row]) -> Mapping[str, list[Row]]:
    """The rows of each way of pruning."""
    ways = {outcome.label: outcome.way for outcome in comparison.outcomes}
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(ways[row.label], []).append(row)
    return lines


def _within(tick: float, rows: list[Row]) -> bool:
    kept = [100 * row.costs["kept"] for row in rows]
    return min(kept) / 1.2 <= tick <= max(kept) * 1.2
