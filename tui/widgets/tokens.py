"""The token view: coloured tokens with a cursor, and a span that can be marked. Lines are laid out once per trace and
width; only visible ones are painted."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ...core.tokens import Cluster, TokenTrace
from ..pictures import ink
from ..pictures.colours import SCALES, Scale, difference_legend, scale_legend
from ..pictures.differences import difference_lines
from ..pictures.generations import Pen
from ..pictures.tokens import Layout, header_line, token_lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

Meaning = Scale | Literal["difference"]
"""What colours can mean."""


class TokenView(ScrollView, can_focus=True):
    """A `TokenTrace` as coloured text. Its actions are plain methods, for the app to bind keys to."""

    DEFAULT_CSS = """
    TokenView { height: 1fr; width: 1fr; overflow-x: hidden; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    """

    class Moved(Message):
        """The cursor is on another cluster, or on one of another trace."""

        def __init__(self, view: "TokenView", cluster: Cluster, trace: TokenTrace) -> None:
            """The cluster under the cursor, and the trace that it is part of."""
            super().__init__()
            self.view = view
            self.cluster = cluster
            self.trace = trace

        @property
        def control(self) -> "TokenView":
            """The view, for `on` with a selector."""
            return self.view

    def __init__(self, *, empty: str = "no tokens yet", id: str | None = None, classes: str | None = None) -> None:
        """An empty view.

        Args:
            empty: what to say while there are no tokens.
            id, classes: of the widget.
        """
        super().__init__(id=id, classes=classes)
        self.scale: Meaning = "linear"
        self._empty = empty
        self._trace: TokenTrace | None = None
        self._difference: NDArray[np.float32] | None = None
        self._lines: Layout | None = None
        self._laid_out: tuple[object, ...] = ()
        self._cursor = 0
        self._mark: tuple[int, int | None] | None = None
        self._fresh = True
        self._strips: dict[int, Strip] = {}

    @property
    def trace(self) -> TokenTrace | None:
        """What is shown."""
        return self._trace

    @property
    def cluster(self) -> Cluster | None:
        """What the cursor is on; None if nothing is shown."""
        layout = self._lines
        return layout.clusters[self._cursor] if layout and layout.clusters else None

    @property
    def span(self) -> tuple[int, int] | None:
        """The first token of the marked span, and the one behind its last; None if nothing is marked."""
        layout, marked = self._lines, self._marked()
        if layout is None or not marked:
            return None
        return layout.clusters[marked.start].first, layout.clusters[marked.stop - 1].last

    @property
    def depth(self) -> ink.Depth:
        """How many colours are used."""
        return ink.colour_depth(no_color=self.app.no_color)

    def show(self, trace: TokenTrace | None, difference: "NDArray[np.float32] | None" = None) -> None:
        """Show these tokens from now on, or none. The cursor stays where it was, or goes to the first new token.

        Args:
            trace: the tokens.
            difference: (n,) by how much likelier they became, in natural logarithms: one more meaning of the colours.
        """
        self._fresh |= self._trace is None
        if trace is not self._trace:
            self._mark = None
        self._trace, self._difference = trace, difference
        if difference is None and self.scale == "difference":
            self.scale = "surprisal"
        self._show_cursor()

    def move(self, dx: int, dy: int) -> None:
        """Move the cursor by clusters to the right and by lines down; it stops at the ends."""
        if self._lines is not None:
            self._place_cursor(self._lines.step(self._cursor, dx, dy))

    def look_at(self, position: int) -> None:
        """Place the cursor on the cluster with the token at a position; nothing happens if it is there."""
        shown = self._lines.clusters if self._lines is not None else ()
        found = next((place for place, one in enumerate(shown) if one.first <= position < one.last), self._cursor)
        if found != self._cursor:
            self._place_cursor(found)

    def mark(self) -> None:
        """Begin a span at the cursor, which goes on to wherever the cursor goes; end it there; or begin a new one."""
        if self.cluster is not None:
            going_on = self._mark is not None and self._mark[1] is None
            self._set_mark((self._mark[0], self._cursor) if self._mark and going_on else (self._cursor, None))

    def unmark(self) -> bool:
        """Take the mark away; whether there was one."""
        marked = self._mark is not None
        self._set_mark(None)
        return marked

    def cycle_scale(self) -> None:
        """The next meaning of the colours: linear, surprisal, rank; difference, where one is known."""
        scales: tuple[Meaning, ...] = (*SCALES, "difference") if self._difference is not None else SCALES
        self.scale = scales[(scales.index(self.scale) + 1) % len(scales)]
        self._lay_out()

    def header(self) -> ink.Line:
        """What the colours mean, as a line for the app to put somewhere."""
        if self.scale == "difference":
            return difference_legend(self.depth)
        given = self._trace is None or self._trace.prompt_length > 0
        return header_line(self.scale, self.depth) if given else scale_legend(self.scale, self.depth)

    def render_line(self, y: int) -> Strip:
        """One visible line."""
        width, number = self.size.width, y + self.scroll_offset.y
        if self._lines is None or not self._lines.clusters:
            text = self._empty if y == self.size.height // 2 else ""
            return Strip([Segment(text.center(width)[:width], Style(dim=True))], width).apply_style(self.rich_style)
        if number >= len(self._lines.lines):
            return Strip.blank(width, self.rich_style)
        if number not in self._strips:
            self._strips[number] = self._strip(self._lines.lines[number])
        return self._strips[number].extend_cell_length(width).apply_style(self.rich_style)

    def on_resize(self, _: Resize) -> None:
        """Lines depend on the width."""
        self._show_cursor()

    def on_click(self, event: Click) -> None:
        """The cursor goes to the token clicked on."""
        if self._lines is not None:
            offset = event.get_content_offset_capture(self)
            self._place_cursor(self._lines.at(offset.y + self.scroll_offset.y, offset.x))

    def _show_cursor(self) -> None:
        """Lay out and show the cursor, of a first trace at the first new token; nothing while there is no room."""
        if self._lay_out():
            self._place_cursor(self._first_place() if self._fresh else self._cursor)
            self._fresh = False

    def _lay_out(self) -> bool:
        """Lay the trace out if it, the width or the colours have changed; whether there are lines."""
        if not self.is_attached or not self.size.width:
            return False
        old, width, depth = self._lines, self.size.width, self.depth
        wanted = (width, self.scale, depth)
        if self._trace is None:
            self._lines = None
        elif old is None or old.trace is not self._trace or wanted != self._laid_out:
            self._lines = self._laid(self._trace, width, depth)
        if self._lines is not old:
            self._repaint(old, same_width=wanted[:1] == self._laid_out[:1])
        self._laid_out = wanted
        return self._lines is not None

    def _laid(self, trace: TokenTrace, width: int, depth: ink.Depth) -> Layout:
        if self.scale != "difference":
            return token_lines(trace, width, self.scale, depth)
        assert self._difference is not None
        return difference_lines(trace, self._difference, Pen(width, depth=depth))

    def _repaint(self, old: Layout | None, same_width: bool) -> None:
        """Paint the visible lines that differ from the old ones."""
        new = self._lines
        self._strips.clear()
        if old is None or new is None or not same_width or len(old.lines) != len(new.lines):
            self.virtual_size = Size(self.size.width, len(new.lines) if new else 0)
            self.refresh()
            return
        top = self.scroll_offset.y
        for number in range(top, min(top + self.size.height, len(new.lines))):
            if old.lines[number] != new.lines[number]:
                self.refresh(Region(0, number - top, self.size.width, 1))

    def _first_place(self) -> int:
        layout = self._lines
        if layout is None:
            return 0
        begin, trace = layout.trace.prompt_length, layout.trace
        new = [i for i, cluster in enumerate(layout.clusters) if cluster.first >= begin]
        known = (i for i in new if begin or not np.isnan(trace.logprob[layout.clusters[i].first]))
        return next(known, new[0] if new else 0)

    def _place_cursor(self, cluster: int) -> None:
        layout = self._lines
        if layout is None or not layout.clusters:
            return
        old, self._cursor = min(self._cursor, len(layout.clusters) - 1), min(cluster, len(layout.clusters) - 1)
        between = range(min(old, self._cursor), max(old, self._cursor) + 1)
        self._paint_again(between if self._mark is not None else {old, self._cursor})
        self._scroll_to_cursor()
        self.post_message(self.Moved(self, layout.clusters[self._cursor], layout.trace))

    def _scroll_to_cursor(self) -> None:
        """Bring the cursor's line into view; by half a page, so that walking on scrolls rarely."""
        layout, height = self._lines, self.size.height
        if layout is None or not layout.clusters or not height:
            return
        self._cursor = min(self._cursor, len(layout.clusters) - 1)
        lines, top = layout.lines_of(self._cursor), self.scroll_offset.y
        if lines.start < top:
            self.scroll_to(y=max(0, lines.start - height // 2), animate=False, force=True)
        elif lines.stop > top + height:
            self.scroll_to(y=lines.start - height // 2, animate=False, force=True)

    def _marked(self) -> range:
        """The clusters that are marked."""
        if self._mark is None:
            return range(0)
        begin, end = self._mark
        end = self._cursor if end is None else end
        return range(min(begin, end), max(begin, end) + 1)

    def _set_mark(self, mark: tuple[int, int | None] | None) -> None:
        before, self._mark = self._marked(), mark
        self._paint_again({*before, *self._marked()})

    def _paint_again(self, clusters: Iterable[int]) -> None:
        """Paint the lines of these clusters."""
        layout = self._lines
        if layout is None:
            return
        for number in {number for index in clusters for number in layout.lines_of(index)}:
            self._strips.pop(number, None)
            self.refresh(Region(0, number - self.scroll_offset.y, self.size.width, 1))

    def _strip(self, line: Sequence[ink.Segment]) -> Strip:
        marked, plain = self._marked(), self.rich_style

        def style(segment: ink.Segment) -> Style:
            if segment.cluster in marked:  # all in one look, whatever their colours were
                return plain + (_CURSOR + _IN_SPAN if segment.cluster == self._cursor else _SPAN)
            own = ink.rich_style(segment.ink)
            return own + _CURSOR if segment.cluster == self._cursor else own

        return Strip(Segment(segment.text, style(segment)) for segment in line)


_CURSOR = Style(reverse=True, bold=True, dim=False)
_SPAN = Style(reverse=True)
_IN_SPAN = Style(underline=True)
