"""Curves as a grid of characters: axes, lines in braille dots, gaps, markers and a legend.

`draw` is a pure function from numpy arrays to a `Grid`, which knows no terminal: the app's chart widget, the
command line and the tests all use it. Eight series of a million points take about 20 milliseconds.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from ...core.text import printable
from . import axes, raster
from .series import Point, Series, best_of, last_of, value_at

MARKERS = "•▴▪◆▾○+x"
ASCII_MARKERS = "*^#%vo+x"
SERIES_COLOURS = 8
"""Series colours repeat after this many; markers do too."""

_NEAR = 12
"""Cells; see `changes`."""


class Part(IntEnum):
    """What a cell belongs to; series colours follow, see `series_part`."""

    BLANK = 0
    AXIS = 1
    LABEL = 2
    GUIDE = 3
    TITLE = 4
    CURSOR = 5
    NOTE = 6
    SERIES = 8


def series_part(colour: int, faint: bool = False) -> int:
    """The style index of a series' cells."""
    return Part.SERIES + 2 * (colour % SERIES_COLOURS) + faint


@dataclass(frozen=True)
class View:
    """What part of the plane to show; None means all that there is.

    Attributes:
        x0, x1: left and right end.
        y0, y1: bottom and top.
        log_y: a logarithmic y axis, if any value is positive.
    """

    x0: float | None = None
    x1: float | None = None
    y0: float | None = None
    y1: float | None = None
    log_y: bool = False


