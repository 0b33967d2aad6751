"""Ramps of background colours with a text colour for each, for terminals of any number of colours.

RdYlBu (ColorBrewer) runs from red to blue. Its steps stay apart for people who see fewer colours, but both of its ends
are dark. Cividis (Nuñez, Anderton and Renslow 2018) is dark at one end only, so that it can be read in grey. PuOr
(ColorBrewer) is for differences: brown below zero, purple above.

All colours are ``#rrggbb``. For terminals with fewer colours they are members of the smaller palettes, which Rich
passes on as they are; its own choice for 16 colours would mix up their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from .ink import Depth, Ink

LEVELS = 250
"""Places on a ramp that are told apart."""


@dataclass(frozen=True)
class Ramp:
    """Backgrounds from one end of a scale to the other.

    Attributes:
        anchors: at equal distances; between them colours are mixed in sRGB.
        extended: of the palette of 256, as indices; the nearest is taken.
        basic: background and text as Rich's palette of 16 has them, in bins of equal width.
    """

    anchors: tuple[str, ...]
    extended: tuple[int, ...]
    basic: tuple[tuple[str, str], ...]

    def ink(self, place: float, depth: Depth, underline: bool = False, bold: bool = False) -> Ink:
        """The look of something at a place from 0 to 1; black or white text, whichever stands out more."""
        return _ink(self, round(min(max(place, 0.0), 1.0) * LEVELS), depth, underline, bold)


RDYLBU = Ramp(
    ("#a50026", "#d73027", "#f46d43", "#fdae61", "#fee090", "#ffffbf", "#e0f3f8", "#abd9e9", "#74add1", "#4575b4",
     "#313695"),
    (88, 160, 209, 215, 222, 229, 195, 152, 74, 67, 19),
    (("#aa0000", "#ffffff"), ("#aa5500", "#000000"), ("#ffffff", "#000000"), ("#00aaaa", "#000000"),
     ("#0000aa", "#ffffff")),
)  # fmt: skip
CIVIDIS = Ramp(
    ("#00224e", "#083370", "#35456c", "#4f576c", "#666970", "#7d7c78", "#948e77", "#aea371", "#c8b866", "#e5cf52",
     "#fee838"),
    (17, 60, 242, 244, 101, 144, 179, 186, 221, 227),
    (("#0000aa", "#ffffff"), ("#00aaaa", "#000000"), ("#aaaaaa", "#000000"), ("#ffff55", "#000000")),
)  # fmt: skip
PUOR = Ramp(
    ("#7f3b08", "#b35806", "#e08214", "#fdb863", "#fee0b6", "#f7f7f7", "#d8daeb", "#b2abd2", "#8073ac", "#542788",
     "#2d004b"),
    (94, 130, 172, 215, 223, 231, 189, 146, 103, 54, 53),
    (("#aa5500", "#000000"), ("#ffff55", "#000000"), ("#ffffff", "#000000"), ("#ff55ff", "#000000"),
     ("#aa00aa", "#ffffff")),
)  # fmt: skip

RAMPS = {"rdylbu": RDYLBU, "cividis": CIVIDIS}
"""Ramps for probabilities, by name."""


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


@lru_cache(maxsize=4096)
def _ink(ramp: Ramp, level: int, depth: Depth, underline: bool, bold: bool) -> Ink:
    place = level / LEVELS
    if depth is Depth.NONE:
        return Ink(underline=underline, bold=bold)
    if depth is Depth.BASIC:
        background, foreground = ramp.basic[min(len(ramp.basic) - 1, int(place * len(ramp.basic)))]
        return Ink(foreground, background, underline=underline, bold=bold)
    if depth is Depth.EXTENDED:
        background = xterm_colour(ramp.extended[round(place * (len(ramp.extended) - 1))])
    else:
        last = len(ramp.anchors) - 1
        anchor = min(last - 1, int(place * last))
        background = mixed(ramp.anchors[anchor + 1], ramp.anchors[anchor], place * last - anchor)
    foreground = max("#000000", "#ffffff", key=lambda colour: contrast(colour, background))
    return Ink(foreground, background, underline=underline, bold=bold)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _hex(channels: Sequence[float]) -> str:
    return "#" + "".join(f"{round(channel):02x}" for channel in channels)


def _luminance(colour: str) -> float:
    shares = (channel / 255 for channel in _rgb(colour))
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
