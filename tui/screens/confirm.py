"""A question with two answers."""

from collections.abc import Sequence

from rich.segment import Segment
from textual.app import ComposeResult
from textual.geometry import Size
from textual.screen import ModalScreen

from ...core.text import printable
from ..actions import bindings_of
from ..widgets.frame import Line, cut, wrapped
from ..widgets.pane import Pane


class _Question(Pane):
    """The frame with the question in it."""

    def __init__(self, deed: str, name: str, words: str):
        self.title = deed
        super().__init__()
        self._name, self._words = name, words

    def inside(self, size: Size) -> Sequence[Line]:
        """The deed and its object, what it means, and the keys."""
        palette = self.palette
        lines: list[Line] = [
            [],
            cut(
                [Segment(f" {self.title} ", palette.text), Segment(f"{printable(self._name)}?", palette.strong)],
                size.width - 1,
            ),
            *[[Segment(" "), *line] for line in wrapped(self._words, size.width - 2, palette.dim)],
            [],
            [
                *(Segment(" y", palette.accent), Segment(f" {self.title.lower()}    ", palette.dim)),
                *(Segment("n", palette.accent), Segment(" leave it running", palette.dim)),
            ],
        ]
        return lines


class Confirm(ModalScreen[bool], inherit_bindings=False):
    """Asks before something that is not undone at a key press."""

    BINDINGS = bindings_of("confirm")
    DEFAULT_CSS = """
    Confirm { align: center middle; background: $background 60%; }
    Confirm _Question { width: 60; max-width: 100%; height: 8; }
    """

    def __init__(self, deed: str, name: str, words: str):
        super().__init__()
        self._question = _Question(deed, name, words)

    def compose(self) -> ComposeResult:
        """The question."""
        yield self._question

    def action_yes(self) -> None:
        """Do it."""
        self.dismiss(True)

    def action_no(self) -> None:
        """Leave it."""
        self.dismiss(False)
