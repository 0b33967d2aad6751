"""From points to dots: what a curve covers in each column of a picture, and the characters that show it.

Every column keeps the lowest and the highest value in it, so that a spike of one step is seen at every zoom.
Nothing here loops over points; a million of them take about a millisecond.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .axes import LARGEST, LEAST
from .series import Floats, Series

BRAILLE = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint16)
"""(4, 2), the bit of each dot of a braille character, by row and column."""


@dataclass(frozen=True)
class Columns:
    """What a series does in each of c columns, as heights on the axis (logarithms if it is logarithmic).

    Attributes:
        low, high: (c,) of the measurements within the column; NaN if there are none.
        edges: (c + 1,) where the line crosses the columns' borders; NaN where there is no line.
        bad: (c,) bool, there is a value that can't be drawn: NaN or infinite, or not positive on a log axis.
    """

    low: Floats
    high: Floats
    edges: Floats
    bad: NDArray[np.bool_]


def visible(series: Series, x0: float, x1: float) -> slice:
    """The points with x0 <= x <= x1."""
    return slice(int(np.searchsorted(series.x, x0, "left")), int(np.searchsorted(series.x, x1, "right")))


def extent(series: Series, x0: float, x1: float, log: bool) -> tuple[float, float] | None:
    """The lowest and highest drawable value between x0 and x1; its neighbours' if there is no point."""
    part = visible(series, x0, x1)
    if part.start >= part.stop:
        part = slice(max(0, part.start - 1), part.stop + 1)
    y = series.y[part]
    low, high = _extremes(y, log)
    return None if np.isnan(low) else (float(low), float(high))


def columns(series: Series, x0: float, x1: float, count: int, log: bool) -> Columns:
    """The series between x0 and x1 in `count` columns of equal width."""
    borders = x0 + (x1 - x0) * np.arange(count + 1) / count  # (c + 1,)
    starts = np.searchsorted(series.x, borders, "left")
    starts[-1] = np.searchsorted(series.x, x1, "right")  # the last column includes its right border
    low, high, bad = np.full(count, np.nan), np.full(count, np.nan), np.zeros(count, np.bool_)
    filled = np.flatnonzero(starts[1:] > starts[:-1])
    if len(filled):
        y, firsts = series.y[: starts[-1]], starts[:-1][filled]
        low[filled], high[filled] = np.fmin.reduceat(y, firsts), np.fmax.reduceat(y, firsts)
        with np.errstate(invalid="ignore"):
            bad[filled] = np.isnan(np.minimum.reduceat(y, firsts))
        _leave_out(y, starts, low, high, bad, log)
    return Columns(_height(low, log), _height(high, log), _edges(series, borders, log), bad)


def dots(part: Columns, bottom: float, top: float, rows: int) -> NDArray[np.bool_]:
    """(rows, c) bool, the dots that the curve covers; `bottom` and `top` are heights on the axis."""

    def row(height: Floats) -> Floats:
        with np.errstate(over="ignore"):
            return np.clip(np.round((top - height) / (top - bottom) * (rows - 1)), -1, rows)

    left, right = row(part.edges[:-1]), row(part.edges[1:])
    first = np.fmin(row(part.high), right)
    last = np.fmax(row(part.low), right)
    # The left border's dot is in the previous column already; reach just up to it, else steep lines look fat.
    first = np.where(left < first, left + 1, first)
    last = np.where(left > last, left - 1, last)
    grid = np.arange(rows)[:, None]
    return (grid >= first) & (grid <= last)  # comparisons with NaN are false: no dots


def braille(covered: NDArray[np.bool_]) -> NDArray[np.str_]:
    """(4h, 2w) dots as (h, w) braille characters; a space where there are none."""
    h, w = covered.shape[0] // 4, covered.shape[1] // 2
    blocks = covered.reshape(h, 4, w, 2).astype(np.uint16)
    codes = np.einsum("hrwc,rc->hw", blocks, BRAILLE)
    return np.where(codes > 0, codes + 0x2800, ord(" ")).astype(np.uint32).view("<U1")


def plain(covered: NDArray[np.bool_]) -> NDArray[np.str_]:
    """(2h, w) dots as (h, w) ASCII characters."""
    upper, lower = covered[0::2], covered[1::2]
    return np.array([" ", "'", ".", ":"])[upper + 2 * lower]


def _extremes(y: Floats, log: bool) -> tuple[np.float64, np.float64]:
    """Lowest and highest drawable value; NaN twice if there is none."""
    nothing = np.float64("nan")
    if not len(y):
        return nothing, nothing
    low, high = np.fmin.reduce(y), np.fmax.reduce(y)
    if abs(low) <= LARGEST and abs(high) <= LARGEST and (low >= LEAST or not log):
        return low, high
    y = y[_drawable(y, log)]
    return (y.min(), y.max()) if len(y) else (nothing, nothing)


def _drawable(y: Floats, log: bool) -> NDArray[np.bool_]:
    usable = np.abs(y) <= LARGEST
    return usable & (y >= LEAST) if log else usable


def _leave_out(
    y: Floats, starts: NDArray[np.intp], low: Floats, high: Floats, bad: NDArray[np.bool_], log: bool
) -> None:
    """Look again at the columns whose extremes can't be drawn, without the values that are to blame."""
    with np.errstate(invalid="ignore"):
        wrong = (np.abs(low) > LARGEST) | (np.abs(high) > LARGEST) | (log & (low < LEAST))
    for column in np.flatnonzero(wrong):
        bad[column] = True
        low[column], high[column] = _extremes(y[starts[column] : starts[column + 1]], log)


def _height(values: Floats, log: bool) -> Floats:
    return np.log10(values) if log else values


def _edges(series: Series, borders: Floats, log: bool) -> Floats:
    """(c + 1,) the line's height at each border, NaN outside of the data and next to a gap."""
    n = len(series)
    if n < 2:
        return np.full(len(borders), np.nan)
    right = np.clip(np.searchsorted(series.x, borders, "right"), 1, n - 1)
    x_a, x_b = series.x[right - 1], series.x[right]
    y_a, y_b = series.y[right - 1], series.y[right]
    usable = _drawable(y_a, log) & _drawable(y_b, log) & (borders >= x_a) & (borders <= x_b)
    y_a, y_b = (_height(np.where(usable, y, 1.0), log) for y in (y_a, y_b))
    length = np.where(x_b > x_a, x_b - x_a, 1.0)
    share = np.clip((borders - x_a) / length, 0, 1)
    return np.where(usable, y_a + share * (y_b - y_a), np.nan)
