"""All that can be done: the help screen and the command palette in one list, made from the table of actions."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from textual import on
from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.widgets import Input

from ..actions import ACTIONS, Action, bindings_of, shown_key
from ..widgets.entry import Entry
from ..widgets.frame import Line, spread, width_of
from ..widgets.pane import Pane

if TYPE_CHECKING:
    from ..app import LmwbApp

_SHELL_WIDTH = 76
"""From this width on, the headless command stands beside each action."""


class CommandsPane(Pane):
    """Actions under their headings, one of them selected."""

    title = "Keys and commands"

    def __init__(self) -> None:
        super().__init__()
        self._all = [action for action in ACTIONS if not {"commands", "confirm"} >= set(action.scopes)]
        self._shown = self._all
        self._place = 0
        self._top = 0

    @property
    def selected(self) -> Action | None:
        """The selected action."""
        return self._shown[self._place] if self._shown else None

    def sift(self, typed: str) -> None:
        """Show only what has these words in its description, group or command."""
        wanted = typed.casefold().split()
        self._shown = [
            action
            for action in self._all
            if all(
                word in f"{action.label} {action.words} {action.group} {action.command}".casefold() for word in wanted
            )
        ]
        self._place = 0
        self.redraw()

    def move(self, lines: int) -> None:
        """Select another action."""
        self._place = min(max(self._place + lines, 0), max(0, len(self._shown) - 1))
        self.redraw()

    def inside(self, size: Size) -> Sequence[Line]:
        """The part of the list around the selected action."""
        width, height = size
        lines: list[Line] = []
        chosen = 0
        group = ""
        for place, action in enumerate(self._shown):
            if action.group != group:
                group = action.group
                lines += [[]] if lines else []
                lines.append([Segment(f" {group}", self.palette.accent)])
            if place == self._place:
                chosen = len(lines)
            lines.append(self._line(action, place == self._place, width))
        if not lines:
            return [[Segment(" No command has these words.", self.palette.dim)]]
        least = 0 if self._place == 0 else chosen
        self._top = max(min(self._top, least), chosen + 1 - height)
        return lines[self._top : self._top + height]

    def foot(self) -> Line:
        """What enter does."""
        return [Segment("enter does it", self.palette.dim)]

    def _line(self, action: Action, selected: bool, width: int) -> Line:
        palette = self.palette
        keys = " ".join(map(shown_key, action.keys))
        left = [Segment(f" {keys:<12}", palette.strong), Segment(action.words, palette.text)]
        right = [Segment(action.command, palette.dim)] if action.command and width >= _SHELL_WIDTH else []
        line = spread(left, right, width - 2)
        if not selected:
            return [Segment(" "), *line]
        line = [Segment("▌", palette.accent), *line, Segment(" " * (width - 1 - width_of(line)))]
        return [Segment(text, (style or Style()) + palette.selected) for text, style, _ in line]


class CommandsScreen(ModalScreen[Action | None], inherit_bindings=False):
    """The list; with a line to type in when it is opened as a palette. Gives the chosen action, or None."""

    app: "LmwbApp"
    BINDINGS = bindings_of("commands")
    DEFAULT_CSS = """
    CommandsScreen { align: center middle; background: $background 60%; }
    CommandsScreen CommandsPane { width: 96; max-width: 100%; height: 1fr; margin: 1 0; }
    """

    def __init__(self, search: bool):
        super().__init__()
        self._search = search
        self._pane = CommandsPane()

    def compose(self) -> ComposeResult:
        """The list, and below it the line."""
        yield self._pane
        if self._search:
            yield Entry("type what you want to do")

    def on_mount(self) -> None:
        """Keys go to the line, if there is one."""
        self.set_focus(self.query_one(Entry) if self._search else self._pane)

    @on(Input.Changed)
    def _sift(self, message: Input.Changed) -> None:
        self._pane.sift(message.value)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_choose()

    def action_move_up(self) -> None:
        """Up."""
        self._pane.move(-1)

    def action_move_down(self) -> None:
        """Down."""
        self._pane.move(1)

    def action_page_up(self) -> None:
        """A page up."""
        self._pane.move(-self._pane.page())

    def action_page_down(self) -> None:
        """A page down."""
        self._pane.move(self._pane.page())

    def action_move_first(self) -> None:
        """To the beginning."""
        self._pane.move(-(10**9))

    def action_move_last(self) -> None:
        """To the end."""
        self._pane.move(10**9)

    def action_choose(self) -> None:
        """Do what is selected, on the screen below."""
        if self._pane.selected is not None:
            self.dismiss(self._pane.selected)

    def action_close(self) -> None:
        """Back."""
        self.dismiss(None)
