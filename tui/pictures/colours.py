"""Colours with a meaning: how likely a token was, how much likelier it became, which curve is which.

Colours never carry a meaning alone: what had less than one chance in ten is underlined, and without colours a digit
follows each token. The ramps themselves stand in `ramps`.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core.tokens import TokenTrace
from .chart import SERIES_COLOURS, Part
from .ink import BOLD, DIM, PLAIN, Depth, Ink, Line, Segment
from .ramps import PUOR, RDYLBU, Ramp, mixed

SERIES_DARK = ("56b4e9", "e69f00", "009e73", "cc79a7", "f0e442", "d55e00", "0072b2", "999999")
"""Okabe and Ito's colours, the light ones first."""
SERIES_LIGHT = ("0072b2", "d55e00", "009e73", "cc79a7", "000000", "e69f00", "56b4e9", "777777")
SERIES_BASIC = ("55ffff", "ffff55", "55ff55", "ff55ff", "ff5555", "5555ff", "aaaaaa", "00aaaa")

UNLIKELY = 0.1
"""Tokens below this probability are underlined."""
LIKELY = 0.5
"""Without colours, tokens from this probability on are bold."""

Scale = Literal["linear", "surprisal", "rank"]
SCALES: tuple[Scale, ...] = ("linear", "surprisal", "rank")
LEAST_BITS = 16
"""The surprisal, in bits, at which the `surprisal` scale ends."""

MOST_CHANGE = 4
"""The difference, in bits, at which the scale of differences ends."""
LEAST_CHANGE = 0.25
"""Tokens whose surprisal changed by fewer bits have no colour."""

DIGITS = "₀₁₂₃₄₅₆₇₈₉"


def likeness(trace: TokenTrace, scale: Scale) -> NDArray[np.float64]:
    """(n,) from 0, unlikely, to 1, likely; NaN where there is no probability."""
    logprob = trace.logprob.astype(np.float64)
    match scale:
        case "linear":
            return np.exp(logprob)
        case "surprisal":
            return 1 - np.minimum(-logprob / math.log(2), LEAST_BITS) / LEAST_BITS
        case "rank":
            bins = 1 - np.searchsorted([1, 10, 100, 1000], trace.rank, "left") / 4
            return np.where(np.isnan(logprob), np.nan, bins)


def probability_ink(probability: float, place: float, depth: Depth, ramp: Ramp = RDYLBU) -> Ink:
    """How a token looks.

    Args:
        probability: 0..1; NaN if there is none, which gives plain text.
        place: on the colour scale, 0..1, see `likeness`.
        depth: how many colours the terminal has.
        ramp: the colours.
    """
    if math.isnan(probability) or math.isnan(place):
        return PLAIN
    return ramp.ink(place, depth, probability < UNLIKELY, bold=depth is Depth.NONE and probability >= LIKELY)


def token_digits(trace: TokenTrace, scale: Scale) -> list[str]:
    """What follows each token on terminals without colours, in small digits; nothing if it has no probability.

    Tenths of the probability, whole bits of surprisal, or the power of ten that the rank does not exceed.
    """
    match scale:
        case "linear":
            found = np.minimum(trace.probability * 10, 9)
        case "surprisal":
            found = np.minimum(-trace.logprob.astype(np.float64) / math.log(2), LEAST_BITS)
        case "rank":
            found = np.searchsorted([1, 10, 100, 1000], trace.rank, "left")
    known = ~np.isnan(trace.logprob)
    return [_small(int(number)) if there else "" for number, there in zip(found, known, strict=True)]


def difference_ink(bits: float, depth: Depth) -> Ink:
    """How a token looks that became likelier, or less likely, by so many bits; plain if it hardly changed."""
    if math.isnan(bits) or abs(bits) < LEAST_CHANGE:
        return PLAIN
    place = 0.5 + bits / (2 * MOST_CHANGE)
    return PUOR.ink(place, depth, bits <= -1, bold=depth is Depth.NONE and bits >= 1)


def difference_digits(bits: float) -> str:
    """A change in whole bits as small digits with a sign, for terminals without colours; nothing below one bit."""
    if math.isnan(bits) or abs(bits) < 1:
        return ""
    return ("₊" if bits > 0 else "₋") + _small(int(min(abs(bits), 99)))


