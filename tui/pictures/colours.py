"""Colours with a meaning: how likely a token was, which curve is which.

Probabilities run through ColorBrewer's RdYlBu, red for unlikely and blue for likely, whose steps stay apart for
people who see fewer colours. Its two ends are equally dark, so there is always a second sign: what had less than
one chance in ten is underlined, and without colours a digit follows each token.

All colours are ``#rrggbb``. For terminals with fewer colours they are members of the smaller palettes, which Rich
passes on as they are; its own choice for 16 colours would mix up their order.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core.tokens import TokenTrace
from .chart import SERIES_COLOURS, Part
from .ink import BOLD, DIM, PLAIN, Depth, Ink, Line, Segment

RDYLBU = ("a50026", "d73027", "f46d43", "fdae61", "fee090", "ffffbf", "e0f3f8", "abd9e9", "74add1", "4575b4", "313695")
XTERM_RAMP = (88, 160, 209, 215, 222, 229, 195, 152, 74, 67, 19)
"""RdYlBu's nearest neighbours in the palette of 256."""
BASIC_RAMP = (("aa0000", "ffffff"), ("aa5500", "000000"), ("ffffff", "000000"), ("00aaaa", "000000"),
              ("0000aa", "ffffff"))  # fmt: skip
"""Background and text: red, yellow, white, cyan, blue as Rich's palette of 16 has them."""

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


def probability_ink(probability: float, place: float, depth: Depth) -> Ink:
    """How a token looks.

    Args:
        probability: 0..1; NaN if there is none, which gives plain text.
        place: on the colour scale, 0..1, see `likeness`.
        depth: how many colours the terminal has.
    """
    if math.isnan(probability) or math.isnan(place):
        return PLAIN
    if depth is Depth.NONE:
        return Ink(underline=probability < UNLIKELY, bold=probability >= LIKELY)
    return _ramp_ink(round(min(max(place, 0.0), 1.0) * 250), probability < UNLIKELY, depth)


def probability_digit(probability: float) -> str:
    """Tenths of a probability as a small digit, for terminals without colours; nothing if there is none."""
    return "" if math.isnan(probability) else DIGITS[min(9, int(probability * 10))]


def scale_legend(scale: Scale, depth: Depth) -> Line:
    """The scale with its name and numbers at three places, in one line of about 40 cells."""
    name, low, middle, high = {
        "linear": ("p", "0", ".5", "1"),
        "surprisal": ("surprisal", f"{LEAST_BITS}+", f"{LEAST_BITS // 2}", "0 bit"),
        "rank": ("rank", ">1000", "≤100", "1"),
    }[scale]
    if depth is Depth.NONE:
        signs = (Segment("p<.1", Ink(underline=True)), Segment(" "), Segment("p≥.5", BOLD))
        return (*signs, Segment(f"  {DIGITS[0]}…{DIGITS[9]} tenths of p", DIM))
    cells = 15
    text = low.ljust(cells // 2 - len(middle) // 2) + middle
    text = text + high.rjust(cells - len(text))
    chances = np.arange(cells) / (cells - 1)
    ramp = (Segment(sign, _ramp_ink(round(t * 250), False, depth)) for sign, t in zip(text, chances, strict=True))
    return (Segment(f"{name} ", DIM), *ramp, Segment("  "), Segment("p<.1", Ink(underline=True)))


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


def contrast(a: str, b: str) -> float:
    """The contrast of two colours by WCAG 2, from 1 to 21."""
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def mixed(a: str, b: str, share: float) -> str:
    """`share` of colour `a`, the rest of colour `b`, in sRGB."""
    return _hex([share * x + (1 - share) * y for x, y in zip(_rgb(a), _rgb(b), strict=True)])


def xterm_colour(index: int) -> str:
    """Colour 16..255 of the palette of 256."""
    if index >= 232:
        return _hex([8 + 10 * (index - 232)] * 3)
    levels = (0, 95, 135, 175, 215, 255)
    index -= 16
    return _hex([levels[index // 36], levels[index // 6 % 6], levels[index % 6]])


@lru_cache(maxsize=2048)
def _ramp_ink(level: int, underline: bool, depth: Depth) -> Ink:
    """The ink for a place of `level` / 250 on the scale."""
    place = level / 250
    if depth is Depth.BASIC:
        background, foreground = BASIC_RAMP[min(len(BASIC_RAMP) - 1, int(place * len(BASIC_RAMP)))]
        return Ink(f"#{foreground}", f"#{background}", underline=underline)
    if depth is Depth.EXTENDED:
        background = xterm_colour(XTERM_RAMP[round(place * (len(XTERM_RAMP) - 1))])
    else:
        last = len(RDYLBU) - 1
        anchor = min(last - 1, int(place * last))
        background = mixed(f"#{RDYLBU[anchor + 1]}", f"#{RDYLBU[anchor]}", place * last - anchor)
    foreground = max("#000000", "#ffffff", key=lambda colour: contrast(colour, background))
    return Ink(foreground, background, underline=underline)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _hex(channels: Sequence[float]) -> str:
    return "#" + "".join(f"{round(channel):02x}" for channel in channels)


def _luminance(colour: str) -> float:
    shares = (channel / 255 for channel in _rgb(colour))
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
