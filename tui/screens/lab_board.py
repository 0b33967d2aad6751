"""How the lab divides its room: text, tree and steps beside each other where they fit, else as tabs; the form of all
settings stands where tree and steps were."""

from collections.abc import Iterable

from textual.geometry import Size

from ..widgets.pane import Pane
from .board import Board, Place, cut_above, cut_left

TEXT, BESIDE, TREE, STEPS, FORM = "Text", "Beside", "Tree", "Steps", "All settings"
_TABS = (TEXT, TREE, STEPS)


def places(size: Size, tab: str, two: bool, zoomed: str | None = None, given: bool = False) -> dict[str, Place]:
    """Which panes are on the screen, by title, in the order in which the focus walks.

    Args:
        size: of the room for panes.
        tab: the tab that was chosen last.
        two: there is a second model, whose text stands beside the first one's, or below it.
        zoomed: the pane that has the whole room.
        given: the texts were given and have no tree; the chart has its room unless the tree is asked for.
    """
    whole = size.region
    if zoomed is not None:
        return {zoomed: Place(whole, (zoomed,))}
    if size.width < 100 or size.height < 22:
        if tab not in (TEXT, BESIDE):
            return {tab: Place(whole, (FORM,) if tab == FORM else _TABS)}
        if not two:
            return {TEXT: Place(whole, _TABS)}
        upper, lower = cut_above(whole, (size.height + 1) // 2)
        return {TEXT: Place(upper, _TABS), BESIDE: Place(lower, (BESIDE,))}
    upper, lower = cut_above(whole, size.height * 45 // 100)
    tree, steps = cut_left(lower, size.width * 58 // 100)
    left, right = cut_left(upper, (size.width + 1) // 2) if two else (upper, upper)
    texts = {TEXT: Place(left, (TEXT,)), **({BESIDE: Place(right, (BESIDE,))} if two else {})}
    if tab == FORM:
        return {**texts, FORM: Place(lower, (FORM,))}
    if given and tab != TREE:
        return {**texts, STEPS: Place(lower, (STEPS,))}
    return {
        **texts,
        TREE: Place(tree, (TREE,)),
        STEPS: Place(steps, (STEPS,)),
    }


class LabBoard(Board):
    """The panes of the lab.

    Attributes:
        two: there is a second model.
        given: the texts were given, not searched for.
    """

    def __init__(self, panes: Iterable[Pane]):
        super().__init__(panes)
        self.two = False
        self.given = False
        self._tab = TEXT

    def places(self, size: Size) -> dict[str, Place]:
        """As the function of this name."""
        return places(size, self._tab, self.two, self.zoomed, self.given)

    def open(self, title: str) -> None:
        """Bring a pane to the screen."""
        if title in (*_TABS, BESIDE, FORM):
            self._tab = title
            super().open(title)