def difference_legend(depth: Depth, styled: bool = True) -> Line:
    """The scale of differences with its name and numbers at three places; unstyled, only what the digits mean."""
    if depth is Depth.NONE:
        return (*_signs("−1 bit", "+1 bit", styled), Segment("₋₂ 2 bits less likely  ₊₂ 2 bits likelier", DIM))
    ramp = _legend_ramp(f"−{MOST_CHANGE}", "0", f"+{MOST_CHANGE} bit", PUOR, depth)
    return (Segment("change ", DIM), *ramp, Segment("  "), Segment("−1 bit", Ink(underline=True)))


def scale_legend(scale: Scale, depth: Depth, ramp: Ramp = RDYLBU, styled: bool = True) -> Line:
    """The scale with its name and numbers at three places, in one line of about 40 cells."""
    name, low, middle, high = {
        "linear": ("p", "0", ".5", "1"),
        "surprisal": ("surprisal", f"{LEAST_BITS}+", f"{LEAST_BITS // 2}", "0 bit"),
        "rank": ("rank", ">1000", "≤100", "1"),
    }[scale]
    if depth is Depth.NONE:
        meaning = {
            "linear": "₀ p<.1  ₅ p≥.5  ₉ p≥.9",
            "surprisal": f"surprisal ₀ <1  ₈ 8  {_small(LEAST_BITS)} {LEAST_BITS}+ bit",
            "rank": "rank ₀ 1  ₂ ≤100  ₄ >1000",
        }[scale]
        return (*_signs("p<.1", "p≥.5", styled), Segment(meaning, DIM))
    signs = _legend_ramp(low, middle, high, ramp, depth)
    return (Segment(f"{name} ", DIM), *signs, Segment("  "), Segment("p<.1", Ink(underline=True)))


def series_inks(depth: Depth, dark: bool = True, background: str = "#000000") -> dict[int, Ink]:
    """The ink of every style index of a chart's grid.

    Args:
        depth: how many colours the terminal has.
        dark: the background is dark.
        background: faint colours are mixed with it.
    """
    axis, guide = ("#777777", "#444444") if dark else ("#888888", "#cccccc")
    coloured = depth is not Depth.NONE
    inks = {
        int(Part.BLANK): PLAIN,
        int(Part.AXIS): Ink(axis) if coloured else DIM,
        int(Part.LABEL): Ink("#aaaaaa" if dark else "#555555") if coloured else PLAIN,
        int(Part.GUIDE): Ink(guide) if depth >= Depth.EXTENDED else DIM,
        int(Part.TITLE): BOLD,
        int(Part.CURSOR): Ink(bold=True),
        int(Part.NOTE): DIM,
    }
    for index in range(SERIES_COLOURS):
        colour = series_colour(index, depth, dark)
        inks[Part.SERIES + 2 * index] = Ink(colour)
        faint = mixed(colour, background, 0.4) if colour and depth >= Depth.EXTENDED else colour
        inks[Part.SERIES + 2 * index + 1] = Ink(faint, dim=depth < Depth.EXTENDED)
    return inks


def series_colour(index: int, depth: Depth, dark: bool = True) -> str | None:
    """The colour of a series, the same wherever it is drawn; None without colours."""
    if depth is Depth.NONE:
        return None
    ramp = SERIES_BASIC if depth is Depth.BASIC else SERIES_DARK if dark else SERIES_LIGHT
    return f"#{ramp[index % SERIES_COLOURS]}"


def _small(number: int) -> str:
    return "".join(DIGITS[int(digit)] for digit in str(number))


def _signs(low: str, high: str, styled: bool) -> Line:
    return () if not styled else (Segment(low, Ink(underline=True)), Segment(" "), Segment(high, BOLD), Segment("  "))


def _legend_ramp(low: str, middle: str, high: str, ramp: Ramp, depth: Depth) -> tuple[Segment, ...]:
    """The ramp in small, with a number at each end and in the middle."""
    cells = 15
    text = low.ljust(cells // 2 - len(middle) // 2) + middle
    text += high.rjust(cells - len(text))
    return tuple(Segment(sign, ramp.ink(i / (cells - 1), depth)) for i, sign in enumerate(text))
