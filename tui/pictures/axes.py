"""Where an axis begins and ends, where its ticks are, and how numbers on it are written.

Domains move in steps: while a run is live its chart keeps its scale, so that only the new points have to be
painted.
"""

import itertools
import math
from collections.abc import Callable, Sequence

LARGEST = 1e300
"""Anything beyond, infinities included, is not drawn: it would leave no room for the rest."""

LEAST = 1e-250
"""Anything smaller counts as zero, and has no place on a logarithmic axis."""

_GROWTH = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def x_domain(low: float, high: float, end: float | None = None) -> tuple[float, float]:
    """An x axis that holds low..high, begins at 0 if that is near, and grows in steps of 20 to 50 %.

    Args:
        end: where the axis is to end if the data doesn't go further, such as the planned number of steps.
    """
    start = 0.0 if 0 <= low <= 0.25 * high else low
    if end is not None and end >= high and end > start:
        return start, end
    return start, start + _grown(high - start)


def y_domain(low: float, high: float, log: bool, kept: tuple[float, float] | None = None) -> tuple[float, float]:
    """A y axis with round bounds that holds low..high.

    Args:
        log: logarithmic; `low` must be positive.
        kept: the axis so far; it stays if the data still fits and fills half of it.
    """
    if kept is not None and kept[0] <= low and high <= kept[1] and (kept[0] > 0 or not log):
        scale = math.log10 if log else float
        if scale(high) - scale(low) >= 0.5 * (scale(kept[1]) - scale(kept[0])):
            return kept
    if log and high >= 4 * low:
        return _round_log(low, math.floor), _round_log(high, math.ceil)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), LEAST):
        margin = 0.1 * abs(low) if abs(low) >= LEAST else 1.0
        low, high = low - margin, high + margin
    step = nice_step((high - low) / 10)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def nice_step(least: float) -> float:
    """The least of ..., 0.1, 0.2, 0.5, 1, 2, 5, ... that is not below `least`."""
    power = 10.0 ** math.floor(math.log10(max(least, 1e-300)))
    return next((m * power for m in (1, 2, 5) if m * power >= least * (1 - 1e-9)), 10 * power)


def ticks(low: float, high: float, count: int, duration: bool = False) -> list[float]:
    """At most `count` round values within low..high, at equal distances of 1, 2 or 5 times a power of ten."""
    if high <= low or count < 1:
        return []
    step = _duration_step((high - low) / count) if duration else nice_step((high - low) / count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if last - first >= count:
        return ticks(low, high, count - 1, duration)
    return [i * step for i in range(first, last + 1)]


def log_ticks(low: float, high: float, count: int) -> list[float]:
    """Powers of ten, with 2 and 5 times them if there is room; round values if the span is small."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    inside = [v for v in (m * 10.0**e for e in range(first, last + 1) for m in (1, 2, 5)) if low <= v * (1 + 1e-9)]
    inside = [v for v in inside if v * (1 - 1e-9) <= high]
    if len(inside) < 3:
        return ticks(low, high, count)
    decades = [v for v in inside if abs(math.log10(v) - round(math.log10(v))) < 1e-9]
    for candidates in (inside, decades):
        if len(candidates) <= count and candidates:
            return candidates
    stride = math.ceil(len(decades) / max(1, count))
    return decades[::stride]


def tick_labels(values: Sequence[float], duration: bool = False) -> list[str]:
    """The values in the fewest characters that tell them apart, all in one style."""
    if not values:
        return []
    if duration:
        return [span(value) for value in values]
    most = max(map(abs, values))
    gaps = [b - a for a, b in itertools.pairwise(values)]
    even = len(gaps) > 0 and max(gaps) < 1.01 * min(gaps)
    if most >= 1e15 or most < 1e-4 or not even:
        return [number(value, 3) for value in values]
    unit, suffix = next(((u, s) for u, s in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")) if most >= u), (1.0, ""))
    unit = 1e3 if suffix == "k" else unit
    decimals = max(0, -math.floor(math.log10(min(gaps) / unit) + 1e-9))
    if decimals > 6:
        return [number(value, 6) for value in values]
    return ["0" if value == 0 else f"{value / unit:.{decimals}f}{suffix}" for value in values]


def number(value: float, digits: int = 4) -> str:
    """A value for people: 4 significant digits, short exponents, ``nan`` and ``inf`` as they are."""
    if not math.isfinite(value):
        return str(value)
    if 10**digits <= abs(value) < 1e7 and value == int(value):
        return str(int(value))
    text = f"{value:.{digits}g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def span(seconds: float) -> str:
    """A length of time: ``45s``, ``2m30``, ``1h05``, ``3d04h``."""
    total = round(abs(seconds))
    sign = "-" if seconds < 0 and total else ""
    days, hours, minutes, rest = total // 86400, total // 3600 % 24, total // 60 % 60, total % 60
    if days:
        return f"{sign}{days}d" + (f"{hours:02}h" if hours else "")
    if hours:
        return f"{sign}{hours}h" + (f"{minutes:02}" if minutes else "")
    if minutes:
        return f"{sign}{minutes}m" + (f"{rest:02}" if rest else "")
    return f"{sign}{rest}s"


def _grown(length: float) -> float:
    if length <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(length))
    return next((m * power for m in _GROWTH if m * power >= length * (1 - 1e-9)), 10 * power)


def _duration_step(least: float) -> float:
    if least < 1:
        return nice_step(least)
    return next((s for s in _SECONDS if s >= least), 86400 * nice_step(least / 86400))


def _round_log(value: float, direction: Callable[[float], int]) -> float:
    """To the next of 1, 2, 5 times a power of ten, down or up."""
    exponent = math.floor(math.log10(value))
    steps = [m * 10.0**e for e in (exponent - 1, exponent, exponent + 1) for m in (1, 2, 5)]
    if direction is math.floor:
        return max(s for s in steps if s <= value * (1 + 1e-9))
    return min(s for s in steps if s >= value * (1 - 1e-9))