@dataclass(frozen=True)
class Frame:
    """Where the plot area lies in the grid, and what it shows.

    Attributes:
        x0, x1, y0, y1: the domain, in the data's units.
        log_y: the y axis is logarithmic.
        left, top, columns, rows: the plot area, in cells.
    """

    x0: float
    x1: float
    y0: float
    y1: float
    log_y: bool
    left: int
    top: int
    columns: int
    rows: int

    def column(self, x: float) -> int | None:
        """The grid column of `x`, or None if it is not in view."""
        if not self.x0 <= x <= self.x1:
            return None
        return self.left + min(self.columns - 1, int((x - self.x0) / (self.x1 - self.x0) * self.columns))

    def row(self, y: float) -> int | None:
        """The grid row of `y`, or None if it is not in view."""
        if not (math.isfinite(y) and self.y0 <= y <= self.y1):
            return None
        share = (self.height(self.y1) - self.height(y)) / (self.height(self.y1) - self.height(self.y0))
        return self.top + min(self.rows - 1, round(share * (4 * self.rows - 1)) // 4)

    def x_at(self, column: float) -> float:
        """The x value at the middle of a grid column."""
        return self.x0 + (self.x1 - self.x0) * (column - self.left + 0.5) / self.columns

    def height(self, y: float) -> float:
        """Where `y` lies along the axis, in data units or their logarithm."""
        return math.log10(y) if self.log_y else y


@dataclass(frozen=True, eq=False)
class Grid:
    """A drawn chart.

    Attributes:
        characters: (h, w) str; the second cell of a wide character is empty.
        parts: (h, w) uint8, a `Part` or `series_part` each.
        frame: the plot area; None if there was nothing to draw or no room.
    """

    characters: NDArray[np.str_]
    parts: NDArray[np.uint8]
    frame: Frame | None

    def __str__(self) -> str:
        return "\n".join("".join(row).rstrip() for row in self.characters.tolist())

    def runs(self, row: int) -> Iterator[tuple[str, int]]:
        """One row as pieces of text with their style index."""
        parts, characters = self.parts[row], self.characters[row].tolist()
        cuts = [0, *(np.flatnonzero(parts[1:] != parts[:-1]) + 1).tolist(), len(parts)]
        for start, stop in itertools.pairwise(cuts):
            yield "".join(characters[start:stop]), int(parts[start])

    def put(self, row: int, column: int, text: str, part: int) -> int:
        """Write printable text, cut at the right border; the column after it."""
        h, w = self.characters.shape
        for character in text if 0 <= row < h else "":
            width = cell_len(character)
            if width == 0 and 0 < column <= w:
                self.characters[row, column - 1] += character
            if width and column >= 0 and column + width <= w:
                self._give_up_halves(row, column, column + width)
                self.characters[row, column] = character
                self.characters[row, column + 1 : column + width] = ""
                self.parts[row, column : column + width] = part
            column += width
        return column

    def _give_up_halves(self, row: int, first: int, end: int) -> None:
        """Put spaces for the halves of wide characters that what is written from `first` to `end` leaves over."""
        cells = self.characters[row]
        if cells[first] == "" and first > 0:
            cells[first - 1] = " "
        if end < len(cells) and cells[end] == "":
            cells[end] = " "


def blank(width: int, height: int) -> Grid:
    """A grid of spaces."""
    return Grid(np.full((height, width), " ", "<U4"), np.zeros((height, width), np.uint8), None)


def draw(
    series: Sequence[Series],
    width: int,
    height: int,
    view: View | None = None,
    *,
    title: str = "",
    x_label: str = "",
    x_end: float | None = None,
    duration: bool = False,
    kept: Frame | None = None,
    cursor: float | None = None,
    ascii_only: bool = False,
    guides: bool = True,
    latest: bool = True,
) -> Grid:
    """The curves as a grid of `width` × `height` cells.

    Args:
        series: later ones are painted over earlier ones.
        width, height: in cells; with too little room for axes the grid is blank.
        view: the part of the plane to show.
        title: at the start of the first row, before the legend.
        x_label: what x counts; at the end of the last row.
        x_end: where x is to end if the data doesn't go further, such as the planned number of steps.
        duration: x is in seconds.
        kept: the frame of the picture before; its y axis is kept while the data fits.
        cursor: an x value; the measurement nearest to it is marked, and the legend shows the values there.
        ascii_only: use no other characters.
        guides: faint lines at the ticks of the y axis, if there is room.
        latest: the legend tells the last value of each series.
    """
    grid = blank(max(0, width), max(0, height))
    view = view or View()
    frame = _frame(series, width, height, view, x_end, kept)
    if frame is None:
        return grid
    grid = replace(grid, frame=frame)
    pointer = None if cursor is None else _nearest(series, cursor)
    _y_axis(grid, frame, ascii_only, guides and frame.rows >= 8)
    _x_axis(grid, frame, x_label, duration, pointer, ascii_only)
    bad = [(one, _line(grid, frame, one, ascii_only)) for one in sorted(series, key=lambda s: not s.faint)]
    for one, where in bad:
        if not one.faint:
            _gaps(grid, frame, one, where, ascii_only)
    for one in series:
        _markers(grid, frame, one, ascii_only)
    if pointer is not None:
        _pointer(grid, frame, pointer, ascii_only)
    _legend(grid, series, title, pointer, duration, ascii_only, latest)
    return grid


def changes(old: Grid, new: Grid) -> list[tuple[int, int, int]] | None:
    """Where two grids differ: (row, first column, column after the last) each; None if their sizes differ.

    Cells between two changes that are near each other count as changed: to go there costs more than to repeat them.
    """
    if old.characters.shape != new.characters.shape:
        return None
    different = (old.characters != new.characters) | (old.parts != new.parts)
    spans: list[tuple[int, int, int]] = []
    for row in np.flatnonzero(different.any(axis=1)).tolist():
        where = np.flatnonzero(different[row])
        cuts = np.flatnonzero(np.diff(where) > _NEAR)
        firsts, lasts = where[np.append(0, cuts + 1)], where[np.append(cuts, len(where) - 1)]
        spans.extend((row, first, last + 1) for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True))
    return spans


