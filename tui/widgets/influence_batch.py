"""The step of a training that saw a row: its loss in the curve, and the rows of its batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.segment import Segment
from textual.app import ComposeResult
from textual.geometry import Size

from .. import words
from .frame import Line, cut, wrapped
from .influence_lists import ListPane, row_words

if TYPE_CHECKING:
    from ...core.influence_report import Found
    from ..influence import Answered, Look
    from .chart import Chart

_LEAST_CHART = 8
"""Rows that a curve needs; a list below it has as many."""


class BatchPane(ListPane):
    """The step that saw a row: its loss in the run's curve, and the other rows of its batch."""

    title = "Batch"
    DEFAULT_CSS = "BatchPane Chart { margin: 2 2 1 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._answered: Answered | None = None
        self._place: int | None = None
        self._chart: Chart | None = None
        self._drawn: object = None

    def compose(self) -> ComposeResult:
        """The curve; the pane itself paints the rest."""
        from .chart import Chart

        self._chart = Chart(empty="no losses were recorded")
        self._chart.can_focus = False
        yield self._chart

    def show(self, look: "Look", answered: "Answered") -> None:
        """The step that saw the selected row of a look."""
        if self._look is None or (look.chosen, look.time) != (self._look.chosen, self._look.time):
            self._place = None
        self._look, self._answered = look, answered
        self._draw()
        self.redraw()

    def on_resize(self) -> None:
        """The curve needs room."""
        self._draw()

    def move(self, lines: int) -> None:
        """Walk over the rows of the batch."""
        if self._look is not None and self._look.batch:
            self._place = max(0, min(self._at() + lines, len(self._look.batch) - 1))
            self.redraw()

    def slide(self, cells: int) -> None:
        """Walk over the rows of the batch, too."""
        self.move(cells)

    def notes(self) -> Line:
        """How often the row was seen."""
        row = self._look.row if self._look is not None else None
        if row is None or len(row.seen) < 2 or self._look is None:
            return []
        return [Segment(f"time {self._look.time + 1} of {len(row.seen)}, n p", self.palette.dim)]

    def inside(self, size: Size) -> Sequence[Line]:
        """The step, room for the curve, the batch."""
        look, width = self._look, size.width
        if look is None or look.chosen is None:
            return []
        if look.seen is None:
            told = "It is not known which steps saw this row; the notes under Profile say why."
            return [[], *([Segment(" "), *line] for line in wrapped(told, width - 2, self.palette.dim))]
        curve = self._curve_height(size)
        lines: list[Line] = [cut([Segment(" "), *self._step(look)], width), *[[]] * curve]
        if look.batch is None:
            told = (
                "The report holds the batch of the first time only." if look.time else "The report left its batch out."
            )
            more = wrapped(told, width - 2, self.palette.dim)
            return [*lines, *([Segment(" "), *line] for line in more)]
        room = Size(width, max(1, size.height - len(lines)))
        scores = {each.row: each for each in look.found}
        return [*lines, *self.rows([self._row(n, row, scores.get(row)) for n, row in enumerate(look.batch)],
                                   self._at(), room)]  # fmt: skip

    def _step(self, look: "Look") -> Line:
        """Which step it was, and how it went."""
        assert look.seen is not None
        step, place = look.seen
        last = self._answered.last_step if self._answered is not None else None
        line = [Segment(f"step {step:,}", self.palette.strong)]
        line += [Segment(f" of {last:,}", self.palette.dim)] if last else []
        of = f" of {len(look.batch)}" if look.batch else ""
        line.append(Segment(f"  row {place + 1}{of} of its batch", self.palette.text))
        loss = self._loss_at(step)
        line.append(Segment(f"  loss {words.number(loss)}", self.palette.text) if loss is not None else Segment(""))
        return line

    def _row(self, number: int, row: int, found: "Found | None") -> Line:
        from ..pictures.influence import score_text

        assert self._look is not None
        mine = self._look.chosen is not None and self._look.chosen.row == row
        score = score_text(found.score) if found is not None else ""
        return [
            Segment(f" {'▸' if mine else ' '}{number + 1:>3}  ", self.palette.accent if mine else self.palette.dim),
            Segment(f"{f'row {row:,}':<10}", self.palette.text),
            Segment(f" {score:>9}  ", self.palette.strong),
            Segment(row_words(self._look, row), self.palette.text if mine else self.palette.dim),
        ]

    def _at(self) -> int:
        """The selected row of the batch; that of the answer, if nobody has walked."""
        if self._place is not None:
            return self._place
        look = self._look
        if look is None or look.seen is None or look.batch is None or look.chosen is None:
            return 0
        batch = list(look.batch)
        return batch.index(look.chosen.row) if look.chosen.row in batch else min(look.seen[1], len(batch) - 1)

    def _loss_at(self, step: int) -> float | None:
        losses = self._answered.losses if self._answered is not None else None
        if losses is None or not len(losses):
            return None
        place = int(np.searchsorted(losses.steps, step))
        return float(losses.values[place]) if place < len(losses) and losses.steps[place] == step else None

    def _curve_height(self, size: Size) -> int:
        """Rows of the curve; none where the list needs them."""
        known = self._answered is not None and self._answered.losses is not None
        there = known and self._look is not None and self._look.seen is not None
        return min(14, size.height // 2) if there and size.height >= 2 * _LEAST_CHART else 0

    def _draw(self) -> None:
        """Show the curve with the step marked."""
        from ..pictures.series import Series

        if self._chart is None or self._look is None or self._answered is None:
            return
        height = self._curve_height(Size(self.size.width - 2, self.size.height - 2))
        self._chart.display = height > 0
        losses, seen = self._answered.losses, self._look.seen
        if not height or losses is None or seen is None:
            return
        self._chart.styles.height = height
        self._chart.styles.margin = (2, 2, 0, 1)
        if self._drawn is not losses:
            self._drawn = losses
            self._chart.show([Series("train", losses.steps.astype(float), losses.values)], title="loss", x_label="step")
        self._chart.set_cursor(float(seen[0]))
