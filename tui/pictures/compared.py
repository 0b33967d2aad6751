"""A comparison in cells: the table, the bars of the metric and of the trained weights, the curves."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.cells import cell_len

from ...core.tables import cost_columns
from ...core.text import printable
from .bars import Bar, beside, draw_bars, quantity
from .chart import Grid, Part, blank, marker, series_part
from .overlay import mean_of
from .series import Series

if TYPE_CHECKING:
    from ..comparing import Compared

SIDE_BY_SIDE = 72
"""From this width on, two sets of bars stand side by side."""

_GAP = 2
_LEAST_NAME = 10


def tables(compared: "Compared", width: int) -> list[Grid]:
    """Scores and costs: one table, or where there is no room for it two.

    Args:
        compared: what to show.
        width: in cells.
    """
    scores, costs = _columns(compared)
    if _width(scores) + _width(costs) + _LEAST_NAME + 2 <= width:
        return [_drawn(compared, [*scores, *costs], width)]
    return [_drawn(compared, scores, width), _drawn(compared, costs, width)]


def bars(compared: "Compared", width: int) -> Grid:
    """The metric with error bars, and beside it, where there is room, the trained weights on a logarithmic axis."""
    comparison = compared.comparison
    rows = [
        Bar(row.label, row.mean, cells[0], row.deviation, colour)
        for colour, (row, cells) in enumerate(zip(comparison.rows, compared.cells, strict=True))
    ]
    weights = [
        replace(bar, value=trained, text="–" if trained is None else quantity(trained), deviation=None)
        for bar, row in zip(rows, comparison.rows, strict=True)
        for trained in (row.costs.get("trained"),)
    ]
    if width < SIDE_BY_SIDE or all(bar.value is None for bar in weights):
        return draw_bars(rows, width, comparison.metric)
    left = (width - _GAP) * 3 // 5
    trained = draw_bars(weights, width - _GAP - left, "weights trained", log=True, names=False)
    return beside(draw_bars(rows, left, comparison.metric), trained, _GAP)


def curves(compared: "Compared") -> list[Series]:
    """The mean over seeds of each row's curves, one colour each."""
    drawn: list[Series] = []
    for colour, row in enumerate(compared.comparison.rows):
        points = compared.curves.get(row.label, [])
        own = [Series(row.label, each.steps.astype(float), each.values, colour) for each in points]
        if own:
            drawn.append(own[0] if len(own) == 1 else mean_of(own, row.label, colour))
    return drawn


_Column = tuple[str, Sequence[str]]


def _columns(compared: "Compared") -> tuple[list[_Column], list[_Column]]:
    """Heads and cells of scores and costs; columns without content are left out."""
    comparison = compared.comparison
    counts = ["one seed" if row.n == 1 else str(row.n) for row in comparison.rows]
    mean, best, difference, p = ([cells[at] for cells in compared.cells] for at in range(4))
    told = [
        "baseline" if row.label == comparison.baseline else cell
        for row, cell in zip(comparison.rows, difference, strict=True)
    ]
    scores = [(comparison.metric, mean), ("n", counts), ("best", best), ("difference [95 %]", told), ("p", p)]
    if len(comparison.rows) == 1:
        scores = scores[:3]
    return [column for column in scores if any(column[1])], [*cost_columns(comparison)]


def _width(columns: Sequence[_Column]) -> int:
    return sum(_GAP + max(map(cell_len, (printable(head), *cells))) for head, cells in columns)


def _drawn(compared: "Compared", columns: Sequence[_Column], width: int) -> Grid:
    """Names at the left, cut if they must be, then the columns; those that have no room are left out."""
    labels = [printable(row.label) for row in compared.comparison.rows]
    while len(columns) > 1 and _width(columns) + _LEAST_NAME + 2 > width:
        columns = columns[:-1]
    grid = blank(width, len(labels) + 1)
    room = max(0, min(max(map(cell_len, labels), default=0), width - 2 - _width(columns)))
    for row, name in enumerate(labels, 1):
        grid.put(row, 0, marker(row - 1), series_part(row - 1))
        grid.put(row, 2, name if cell_len(name) <= room else name[: max(0, room - 1)] + "…", Part.LABEL)
    x = 2 + room
    for head, cells in columns:
        x += _width([(head, cells)])
        grid.put(0, x - cell_len(printable(head)), printable(head), Part.AXIS)
        for row, cell in enumerate(cells, 1):
            grid.put(row, x - cell_len(cell), cell, Part.TITLE if head == compared.comparison.metric else Part.LABEL)
    return grid