def _frame(
    series: Sequence[Series], width: int, height: int, view: View, x_end: float | None, kept: Frame | None
) -> Frame | None:
    """The domain and the plot area; None if there is no data or no room."""
    full = [s for s in series if len(s)]
    if not full or width < 12 or height < 4:
        return None
    low, high = min(float(s.x[0]) for s in full), max(float(s.x[-1]) for s in full)
    x0, x1 = axes.x_domain(low, high, x_end)
    x0, x1 = view.x0 if view.x0 is not None else x0, view.x1 if view.x1 is not None else x1
    if x1 <= x0:
        return None
    log = view.log_y and any(raster.extent(s, x0, x1, True) for s in full)
    found = [e for e in (raster.extent(s, x0, x1, log) for s in full) if e]
    low, high = min((e[0] for e in found), default=0.0), max((e[1] for e in found), default=1.0)
    settled = (kept.y0, kept.y1) if kept and kept.log_y == log else None
    y0, y1 = axes.y_domain(low, high, log, settled)
    if view.y0 is not None and view.y1 is not None and view.y0 < view.y1 and (view.y0 >= axes.LEAST or not log):
        y0, y1 = view.y0, view.y1
    top = 1
    rows = height - top - (2 if height >= 8 else 1)
    labels = axes.tick_labels(_y_ticks(y0, y1, log, rows))
    left = max([4, *map(len, labels)]) + 2
    if width - left < 4:
        return None
    return Frame(x0, x1, y0, y1, log, left, top, width - left, rows)


