"""Coloured lines on standard output, and the options that say how they are coloured."""

import os
import shutil
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from ..pictures.generations import Pen
    from ..pictures.ink import Ink, Line

When = Literal["auto", "always", "never"]
Mapping = Literal["probability", "surprisal", "rank"]
Palette = Literal["rdylbu", "cividis"]

ColorOption = Annotated[When, typer.Option(help="Colours: on a terminal that has them, always, or never.")]
PaletteOption = Annotated[Palette, typer.Option(help="Red to blue, or dark to light, which can be read in grey too.")]


class Sheet:
    """Where lines are printed: how wide it is, how many colours it has, and whether it knows styles at all."""

    def __init__(self, when: When) -> None:
        from ..pictures.ink import Depth, colour_depth

        environ = dict(os.environ)
        if when == "always":
            environ.pop("NO_COLOR", None)
        self.styled = when == "always" or (when == "auto" and sys.stdout.isatty())
        depth = colour_depth(environ, terminal=self.styled)
        self.depth = Depth.BASIC if when == "always" and depth is Depth.NONE else depth
        self.width = max(20, shutil.get_terminal_size().columns)

    def pen(self, mapping: Mapping, palette: Palette) -> "Pen":
        """How to draw what the mapping and the palette say, as wide as there is room."""
        from ..pictures.generations import Pen
        from ..pictures.ramps import RAMPS

        return Pen(
            self.width, "linear" if mapping == "probability" else mapping, self.depth, RAMPS[palette], self.styled
        )

    def print(self, lines: "Iterable[Line]") -> None:
        """Each line; escape codes are ours alone, since the texts of lines are printable."""
        for line in lines:
            text = "".join(self.inked(each.text, each.ink) for each in line)
            print(text if self.styled else text.rstrip())

    def inked(self, text: str, ink: "Ink") -> str:
        """The text in its colours, as far as there are any."""
        from rich.color import ColorSystem

        from ..pictures.ink import Depth, rich_style

        if not self.styled:
            return text
        systems = {Depth.TRUE: ColorSystem.TRUECOLOR, Depth.EXTENDED: ColorSystem.EIGHT_BIT}
        return rich_style(ink).render(text, color_system=systems.get(self.depth, ColorSystem.STANDARD))
