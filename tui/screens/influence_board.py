"""How an answer divides its room: what is asked about next to the row, above the rows and the batch; on small screens
one below the other, and on the smallest all as tabs."""

from collections.abc import Iterable

from textual.geometry import Size

from ..widgets.pane import Pane
from .board import Board, Place, cut_above, cut_left

WORK, ROWS, ASKED, ROW, BATCH, PROFILE = "Work", "Rows", "Asked", "Row", "Batch", "Profile"
_STACKED = (ROW, BATCH, PROFILE)
_LOWER = (BATCH, PROFILE)
_ALL = (ROWS, ASKED, *_STACKED)


def places(size: Size, tab: str, zoomed: str | None = None) -> dict[str, Place]:
    """Which panes are on the screen, by title, in the order in which the focus walks.

    Args:
        size: of the room for panes.
        tab: the tab that was chosen last.
        zoomed: the pane that has the whole room.
    """
    whole = size.region
    if zoomed is not None:
        return {zoomed: Place(whole, (zoomed,))}
    if size.width < 60 or size.height < 18:
        return {tab: Place(whole, _ALL)}
    if size.width < 100 or size.height < 26:
        asked, rest = cut_above(whole, max(6, size.height * 27 // 100))
        rows, row = cut_above(rest, (rest.height + 1) // 2)
        lower = tab if tab in _STACKED else ROW
        return {ROWS: Place(rows, (ROWS,)), ASKED: Place(asked, (ASKED,)), lower: Place(row, _STACKED)}
    upper, lower = cut_above(whole, size.height * 45 // 100)
    asked, row = cut_left(upper, size.width * 40 // 100)
    rows, more = cut_left(lower, size.width * 54 // 100)
    lower_tab = tab if tab in _LOWER else BATCH
    return {
        ROWS: Place(rows, (ROWS,)),
        ASKED: Place(asked, (ASKED,)),
        ROW: Place(row, (ROW,)),
        lower_tab: Place(more, _LOWER),
    }


class InfluenceBoard(Board):
    """The panes of an answer.

    Attributes:
        answered: there is an answer; until then the whole room says how the work goes.
    """

    def __init__(self, panes: Iterable[Pane]):
        super().__init__(panes)
        self.answered = False
        self._tab = ROWS
        self._lower = BATCH

    def places(self, size: Size) -> dict[str, Place]:
        """As the function of this name; in the largest layout the lower tab is remembered on its own."""
        if not self.answered:
            return places(size, ROWS, WORK)
        found = places(size, self._tab, self.zoomed)
        return found if len(found) < 4 else places(size, self._lower)

    def open(self, title: str) -> None:
        """Bring a pane to the screen."""
        self._tab = title
        if title in _LOWER:
            self._lower = title
        super().open(title)
