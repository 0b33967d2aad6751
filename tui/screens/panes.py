"""What screens of panes have in common: keys that move act on the focused pane, and others move the focus."""

from typing import TYPE_CHECKING

from textual.screen import Screen, ScreenResultType

from ..widgets.pane import Pane
from .board import Board

if TYPE_CHECKING:
    from ..app import LmwbApp

_FAR = 10**9


class PaneScreen(Screen[ScreenResultType], inherit_bindings=False):
    """A screen of panes."""

    app: "LmwbApp"

    @property
    def focused_pane(self) -> Pane:
        """The pane that the keys act on."""
        raise NotImplementedError

    def action_move_up(self) -> None:
        """Up."""
        self.focused_pane.move(-1)

    def action_move_down(self) -> None:
        """Down."""
        self.focused_pane.move(1)

    def action_page_up(self) -> None:
        """A page up."""
        self.focused_pane.move(-self.focused_pane.page())

    def action_page_down(self) -> None:
        """A page down."""
        self.focused_pane.move(self.focused_pane.page())

    def action_move_first(self) -> None:
        """To the beginning."""
        self.focused_pane.move(-_FAR)

    def action_move_last(self) -> None:
        """To the end."""
        self.focused_pane.move(_FAR)

    def action_help(self) -> None:
        """All keys."""
        self.app.open_commands(search=False)


class BoardScreen(PaneScreen[ScreenResultType], inherit_bindings=False):
    """A screen whose panes stand on a board.

    Attributes:
        board: gives them their places.
        panes: by title.
    """

    board: Board
    panes: dict[str, Pane]

    def action_next_pane(self) -> None:
        """The focus walks on."""
        self.walk(1)

    def action_previous_pane(self) -> None:
        """The focus walks back."""
        self.walk(-1)

    def action_zoom(self) -> None:
        """The whole screen for the focused pane, or back."""
        self.board.zoom(None if self.board.zoomed else self.focused_pane.title)

    def stops(self) -> list[str]:
        """The panes that the focus walks over, by title."""
        return list(self.board.places(self.board.size))

    def walk(self, by: int) -> None:
        """To another pane that is on the screen."""
        on_screen, title = self.stops(), self.focused_pane.title
        place = on_screen.index(title) + by if title in on_screen else 0
        self.go_to(on_screen[place % len(on_screen)])

    def go_to(self, title: str) -> None:
        """Bring a pane to the screen, and the focus to it."""
        self.board.open(title)
        self.set_focus(self.panes[title])