def _y_ticks(y0: float, y1: float, log: bool, rows: int) -> list[float]:
    count = max(2, min(8, (rows + 2) // 3 + 1))
    return axes.log_ticks(y0, y1, count) if log else axes.ticks(y0, y1, count)


def _y_axis(grid: Grid, frame: Frame, ascii_only: bool, guides: bool) -> None:
    wall, notch, guide = ("|", "+", "-") if ascii_only else ("│", "┤", "┈")
    for row in range(frame.top, frame.top + frame.rows):
        grid.put(row, frame.left - 1, wall, Part.AXIS)
    values = _y_ticks(frame.y0, frame.y1, frame.log_y, frame.rows)
    for value, label in zip(values, axes.tick_labels(values), strict=True):
        row = frame.row(min(max(value, frame.y0), frame.y1))
        if row is None:
            continue
        grid.put(row, frame.left - 2 - len(label) + 1, label, Part.LABEL)
        grid.put(row, frame.left - 1, notch, Part.AXIS)
        if guides and not ascii_only:
            grid.put(row, frame.left, guide * frame.columns, Part.GUIDE)


def _x_axis(grid: Grid, frame: Frame, x_label: str, duration: bool, pointer: float | None, ascii_only: bool) -> None:
    """The floor with its ticks, if there is a row for it, and their labels; the pointer's label comes first."""
    corner, floor, notch = ("+", "-", "+") if ascii_only else ("└", "─", "┬")
    bottom, width = frame.top + frame.rows, grid.characters.shape[1]
    lined = grid.characters.shape[0] > bottom + 1
    if lined:
        grid.put(bottom, frame.left - 1, corner + floor * frame.columns, Part.AXIS)
    words = printable(x_label)
    taken = [range(0, grid.put(bottom + lined, 0, words, Part.TITLE) if cell_len(words) < frame.left else 0)]
    values = axes.ticks(frame.x0, frame.x1, max(2, frame.columns // 12), duration)
    labels = list(zip(values, axes.tick_labels(values, duration), [Part.LABEL] * len(values), strict=True))
    if pointer is not None:
        labels.insert(0, (pointer, axes.span(pointer) if duration else axes.number(pointer, 6), Part.CURSOR))
    for value, label, part in labels:
        column = frame.column(value)
        if column is None:
            continue
        if lined:
            grid.put(bottom, column, notch, Part.AXIS)
        start = max(0, min(column - (len(label) - 1) // 2, width - len(label)))
        if all(start + len(label) < other.start or start > other.stop for other in taken):
            taken.append(range(start, grid.put(bottom + lined, start, label, part)))


def _line(grid: Grid, frame: Frame, series: Series, ascii_only: bool) -> NDArray[np.bool_]:
    """The curve; (columns,) bool, where it has values that can't be drawn."""
    across, down = (1, 2) if ascii_only else (2, 4)
    part = raster.columns(series, frame.x0, frame.x1, across * frame.columns, frame.log_y)
    covered = raster.dots(part, frame.height(frame.y0), frame.height(frame.y1), down * frame.rows)
    characters = raster.plain(covered) if ascii_only else raster.braille(covered)
    area = np.s_[frame.top : frame.top + frame.rows, frame.left : frame.left + frame.columns]
    drawn = characters != " "
    grid.characters[area][drawn] = characters[drawn]
    grid.parts[area][drawn] = series_part(series.colour, series.faint)
    return np.asarray(part.bad.reshape(frame.columns, across).any(axis=1))


def _gaps(grid: Grid, frame: Frame, series: Series, bad: NDArray[np.bool_], ascii_only: bool) -> None:
    """A sign on the floor in each column marked in `bad`."""
    for column in np.flatnonzero(bad).tolist():
        grid.put(
            frame.top + frame.rows - 1, frame.left + column, "!" if ascii_only else "✗", series_part(series.colour)
        )


def _markers(grid: Grid, frame: Frame, series: Series, ascii_only: bool) -> None:
    """Single measurements if they are far apart, the latest one, and the best one."""
    part = raster.visible(series, frame.x0, frame.x1)
    shown = range(part.start, part.stop)
    if len(shown) > frame.columns // 6:
        shown = range(len(series) - 1, part.stop)
    for i in shown if not series.faint else ():
        _mark(grid, frame, Point(float(series.x[i]), float(series.y[i])), marker(series.colour, ascii_only), series)
    if (best := best_of(series)) is not None:
        _mark(grid, frame, best, "@" if ascii_only else "●", series)


def marker(colour: int, ascii_only: bool = False) -> str:
    """The sign that tells a series from others without its colour."""
    return (ASCII_MARKERS if ascii_only else MARKERS)[colour % SERIES_COLOURS]


def _mark(grid: Grid, frame: Frame, point: Point, sign: str, series: Series) -> None:
    column, row = frame.column(point.x), frame.row(point.y)
    if column is not None and row is not None:
        grid.put(row, column, sign, series_part(series.colour))


def _nearest(series: Sequence[Series], x: float) -> float:
    """The x of the measurement nearest to `x`."""
    found = [point.x for one in series if (point := value_at(one, x)) is not None]
    return min(found, key=lambda other: abs(other - x), default=x)


def _pointer(grid: Grid, frame: Frame, x: float, ascii_only: bool) -> None:
    """A line from top to bottom, behind the curves."""
    column = frame.column(x)
    if column is None:
        return
    for row in range(frame.top, frame.top + frame.rows):
        if grid.parts[row, column] in (Part.BLANK, Part.GUIDE):
            grid.put(row, column, "|" if ascii_only else "│", Part.CURSOR)


def _legend(
    grid: Grid,
    series: Sequence[Series],
    title: str,
    pointer: float | None,
    duration: bool,
    ascii_only: bool,
    latest: bool,
) -> None:
    """The first row: title, then each series with its sign, name and value; what has no room is counted."""
    width = grid.characters.shape[1]
    column = grid.put(0, 0, printable(title), Part.TITLE) + 2 if title else 0
    told = [(s, _entry(s, pointer) if latest or pointer is not None else printable(s.name)) for s in series]
    entries = [(marker(s.colour, ascii_only), s, text) for s, text in told if not s.faint and len(s)]
    for i, (sign, one, text) in enumerate(entries):
        more = f"+{len(entries) - i - 1}" if i + 1 < len(entries) else ""
        if column + 2 + cell_len(text) + (2 + len(more) if more else 0) > width:
            grid.put(0, column, f"+{len(entries) - i}", Part.LABEL)
            return
        column = _legend_entry(grid, column, sign, one, text)
    for one in series if pointer is None else ():
        text = _best_entry(one, duration)
        if text and column + 2 + len(text) <= width:
            column = _legend_entry(grid, column, "@" if ascii_only else "●", one, text)


def _legend_entry(grid: Grid, column: int, sign: str, series: Series, text: str) -> int:
    """Sign and text; the column where the next entry begins."""
    grid.put(0, column, sign, series_part(series.colour))
    return grid.put(0, column + 2, text, Part.LABEL) + 2


def _entry(series: Series, pointer: float | None) -> str:
    point = last_of(series) if pointer is None else value_at(series, pointer)
    return f"{printable(series.name)} {axes.number(point.y)}" if point else printable(series.name)


def _best_entry(series: Series, duration: bool) -> str:
    best = best_of(series)
    if best is None:
        return ""
    return f"best {axes.number(best.y)} @ {axes.span(best.x) if duration else axes.number(best.x, 6)}"
