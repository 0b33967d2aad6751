"""A query or a training row, each token in the colour of its influence, with the numbers of the one at the cursor."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual import on
from textual.app import ComposeResult
from textual.geometry import Size

from ...core.text import printable
from ..pictures.generations import Pen
from .frame import Line, cut, width_of, wrapped
from .inspected import rich_line
from .pane import Pane
from .tokens import TokenView

if TYPE_CHECKING:
    from ...core.influence_report import Report, ReportedText
    from ...core.tokens import TokenTrace
    from ..influence import Look
    from ..pictures.ink import Depth
    from ..pictures.tokens import Layout


_WHOLE = 1000
"""Cells in which everything fits."""


class InfluenceView(TokenView):
    """Tokens in the colours of their influence."""

    def __init__(self) -> None:
        super().__init__(empty="")
        self._shown: tuple[Report, ReportedText] | None = None
        self._scores: Sequence[float] = ()

    def show_influence(self, report: "Report", text: "ReportedText", scores: Sequence[float]) -> None:
        """Show this text from now on; `scores` are those of its tokens, none for no colours."""
        self._shown, self._scores = (report, text), scores
        self._fresh = True
        self.show(report.trace(text) if text.ids else None)

    def _first_place(self) -> int:
        """The cluster with the strongest token, or else where that which is asked about begins."""
        shown = self._lines.clusters if self._lines is not None else ()
        first = self._shown[1].first if self._shown is not None else 0
        strongest = max(range(len(self._scores)), key=lambda i: abs(self._scores[i]), default=first)
        return next((place for place, one in enumerate(shown) if one.last > strongest), 0)

    def _laid(self, trace: "TokenTrace", width: int, depth: "Depth") -> "Layout":
        from ..pictures.influence import influence_layout

        assert self._shown is not None
        return replace(influence_layout(*self._shown, self._scores, Pen(width, depth=depth)), trace=trace)


class _TextPane(Pane):
    """A text between a line of facts and the numbers of the token at the cursor."""

    DEFAULT_CSS = "_TextPane InfluenceView { margin: 2 2 2 2; }"

    def __init__(self) -> None:
        super().__init__()
        self._look: Look | None = None
        self._text: ReportedText | None = None
        self._scores: Sequence[float] = ()
        self._view = InfluenceView()
        self._view.can_focus = False

    def compose(self) -> ComposeResult:
        """The tokens; the pane itself paints what is above and below."""
        yield self._view

    def head(self, look: "Look") -> Line:
        """What stands above the text."""
        raise NotImplementedError

    def of_what(self) -> str:
        """What a token's number is a share of."""
        raise NotImplementedError

    def move(self, lines: int) -> None:
        """The cursor walks from line to line."""
        self._view.move(0, lines)

    def slide(self, cells: int) -> None:
        """The cursor walks over the tokens."""
        self._view.move(cells, 0)

    def page(self) -> int:
        """As many lines of tokens as fit."""
        return max(1, self._view.size.height - 1)

    def inside(self, size: Size) -> Sequence[Line]:
        """The head, room for the text, the token at the cursor."""
        if self._look is None or self._text is None:
            return [[], [Segment(" There is no row to show.", self.palette.dim)]]
        lines: list[Line] = [cut([Segment(" "), *self.head(self._look)], size.width)]
        if not self._text.ids:
            told = wrapped(printable(self._text.words), size.width - 2, self.palette.text)
            return [*lines, *([Segment(" "), *line] for line in told)][: size.height]
        lines += [[]] * max(0, size.height - 2)
        return [*lines, cut([Segment(" "), *self._numbers()], size.width)]

    def show_text(self, look: "Look", text: "ReportedText | None", scores: Sequence[float]) -> None:
        """Show this text from now on."""
        self._look = look
        if (text, scores) != (self._text, self._scores):
            self._text, self._scores = text, scores
            self._view.visible = text is not None and bool(text.ids)
            if text is not None:
                self._view.show_influence(look.report, text, scores)
        self.redraw()

    @on(TokenView.Moved)
    def _tell_another(self) -> None:
        self.redraw()

    def _numbers(self) -> Line:
        """The score and the share of the tokens at the cursor."""
        from ..pictures.influence import score_text

        cluster, chosen = self._view.cluster, self._look and self._look.chosen
        if cluster is None or chosen is None:
            return []
        line = [Segment(f"“{cluster.text}”", self.palette.strong)]
        known = self._scores[cluster.first : cluster.last]
        if not known:
            why = "nothing is predicted from here" if self._scores else "the scores of tokens were not asked for"
            return [*line, Segment(f"  {why}", self.palette.dim)]
        score = sum(known)
        line.append(Segment(f"  {score_text(score)}", self.palette.text))
        if chosen.score:
            share = f"{score / chosen.score:.1%}".replace("-", "−")
            line.append(Segment(f"  {share} of {self.of_what()}", self.palette.dim))
        return line


class AskedPane(_TextPane):
    """What is asked about, coloured by its tokens' part in the score of the selected row."""

    title = "Asked"

    def show(self, look: "Look") -> None:
        """The query of a look."""
        scores = () if look.together or look.chosen is None else look.chosen.query_tokens
        self.show_text(look, look.asked, scores)

    def head(self, look: "Look") -> Line:
        """Which query, and the loss that is asked about."""
        line: Line = []
        if look.together:
            line = [Segment(f"the first of {len(look.report.queries)} queries, asked together", self.palette.strong)]
        elif look.queries > 1:
            line = [Segment(f"query {look.query + 1} of {look.queries}", self.palette.strong)]
        if self._text is not None and self._text.end > self._text.first:
            count = self._text.end - self._text.first
            told = f"{count} token{'' if count == 1 else 's'}"
            line.append(Segment(f"{'  ' if line else ''}{told}", self.palette.text))
        if self._text is not None and self._text.loss is not None:
            line.append(Segment(f"  loss {self._text.loss:.3g} nats", self.palette.dim))
        return line

    def of_what(self) -> str:
        """The share is one of the row's score."""
        return "the row's score"

    def foot(self) -> Line:
        """What colours mean, as much of it as fits."""
        from ..pictures.influence import influence_legend

        legend = rich_line(influence_legend(Pen(_WHOLE, depth=self._view.depth)))
        while legend and width_of(legend) > self.size.width - 8:
            legend.pop()
        return legend


class RowPane(_TextPane):
    """The selected training row, coloured by its tokens' part in its score."""

    title = "Row"

    def show(self, look: "Look") -> None:
        """The selected row of a look."""
        self.show_text(look, look.row, () if look.chosen is None else look.chosen.tokens)

    def head(self, look: "Look") -> Line:
        """Which row, its score, and when it was seen."""
        from ..pictures.influence import score_text, seen_text

        chosen, row = look.chosen, look.row
        if chosen is None or row is None:
            return []
        return [
            Segment(score_text(chosen.score), self.palette.strong),
            Segment(f"  row {chosen.row:,} of {look.report.training_rows:,}", self.palette.text),
            Segment(f"  {seen_text(row.seen) or 'it is not known when it was seen'}", self.palette.dim),
        ]

    def of_what(self) -> str:
        """The share is one of the score above."""
        return "its score"
