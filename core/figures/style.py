"""What all pictures share: colours, type, names, bands, and how they are saved.

Colours are those of Okabe and Ito, which people with any colour vision tell apart.
"""

import contextlib
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from ..comparison import Row
from ..errors import MachineError
from ..text import printable, shorten
from .bundles import Bundle

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("svg", "png", "pdf", "jpg")
"""What pictures can be saved as."""

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK)
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "text.parse_math": False,  # names are data
    "svg.hashsalt": "lmwb",
    "svg.fonttype": "path",
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
}
_LABEL = 28
"""Characters of a name that fit beside a picture."""


@dataclass(frozen=True)
class Picture:
    """A picture that can be saved."""

    figure: Figure

    def save(self, path: Path) -> None:
        """Write it in the format that the path's suffix names, one of `FORMATS`.

        Raises:
            MachineError: the disk does not take it.
        """
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(path.suffix[1:])
        with styled():
            try:
                self.figure.savefig(path, format=path.suffix[1:], metadata=metadata)
            except OSError as error:
                raise MachineError(f"cannot write the picture {path}: {error.strerror}") from None


@contextlib.contextmanager
def styled() -> Generator[None]:
    """Everything drawn within looks alike."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def band(axes: "Axes", curve: Bundle, colour: str, name: str, style: str = "-", alpha: float = 1.0) -> dict[str, Any]:
    """A line with a band of one standard deviation around it; returns its handle for the legend."""
    if not len(curve.steps):
        return {}
    marker = "o" if len(curve.steps) == 1 else None
    (line,) = axes.plot(curve.steps, curve.mean, style, color=colour, alpha=alpha, marker=marker)
    if curve.deviation.any():
        low, high = curve.mean - curve.deviation, curve.mean + curve.deviation
        axes.fill_between(curve.steps, low, high, color=colour, alpha=0.18, linewidth=0)
    return {name: line}


def bars(n: int) -> tuple[Figure, "Axes"]:
    """A picture with room for n bars."""
    figure = Figure(figsize=(6.4, 0.36 * n + 1.1))
    return figure, figure.subplots()


def name_bars(axes: "Axes", rows: Sequence[Row]) -> None:
    """Write the rows' labels beside their bars."""
    axes.set_yticks(range(len(rows)), [short(row.label) for row in rows])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)


def short(label: str, length: int = _LABEL) -> str:
    """A name that fits beside a picture and may stand in it."""
    return shorten(printable(label), length)
