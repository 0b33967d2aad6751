"""What screens of panes have in common: keys that move act on the focused pane."""

from typing import TYPE_CHECKING

from textual.screen import Screen, ScreenResultType

from ..widgets.pane import Pane

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
