"""How the home screen divides its room: one pure function of the size, and the container that obeys such functions.

Where there is room, curves stand above tokens and the rest shares tabs below; on small screens the right
column is tabs; on the smallest everything is one column.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from ..widgets.pane import Pane

LOWER = ("Log", "Events", "Recipe", "Details")
ALL_TABS = ("Curves", "Tokens", *LOWER)


@dataclass(frozen=True)
class Place:
    """Where a pane is, and the titles in its frame."""

    region: Region
    tabs: tuple[str, ...]


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
    if size.width < 60 or size.height < 12:
        upper, lower = cut_above(whole, max(3, min(size.height * 2 // 5, 12)))
        return {"Runs": Place(upper, ("Runs",)), tab: Place(lower, ALL_TABS)}
    left, right = cut_left(whole, max(30, min(size.width * 30 // 100, 52)))
    if size.height < 28:
        return {"Runs": Place(left, ("Runs",)), tab: Place(right, ALL_TABS)}
    upper, lower = cut_above(whole, size.height - max(8, min(size.height // 4, 14)))
    left, right = cut_left(upper, left.width)
    curves, tokens = cut_above(right, right.height * 58 // 100)
    lower_tab = tab if tab in LOWER else LOWER[0]
    return {
        "Runs": Place(left, ("Runs",)),
        "Curves": Place(curves, ("Curves",)),
        "Tokens": Place(tokens, ("Tokens",)),
        lower_tab: Place(lower, LOWER),
    }


class Board(Widget):
    """Holds panes and shows those that have a place.

    Attributes:
        zoomed: the title of the pane that has the whole room, if any.
    """

    DEFAULT_CSS = "Board { height: 1fr; }"

    def __init__(self, panes: Iterable[Pane]):
        super().__init__(*panes)
        self.zoomed: str | None = None
        self._arranger = _Arranger(self)

    @property
    def layout(self) -> Layout:
        """Ours."""
        return self._arranger

    def places(self, size: Size) -> dict[str, Place]:
        """Which panes are on the screen, by title, in the order in which the focus walks."""
        raise NotImplementedError

    def open(self, title: str) -> None:
        """Bring a pane to the screen."""
        if self.zoomed is not None:
            self.zoomed = title
        self.rearrange()

    def zoom(self, title: str | None) -> None:
        """Give a pane the whole room, or take it back."""
        self.zoomed = title
        self.rearrange()

    def rearrange(self) -> None:
        """Ask for the places again."""
        self.children[0].refresh(layout=True)  # a child's wish makes Textual forget the old arrangement


class HomeBoard(Board):
    """The panes of the home screen."""

    def __init__(self, panes: Iterable[Pane]):
        super().__init__(panes)
        self.tab = ALL_TABS[0]
        self.lower_tab = LOWER[0]

    def places(self, size: Size) -> dict[str, Place]:
        """As the function of this name; in the larger layouts the lower tab is remembered on its own."""
        found = places(size, self.tab, self.zoomed)
        return found if "Curves" not in found or "Tokens" not in found else places(size, self.lower_tab)

    def open(self, title: str) -> None:
        """Bring a pane to the screen."""
        if title in ALL_TABS:
            self.tab = title
        if title in LOWER:
            self.lower_tab = title
        super().open(title)


class _Arranger(Layout):
    """Puts each pane in its place, and tells it which tabs it stands under."""

    name = "board"

    def __init__(self, board: Board):
        self._board = board

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:  # noqa: ARG002
        """Textual's question: where is everything?"""
        found = self._board.places(size)
        placements: list[WidgetPlacement] = []
        for pane in children:
            assert isinstance(pane, Pane)
            place = found.get(pane.title)
            pane.place(place.tabs if place else None)
            if place:
                placements.append(WidgetPlacement(place.region, NULL_OFFSET, NULL_SPACING, pane))
        return placements


def cut_left(region: Region, width: int) -> tuple[Region, Region]:
    """So many columns, and the rest."""
    x, y, whole, height = region
    width = min(width, whole)
    return Region(x, y, width, height), Region(x + width, y, max(0, whole - width), height)


def cut_above(region: Region, height: int) -> tuple[Region, Region]:
    """So many rows, and the rest."""
    x, y, width, whole = region
    height = min(height, whole)
    return Region(x, y, width, height), Region(x, y + height, width, max(0, whole - height))
