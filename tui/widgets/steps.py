"""How sure a model was at each step, for several numbers of beams, or for two models."""

from collections.abc import Mapping

import numpy as np
from rich.segment import Segment
from textual.app import ComposeResult

from ...core.text import printable
from ..lab import Said
from ..pictures.series import Series
from .chart import Chart
from .frame import Line
from .pane import Pane


class StepsPane(Pane):
    """The probability of each token of the best texts."""

    title = "Steps"
    DEFAULT_CSS = "StepsPane Chart { margin: 1 2 1 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._chart = Chart(empty="nothing has been said yet")
        self._chart.can_focus = False
        self._names: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """The chart; the pane itself paints the frame."""
        yield self._chart

    def show(self, said: Mapping[str, Said], title: str = "p") -> None:
        """The best text of each, under these names: foreign text."""
        self._names = tuple(said)
        series = [_series(name, each, colour) for colour, (name, each) in enumerate(said.items())]
        self._chart.show(series, title=title, x_label="step", bounds=(0.0, 1.0))
        self.redraw()

    def mark(self, step: int | None) -> None:
        """Mark a step, counted from 0, or none."""
        self._chart.set_cursor(None if step is None or step < 0 else step + 1)

    def toggle_log(self) -> None:
        """The whole range from 0 to 1, or one that is fitted to the data."""
        self._chart.toggle_log()

    def slide(self, cells: int) -> None:
        """Mark the step beside."""
        self._chart.move_cursor(cells)

    def notes(self) -> Line:
        """Which key compares."""
        return [Segment(printable("b compares numbers of beams"), self.palette.dim)] if len(self._names) == 1 else []


def _series(name: str, said: Said, colour: int) -> Series:
    trace = said.traces[0]
    p = trace.probability[trace.prompt_length :].astype(np.float64)
    return Series(name, np.arange(1, len(p) + 1, dtype=np.float64), p, colour)
