"""The base of all panes: a picture of lines that sends only the cells that changed.

A pane is painted as a whole, by a pure function of what it shows and its size, and compared with what is on
the screen; only the spans that differ go over the wire. Nothing here scrolls by itself, blinks or moves.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from ..theme import Palette
from .frame import Line, changed, framed, joined

if TYPE_CHECKING:
    from ..app import LmwbApp


class Picture(Widget, inherit_bindings=False):
    """A widget that paints all its lines itself.

    Attributes:
        shown: it has a place on the screen.
    """

    def __init__(self, id: str | None = None):
        super().__init__(id=id)
        self._strips: list[Strip] = []
        self._painted = Size(0, 0)
        self.shown = True

    @property
    def palette(self) -> Palette:
        """The colours of the present theme."""
        return cast("LmwbApp", self.app).palette

    def paint(self, size: Size) -> Sequence[Line]:
        """At most `size.height` lines of at most `size.width` cells."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Paint anew, and send what differs."""
        if not self.shown or self._painted != self.size:
            self.repaint()  # when it is next asked for a line
            return
        old = self._strips
        self._paint_strips()
        if regions := changed(old, self._strips):
            self.refresh(*regions)

    def repaint(self) -> None:
        """Paint anew and send everything, as after a change of colours."""
        self._painted = Size(0, 0)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Textual's question: what is in this line?"""
        if self._painted != self.size:
            self._paint_strips()
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def watch_has_focus(self, has_focus: bool) -> None:
        """Show whether keys go here."""
        super().watch_has_focus(has_focus)
        self.redraw()

    def _paint_strips(self) -> None:
        width, height = self.size
        base = self.rich_style
        lines = [] if not self.size else list(self.paint(self.size))[:height]
        lines += [[]] * (height - len(lines))
        self._strips = [
            Strip(joined([Segment(text, base + style if style else base) for text, style, _ in line if text]))
            .adjust_cell_length(width, base)
            .simplify()
            for line in lines
        ]
        self._painted = self.size


class Pane(Picture, can_focus=True, inherit_bindings=False):
    """A picture in a frame, with titles in its upper rule.

    Attributes:
        title: its name.
        tabs: titles of the panes that share its place; itself alone, mostly.
    """

    title = ""

    def __init__(self, id: str | None = None):
        super().__init__(id=id)
        self.tabs: tuple[str, ...] = (self.title,)

    def place(self, tabs: tuple[str, ...] | None) -> None:
        """It stands on the screen under these tabs, or not at all."""
        if (self.shown, self.tabs) != (tabs is not None, tabs or self.tabs):
            self.shown, self.tabs = tabs is not None, tabs or self.tabs
            self._painted = Size(0, 0)

    def inside(self, size: Size) -> Sequence[Line]:  # noqa: ARG002 - for subclasses
        """What is in the frame, unless children fill it: so many lines, of so many cells."""
        return []

    def notes(self) -> Line:
        """What stands in the upper right corner."""
        return []

    def foot(self) -> Line:
        """What stands in the lower right corner."""
        return []

    def move(self, lines: int) -> None:
        """The user goes up or down."""

    def slide(self, cells: int) -> None:
        """The user goes left or right."""

    def on_mouse_scroll_up(self) -> None:
        """The wheel moves like the keys."""
        self.move(-3)

    def on_mouse_scroll_down(self) -> None:
        """The wheel moves like the keys."""
        self.move(3)

    def page(self) -> int:
        """How far a page reaches, in lines."""
        return max(1, self.size.height - 3)

    def paint(self, size: Size) -> Sequence[Line]:
        """The frame and what is inside."""
        width, height = size
        if width < 6 or height < 3:
            return [[Segment(self.title)]]
        lines = self.inside(Size(width - 2, height - 2))
        return framed(
            lines, width, height, self.palette, self.tabs, self.title, self.has_focus, self.notes(), self.foot()
        )
