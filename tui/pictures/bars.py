"""Bars as a grid of characters: one row for each thing compared, error bars, a plain or a logarithmic axis.

A bar is a heavy line with a sign at its end, in a colour and a sign of its own, as in charts. Pure functions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from ...core.text import printable
from . import axes
from .chart import Grid, Part, blank, marker, series_part

_SHARE_FROM_ZERO = 0.3
"""Bars begin at 0 if they differ by at least this share of the longest; else near the shortest."""

_LEAST_COLUMNS = 8
_MOST_NAME = 24


@dataclass(frozen=True)
class Bar:
    """One row.

    Attributes:
        name: foreign text is allowed.
        value: where the bar ends; nothing is drawn for None, NaN and infinities.
        text: the value in words, at the right end of the row; printable.
        deviation: half the length of the error bar; None for none.
        colour: index into the series colours.
    """

    name: str
    value: float | None
    text: str = ""
    deviation: float | None = None
    colour: int = 0


@dataclass(frozen=True)
class _Axis:
    """From values to columns."""

    low: float
    high: float
    log: bool
    left: int
    columns: int

    def column(self, value: float) -> int:
        place = (self._height(value) - self._height(self.low)) / (self._height(self.high) - self._height(self.low))
        return self.left + min(self.columns - 1, max(0, round(place * (self.columns - 1))))

    def _height(self, value: float) -> float:
        return math.log10(max(value, axes.LEAST)) if self.log else value


def draw_bars(
    bars: Sequence[Bar], width: int, title: str = "", *, log: bool = False, names: bool = True, ascii_only: bool = False
) -> Grid:
    """The bars, a title above and an axis below: `len(bars)` + 2 rows.

    Args:
        bars: from top to bottom.
        width: in cells; with too little room for bars there are names and texts only.
        title: what is measured.
        log: a logarithmic axis; values that are not positive have no bar.
        names: write the names at the left; else only the signs.
        ascii_only: use no other characters.
    """
    grid = blank(max(0, width), len(bars) + 2)
    grid.put(0, 0, printable(title), Part.TITLE)
    axis = _axis(bars, width, log, names)
    for row, bar in enumerate(bars, 1):
        name = printable(bar.name) if names else ""
        grid.put(row, 0, marker(bar.colour, ascii_only), series_part(bar.colour))
        grid.put(row, 2, _shortened(name, _name_width(bars, names, width)), Part.LABEL)
        grid.put(row, width - cell_len(bar.text), bar.text, Part.LABEL)
        if axis is not None and _drawable(bar.value, log):
            _bar(grid, row, bar, axis, ascii_only)
    if axis is not None:
        _ticks(grid, len(bars) + 1, axis)
    return grid


def _axis(bars: Sequence[Bar], width: int, log: bool, names: bool) -> _Axis | None:
    """The axis between names and texts; None if there is no room, or nothing to draw."""
    left = 3 + _name_width(bars, names, width) if names else 2
    right = max((cell_len(bar.text) for bar in bars), default=0)
    columns = width - left - (right + 2 if right else 0)
    ends = [end for bar in bars if _drawable(bar.value, log) for end in _ends(bar, log)]
    if columns < _LEAST_COLUMNS or not ends:
        return None
    low, high = min(ends), max(ends)
    if log:
        low, high = 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))
        return _Axis(low, high if high > low else 10 * low, True, left, columns)
    if low >= 0 and high - low >= _SHARE_FROM_ZERO * high:
        low = 0.0
    return _Axis(*axes.y_domain(low, high, False), False, left, columns)


def _bar(grid: Grid, row: int, bar: Bar, axis: _Axis, ascii_only: bool) -> None:
    line, first, last, rule = ("=", "|", "|", "-") if ascii_only else ("━", "├", "┤", "─")
    assert bar.value is not None
    end, part = axis.column(bar.value), series_part(bar.colour)
    grid.put(row, axis.left, line * (end - axis.left), part)
    if _reach(bar):
        low, high = (axis.column(x) for x in (bar.value - _reach(bar), bar.value + _reach(bar)))
        if low < end or high > end:
            grid.put(row, low, first + rule * max(0, high - low - 1) + last, part)
    grid.put(row, end, marker(bar.colour, ascii_only), part)


def _ticks(grid: Grid, row: int, axis: _Axis) -> None:
    """The values along the axis, as many as fit."""
    count = max(2, axis.columns // 10)
    values = axes.log_ticks(axis.low, axis.high, count) if axis.log else axes.ticks(axis.low, axis.high, count)
    labels = [quantity(value) for value in values] if axis.log else axes.tick_labels(values)
    taken = -1
    for value, label in zip(values, labels, strict=True):
        start = min(max(axis.column(value) - (len(label) - 1) // 2, axis.left), grid.characters.shape[1] - len(label))
        if start > taken:
            taken = grid.put(row, start, label, Part.AXIS)


def quantity(value: float) -> str:
    """A count in few characters: ``258``, ``4.35k``, ``1.2M``."""
    for unit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit * 0.9995:
            return f"{value / unit:.3g}{suffix}"
    return f"{value:.3g}"


def _ends(bar: Bar, log: bool) -> tuple[float, float]:
    assert bar.value is not None
    low = bar.value - _reach(bar)
    return (low if low >= axes.LEAST or not log else bar.value), bar.value + _reach(bar)


def _reach(bar: Bar) -> float:
    """Half the length of the error bar; 0 if it cannot be drawn."""
    return bar.deviation if bar.deviation is not None and bar.deviation <= axes.LARGEST else 0.0


def _drawable(value: float | None, log: bool) -> bool:
    return value is not None and abs(value) <= axes.LARGEST and (value >= axes.LEAST or not log)


def _name_width(bars: Sequence[Bar], names: bool, width: int) -> int:
    longest = max((cell_len(printable(bar.name)) for bar in bars), default=0)
    return min(longest, _MOST_NAME, max(6, width // 3)) if names else 0


def _shortened(name: str, width: int) -> str:
    """The beginning of the name, with ``…`` where it is cut."""
    if cell_len(name) <= width:
        return name
    while name and cell_len(name) > width - 1:
        name = name[:-1]
    return name + "…"


def beside(left: Grid, right: Grid, gap: int = 2) -> Grid:
    """Two grids side by side, the lower one filled up."""
    height = max(left.characters.shape[0], right.characters.shape[0])
    width = left.characters.shape[1] + gap + right.characters.shape[1]
    both = blank(width, height)
    for grid, x in ((left, 0), (right, left.characters.shape[1] + gap)):
        h, w = grid.characters.shape
        both.characters[:h, x : x + w] = grid.characters
        both.parts[:h, x : x + w] = grid.parts
    return replace(both, frame=None)
