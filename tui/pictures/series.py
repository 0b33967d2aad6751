"""A curve, and what can be asked of it: smoothing, the value at a place, the best value, a sparkline."""

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .axes import LARGEST

Floats = NDArray[np.float64]

BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-:=+*#"


class Point(NamedTuple):
    """One measurement."""

    x: float
    y: float


@dataclass(frozen=True, eq=False)
class Series:
    """One curve.

    Attributes:
        name: shown in the legend; foreign text is allowed, it is made printable when drawn.
        x: (n,) float64, ascending (sorted here if they are not; points without a finite x are left out).
        y: (n,) float64; NaN and infinities make gaps.
        colour: index into the series colours; keep it stable for one run, wherever it is drawn.
        best: mark the lowest or the highest value.
        faint: drawn behind the others in a pale colour, without a legend: raw values behind smoothed ones.
    """

    name: str
    x: Floats
    y: Floats
    colour: int = 0
    best: Literal["min", "max"] | None = None
    faint: bool = False

    def __post_init__(self) -> None:
        x, y = np.asarray(self.x, np.float64), np.asarray(self.y, np.float64)
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(f"a series needs x and y of one length: {x.shape} and {y.shape}")
        if len(x) and not (math.isfinite(x[0]) and math.isfinite(x[-1]) and bool(np.all(x[1:] >= x[:-1]))):
            kept = np.flatnonzero(np.isfinite(x))
            kept = kept[np.argsort(x[kept], kind="stable")]
            x, y = x[kept], y[kept]
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)

    def __len__(self) -> int:
        return len(self.x)


def value_at(series: Series, x: float) -> Point | None:
    """The measurement nearest to `x`, NaN included; None if the series is empty."""
    if not len(series):
        return None
    right = int(np.searchsorted(series.x, x))
    candidates = [i for i in (right - 1, right) if 0 <= i < len(series)]
    nearest = min(candidates, key=lambda i: abs(series.x[i] - x))
    return Point(float(series.x[nearest]), float(series.y[nearest]))


def best_of(series: Series) -> Point | None:
    """The lowest or highest finite value, the first of equals; None if there is none or none was asked for."""
    if series.best is None or not len(series):
        return None
    pick = np.nanargmin if series.best == "min" else np.nanargmax
    usable = np.where(np.abs(series.y) <= LARGEST, series.y, np.nan)
    if np.all(np.isnan(usable)):
        return None
    where = int(pick(usable))
    return Point(float(series.x[where]), float(series.y[where]))


def last_of(series: Series) -> Point | None:
    """The latest measurement, NaN included; None if the series is empty."""
    return Point(float(series.x[-1]), float(series.y[-1])) if len(series) else None


def smooth(y: ArrayLike, weight: float) -> Floats:
    """The exponential moving average, corrected for its start; gaps stay gaps and don't count.

    Args:
        y: (n,) values.
        weight: of the past, 0 <= weight < 1; 0 changes nothing.

    Returns:
        (n,) float64, NaN where `y` is not finite.

    Raises:
        ValueError: the weight is out of range.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"a smoothing weight is at least 0 and below 1, not {weight}")
    values = np.asarray(y, np.float64)
    if not len(values):
        return values
    usable = np.abs(values) <= LARGEST
    if weight == 0:
        return np.where(usable, values, np.nan)
    if usable.all():
        total = _decayed_sum(values, weight)
        total *= 1 - weight
        start = total[: _memory(weight)]
        start /= 1 - weight ** np.arange(1, len(start) + 1)  # what the missing past would have weighed
        return total
    total = _decayed_sum(np.where(usable, values, 0.0), weight)
    count = _decayed_sum(usable.astype(np.float64), weight)
    return np.where(usable, total / np.where(usable, count, 1.0), np.nan)


def smoothed(series: Series, weight: float) -> list[Series]:
    """The series smoothed, in front of the faint raw one, which keeps its best value; itself for weight 0."""
    if weight == 0:
        return [series]
    return [replace(series, faint=True), replace(series, y=smooth(series.y, weight), best=None)]


def sparkline(values: ArrayLike, width: int, ascii_only: bool = False) -> str:
    """The values as one line of at most `width` bars, ``x`` where none of a bar's values is finite."""
    data = np.asarray(values, np.float64)
    if width < 1 or not len(data):
        return ""
    data = np.where(np.abs(data) <= LARGEST, data, np.nan)
    starts = np.unique(np.linspace(0, len(data), min(width, len(data)), endpoint=False).astype(np.int64))
    counts = np.add.reduceat(np.isfinite(data).astype(np.float64), starts)
    means = np.add.reduceat(np.nan_to_num(data) / np.repeat(np.maximum(counts, 1), _lengths(starts, len(data))), starts)
    bars = ASCII_BARS if ascii_only else BARS
    if not counts.any():
        return "x" * len(starts)
    low, high = means[counts > 0].min(), means[counts > 0].max()
    scale = (len(bars) - 1) / (high - low) if high > low else 0.0
    levels = np.round((np.clip(means, low, high) - low) * scale).astype(int)
    return "".join(bars[level] if count else "x" for level, count in zip(levels, counts, strict=True))


def _lengths(starts: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    return np.diff(np.append(starts, n))


def _decayed_sum(values: Floats, weight: float) -> Floats:
    """s[t] = weight * s[t-1] + values[t], in a few array operations.

    In chunks long enough that what came before the previous chunk has decayed below rounding, and short enough
    that nothing overflows.
    """
    n = len(values)
    length = min(n, _memory(weight))
    sums = np.zeros((math.ceil(n / length), length))
    sums.flat[:n] = values
    decay = weight ** np.arange(length)  # (length,)
    sums /= decay
    np.cumsum(sums, axis=1, out=sums)
    sums *= decay
    sums[1:] += sums[:-1, -1:].copy() * (decay * weight)
    return sums.ravel()[:n]


def _memory(weight: float) -> int:
    """After how many measurements one is forgotten, far below rounding."""
    return max(1, math.ceil(math.log(1e-40) / math.log(weight)))
