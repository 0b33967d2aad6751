"""The lab's single lines: who speaks and what to, the settings, the command that does the same."""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.message import Message

from ...core.text import printable
from ..lab_settings import Settings, shown
from .frame import Line, cut, spread, width_of
from .pane import Pane, Picture

_SWITCH = {False: "○", True: "●"}


class LabBar(Picture):
    """Two lines: the models and what they do, and the prompt."""

    DEFAULT_CSS = "LabBar { height: 2; }"

    def __init__(self) -> None:
        super().__init__()
        self._models: tuple[str, ...] = ()
        self._doing = self._prompt = self._way = ""
        self._bad = False

    def show(self, models: Sequence[str], doing: str, bad: bool, prompt: str, way: str) -> None:
        """Models, what happens, the prompt, and how one got to it: all foreign text."""
        self._models, self._doing, self._bad, self._prompt, self._way = tuple(models), doing, bad, prompt, way
        self.redraw()

    def paint(self, size: Size) -> Sequence[Line]:
        """Two lines."""
        palette, width = self.palette, size.width
        left = [Segment(" lmwb lab", palette.accent + Style(bold=True)), Segment("   ")]
        for place, model in enumerate(self._models):
            left += [Segment("  │  ", palette.faint)] if place else []
            left.append(Segment(printable(model), palette.text))
        doing = [Segment(f"{printable(self._doing)} ", palette.bad if self._bad else palette.accent)]
        way = [Segment(f"{printable(self._way)} ", palette.dim)] if self._way else []
        way = cut(way, width // 2)
        room = width - 9 - width_of(way)
        shown = printable(self._prompt)
        prompt = [Segment(" prompt ", palette.dim), *_end_of(shown, room, palette.strong)]
        if not shown:
            prompt.append(Segment("empty: e edits it", palette.dim))
        return [spread(left, cut(doing, width // 2), width), spread(prompt, way, width)]


class SettingsChanged(Message):
    """The user wants other settings."""

    def __init__(self, settings: Settings):
        super().__init__()
        self.settings = settings


class SettingsRow(Pane):
    """The settings in one line, one of them to be changed with the arrow keys.

    Attributes:
        settings: what they say.
        stale: they were changed since something was said.
    """

    title = "Settings"
    DEFAULT_CSS = "SettingsRow { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self.settings = Settings()
        self._place = 0
        self.stale = False

    def change(self, settings: Settings) -> None:
        """Other settings."""
        self.settings = settings
        self._place = min(self._place, len(settings.in_row()) - 1)
        self.redraw()

    def move(self, lines: int) -> None:
        """The next value of the chosen setting, or the one before."""
        key = self.settings.in_row()[self._place].key
        self.post_message(SettingsChanged(self.settings.turned(key, -1 if lines > 0 else 1)))

    def slide(self, cells: int) -> None:
        """Choose the setting beside."""
        self._place = min(max(self._place + cells, 0), len(self.settings.in_row()) - 1)
        self.redraw()

    def paint(self, size: Size) -> Sequence[Line]:
        """One line; what was set in the form stands at its end."""
        parts = [self._part(place) for place in range(len(self.settings.in_row()))]
        others = self.settings.beyond_row()
        more = [Segment("+", self.palette.dim)] if others else []
        for each in others:
            more.append(Segment(f" {each.name} ", self.palette.dim))
            more.append(Segment(printable(shown(getattr(self.settings, each.key))), self.palette.strong))
        taken = sum(map(width_of, parts)) + len(parts)
        if taken + width_of(more) >= size.width and others:
            more = [Segment(f"+{len(others)} S", self.palette.accent)]
        gap = 2 if taken + len(parts) + width_of(more) < size.width else 1
        line = [segment for part in parts for segment in (*part, Segment(" " * gap))]
        more = [Segment(" " * gap), *more] if more else []
        return [[*cut([Segment(" "), *line[:-1]], size.width - width_of(more)), *cut(more, size.width)]]

    def _part(self, place: int) -> Line:
        choice, palette = self.settings.in_row()[place], self.palette
        value = getattr(self.settings, choice.key)
        text = _SWITCH[value] if isinstance(value, bool) else shown(value)
        style = palette.strong
        if self.has_focus and place == self._place:
            style = palette.accent + Style(reverse=True, bold=True)
        return [*([Segment(f"{choice.label} ", palette.dim)] if choice.label else []), Segment(text, style)]


class CommandLine(Picture):
    """How a shell would ask the same."""

    DEFAULT_CSS = "CommandLine { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self.command = ""

    def show(self, command: str) -> None:
        """Another command: foreign text."""
        if command != self.command:
            self.command = command
            self.redraw()

    def paint(self, size: Size) -> Sequence[Line]:
        """One line."""
        return [cut([Segment(f" $ {printable(self.command)}", self.palette.dim)], size.width)]


def _end_of(text: str, width: int, style: Style) -> Line:
    """The end of a text, where it is going on, if it is too long."""
    from rich.cells import cell_len

    if cell_len(text) <= width:
        return [Segment(text, style)]
    while text and cell_len(text) > width - 1:
        text = text[max(1, (cell_len(text) - width) // 2) :]
    return [Segment("…" + text, style)]
