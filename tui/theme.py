"""Colours: two quiet themes, and the styles that panes paint with.

Colour never says anything alone: states have glyphs and words, selection has a bar.
"""

from dataclasses import dataclass

from rich.style import Style
from textual.theme import Theme

from ..core.history.queries import State


@dataclass(frozen=True)
class Palette:
    """The styles of one theme, foregrounds only unless said otherwise.

    Attributes:
        text: what is to be read.
        strong: what is to be read first.
        dim: labels, units, what is over.
        faint: frames and rules.
        accent: what has the focus.
        selected, selected_away: background of the chosen row in the focused pane, and in another.
        good, warning, bad, calm: what happened.
        dark: it is a dark theme.
    """

    text: Style
    strong: Style
    dim: Style
    faint: Style
    accent: Style
    selected: Style
    selected_away: Style
    good: Style
    warning: Style
    bad: Style
    calm: Style
    dark: bool

    def of_state(self, state: State) -> Style:
        """The colour of a run's state."""
        return {
            "starting": self.calm,
            "running": self.accent,
            "elsewhere": self.calm,
            "finished": self.good,
            "stopped": self.warning,
            "failed": self.bad,
            "died": self.bad,
        }[state]

    def of_level(self, level: str) -> Style:
        """The colour of an event's level."""
        return {"warning": self.warning, "error": self.bad}.get(level, self.text)


STATE_GLYPHS: dict[State, str] = {
    "starting": "◌",
    "running": "●",
    "elsewhere": "○",
    "finished": "✓",
    "stopped": "■",
    "failed": "✗",
    "died": "†",
}


def _fore(colour: str, bold: bool | None = None) -> Style:
    return Style(color=colour, bold=bold)


DARK = Palette(
    text=_fore("#cbd2dc"),
    strong=_fore("#eef1f6", bold=True),
    dim=_fore("#8791a0"),
    faint=_fore("#3d4552"),
    accent=_fore("#7fb0f0"),
    selected=Style(bgcolor="#2a2f37"),
    selected_away=Style(bgcolor="#1f2227"),
    good=_fore("#82c092"),
    warning=_fore("#dcb667"),
    bad=_fore("#ea7f84"),
    calm=_fore("#6cbcc4"),
    dark=True,
)

LIGHT = Palette(
    text=_fore("#2b313a"),
    strong=_fore("#0d1117", bold=True),
    dim=_fore("#646f7e"),
    faint=_fore("#c4cad3"),
    accent=_fore("#1f5fbf"),
    selected=Style(bgcolor="#dbe7f8"),
    selected_away=Style(bgcolor="#eceff3"),
    good=_fore("#1a7a46"),
    warning=_fore("#8f5f00"),
    bad=_fore("#bf2d37"),
    calm=_fore("#0f7680"),
    dark=False,
)

THEMES = (
    Theme(
        name="lmwb-dark",
        primary="#7fb0f0",
        secondary="#6cbcc4",
        warning="#dcb667",
        error="#ea7f84",
        success="#82c092",
        accent="#7fb0f0",
        foreground="#cbd2dc",
        background="#13161b",
        surface="#13161b",
        panel="#1d232c",
        dark=True,
    ),
    Theme(
        name="lmwb-light",
        primary="#1f5fbf",
        secondary="#0f7680",
        warning="#8f5f00",
        error="#bf2d37",
        success="#1a7a46",
        accent="#1f5fbf",
        foreground="#2b313a",
        background="#fbfbfa",
        surface="#fbfbfa",
        panel="#eceff3",
        dark=False,
    ),
)
