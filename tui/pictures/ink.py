"""Styled text that knows no screen: how a piece looks, lines of pieces, and how many colours there are to use."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from rich.style import Style
from rich.text import Text


class Depth(IntEnum):
    """How many colours a terminal shows."""

    NONE = 0
    BASIC = 16
    EXTENDED = 256
    TRUE = 1 << 24


@dataclass(frozen=True)
class Ink:
    """How a piece of text looks. Colours are ``#rrggbb``; None leaves the surroundings' colour."""

    foreground: str | None = None
    background: str | None = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    reverse: bool = False


PLAIN = Ink()
DIM = Ink(dim=True)
BOLD = Ink(bold=True)


class Segment(NamedTuple):
    """A piece of printable text in one ink; `cluster` is the index of the token cluster it shows, -1 for none."""

    text: str
    ink: Ink = PLAIN
    cluster: int = -1


Line = tuple[Segment, ...]


@lru_cache(maxsize=2048)
def rich_style(ink: Ink) -> Style:
    """The same for Rich and Textual; attributes that are off don't override their surroundings."""
    return Style(
        color=ink.foreground,
        bgcolor=ink.background,
        bold=ink.bold or None,
        dim=ink.dim or None,
        italic=ink.italic or None,
        underline=ink.underline or None,
        reverse=ink.reverse or None,
    )


def rich_text(line: Iterable[Segment]) -> Text:
    """One line for Rich to print."""
    return Text.assemble(*((segment.text, rich_style(segment.ink)) for segment in line), no_wrap=True, end="")


def colour_depth(environ: Mapping[str, str] | None = None, no_color: bool = False, terminal: bool = True) -> Depth:
    """How many colours to use, as the environment says.

    Args:
        environ: the environment; this process's by default.
        no_color: colours were declined by other means. Textual takes NO_COLOR out of the environment when an app
            starts and keeps it as `App.no_color`.
        terminal: the output goes to a terminal.
    """
    environ = os.environ if environ is None else environ
    term = environ.get("TERM", "").lower()
    if no_color or environ.get("NO_COLOR") or not terminal or term in ("dumb", "unknown"):
        return Depth.NONE
    if environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return Depth.TRUE
    if term.endswith("-direct"):
        return Depth.TRUE
    return Depth.EXTENDED if "256color" in term or "kitty" in term else Depth.BASIC
