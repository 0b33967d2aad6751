"""Coloured tokens with a line of facts above, and beside or below them what the model thought of the one at the
cursor."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.segment import Segment
from rich.style import Style
from textual import on
from textual.app import ComposeResult
from textual.geometry import Size

from .frame import Line, cut, width_of
from .pane import Pane
from .tokens import TokenView

if TYPE_CHECKING:
    from ...core.tokens import Cluster, TokenTrace
    from ..pictures.ink import Line as InkLine

BESIDE = 110
"""From this width on, the inspector stands beside the tokens, with a bar for each alternative."""

_INSPECTOR = 44
"""Cells of an inspector that stands beside."""


class InspectedTokens(Pane):
    """A pane of tokens; subclasses say what stands above them.

    Attributes:
        least_for_bars: rows inside the pane from which on an inspector below has a bar for each alternative.
        tells_more: a line of the inspector is for `more_facts`.
    """

    least_for_bars = 26
    tells_more = False

    DEFAULT_CSS = "InspectedTokens TokenView { margin: 2 2 4 2; }"

    def __init__(self, id: str | None = None):
        super().__init__(id=id)
        self._view = TokenView()
        self._view.can_focus = False

    def compose(self) -> ComposeResult:
        """The tokens; the pane itself paints what is above and below."""
        yield self._view

    def on_resize(self) -> None:
        """Make room for the inspector."""
        self._make_room()

    def above(self, width: int) -> Sequence[Line]:
        """What stands above the tokens: at least a line."""
        raise NotImplementedError

    def more_facts(self) -> Line:
        """What is known of the token at the cursor beside what its trace tells; nothing, mostly."""
        return []

    def chosen(self) -> tuple[int, int] | None:
        """Position and id of an alternative that stands out; none, mostly."""
        return None

    @property
    def asked(self) -> "tuple[TokenTrace, tuple[int, int]] | None":
        """The tokens, and the first and the one behind the last of the marked span, or of those at the cursor."""
        trace, cluster = self._view.trace, self._view.cluster
        if trace is None or cluster is None:
            return None
        return trace, self._view.span or (cluster.first, cluster.last)

    @property
    def has_mark(self) -> bool:
        """A span is marked."""
        return self._view.span is not None

    def mark(self) -> None:
        """Begin a span at the cursor, end it there, or begin a new one."""
        self._view.mark()
        self.redraw()

    def unmark(self) -> bool:
        """Take the mark away; whether there was one."""
        marked = self._view.unmark()
        self.redraw()
        return marked

    def foot(self) -> Line:
        """What the colours mean; with a mark, how much is marked, and what can be asked about it."""
        if self._view.trace is None:
            return []
        span = self._view.span
        if span is None:
            return rich_line(self._view.header())
        count = span[1] - span[0]
        told = f"{count} token{'' if count == 1 else 's'} marked"
        return [Segment(told, self.palette.accent), Segment(", w asks", self.palette.dim)]

    def cycle_scale(self) -> None:
        """The next meaning of the colours."""
        self._view.cycle_scale()
        self.redraw()

    def move(self, lines: int) -> None:
        """The cursor walks from line to line."""
        self._view.move(0, lines)

    def slide(self, cells: int) -> None:
        """The cursor walks over the tokens."""
        self._view.move(cells, 0)

    def page(self) -> int:
        """As many lines of tokens as fit."""
        return max(1, self._view.size.height - 1)

    def tokens_inside(self, size: Size) -> Sequence[Line]:
        """What stands above, room for the tokens, inspector."""
        width, height = size
        if width >= BESIDE:
            return self._with_inspector_beside(width, height)
        below = self._inspector_height(height)
        inspector = [[Segment(" "), *line] for line in self._inspect(width - 2, below)]
        lines: list[Line] = [*self.above(width)]
        lines += [[]] * (height - len(lines) - below)
        return [*lines, *inspector]

    @on(TokenView.Moved)
    def _inspect_another(self) -> None:
        self.redraw()

    def _make_room(self) -> None:
        """Margins of the tokens, for what is above and for the inspector."""
        width, height = self.size.width - 2, self.size.height - 2
        if width <= 0:
            return
        above = 1 + len(self.above(width))
        if width >= BESIDE:
            self._view.styles.margin = (above, _INSPECTOR + 3, 1, 2)
        else:
            self._view.styles.margin = (above, 2, 1 + self._inspector_height(height), 2)

    def _with_inspector_beside(self, width: int, height: int) -> list[Line]:
        rule = Segment("│ ", self.palette.faint)
        right = [rule, Segment(" " * _INSPECTOR)]
        more = self.more_facts()
        facts = [[rule, *fact] for fact in self._facts(_INSPECTOR)]
        if facts and more:
            facts.insert(1, [rule, *cut(more, _INSPECTOR)])
        left: list[Line] = [*self.above(width - _INSPECTOR - 2)]
        left += [[]] * (height - len(left))
        facts += [right] * (height - len(facts))
        return [
            [*cut(line, width - _INSPECTOR - 3), Segment(" " * (width - _INSPECTOR - 3 - width_of(line))), *fact]
            for line, fact in zip(left, facts, strict=False)
        ]

    def _inspector_height(self, inside: int) -> int:
        """A rule and the facts: on one line to three, or with a bar for each alternative where there is room."""
        if inside < 8:
            return 2 if inside < 6 else 3
        return 3 + self.tells_more if inside < self.least_for_bars else 11

    def _inspect(self, width: int, height: int) -> list[Line]:
        facts, cluster = self._facts(width), self._view.cluster
        if not facts or cluster is None:
            return []
        rule: Line = [Segment("─" * width, self.palette.faint)]
        more = [cut(line, width) for line in [self.more_facts()] if line]
        if height > 4:
            return [rule, facts[0], *more, *facts[1:]][:height]
        return [rule, facts[0], *more, cut(self._rivals(cluster.first), width)][:height]

    def _facts(self, width: int) -> list[Line]:
        """The tokens at the cursor, each with its alternatives below it."""
        from ..pictures.tokens import inspect_lines

        trace, cluster = self._view.trace, self._view.cluster
        if trace is None or cluster is None:
            return []
        lines = [rich_line(line) for line in inspect_lines(trace, cluster, width, self._view.depth)]
        if (chosen := self.chosen()) is not None:
            place = _line_of(trace, cluster, *chosen)
            lines[place] = [
                Segment(text, (style or Style()) + self.palette.selected) for text, style, _ in lines[place]
            ]
        return lines

    def _rivals(self, position: int) -> Line:
        """What else the model thought of, in one line."""
        from ..pictures.tokens import short_probability, token_name

        trace = self._view.trace
        if trace is None or math.isnan(trace.logprob[position]):
            return []
        palette = self.palette
        line: Line = []
        for token_id, logprob in zip(trace.alternative_ids[position], trace.alternative_logprob[position], strict=True):
            style = palette.strong if token_id == trace.ids[position] else palette.text
            style += palette.selected if (position, token_id) == self.chosen() else Style()
            line += [Segment("   ")] if line else []
            line.append(Segment(token_name(trace, int(token_id)), style))
            line.append(Segment(f" {short_probability(math.exp(logprob))}", palette.dim))
        return line


def _line_of(trace: "TokenTrace", cluster: "Cluster", position: int, token_id: int) -> int:
    """Where an alternative stands among the lines of an inspector."""
    known = ~np.isnan(trace.logprob[cluster.first : position])
    before = len(known) + int(known.sum()) * trace.alternative_ids.shape[1]
    return before + 1 + trace.alternative_ids[position].tolist().index(token_id)


def rich_line(line: "InkLine") -> Line:
    """The same for a pane."""
    from ..pictures.ink import rich_style

    return [Segment(segment.text, rich_style(segment.ink)) for segment in line]
