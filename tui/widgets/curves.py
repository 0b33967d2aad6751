"""The selected run's curves: one group of metrics, or two side by side where there is room."""

from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.app import ComposeResult

from ...core.history.queries import OPEN_STATES
from ...core.text import printable
from .. import words
from .frame import Line, cut
from .pane import Pane

if TYPE_CHECKING:
    from ...core.history.blocks import Points
    from ..pictures.series import Series
    from ..watcher import Detail
    from .chart import Chart

_FIRST = ("loss", "perplexity", "lr", "gradient_norm", "tokens_per_second")
"""Groups of metrics that come before the others."""

_SIDE_BY_SIDE = 110
"""From this width on, two charts."""

_SMOOTHING = (0.0, 0.6, 0.9, 0.97)
_DENSE = 50
"""Curves with fewer points are never smoothed: validation says what it says."""


class CurvesPane(Pane):
    """Curves over steps. Metrics that differ only in what stands before the slash share a chart."""

    title = "Curves"
    DEFAULT_CSS = """
    CurvesPane { layout: horizontal; }
    CurvesPane Chart { margin: 1 2 1 1; }
    """

    def __init__(self, id: str | None = None):
        super().__init__(id=id)
        self._detail: Detail | None = None
        self._charts: list[Chart] = []
        self._group = "loss"
        self._smoothing = _SMOOTHING[0]
        self._drawn: object = None

    def compose(self) -> ComposeResult:
        """Two charts, the second of which may be hidden."""
        from .chart import Chart

        self._charts = [Chart(empty="no measurements yet"), Chart(empty="")]
        for chart in self._charts:
            chart.can_focus = False
            yield chart

    def on_resize(self) -> None:
        """One chart or two."""
        wide = self.size.width >= _SIDE_BY_SIDE
        if self._charts and self._charts[1].display != wide:
            self._charts[1].display = wide

    def show(self, detail: "Detail | None") -> None:
        """Another run, or news of the same."""
        self._detail = detail
        self._draw()

    def mark(self, step: int | None) -> None:
        """Mark a step, with the values there in the legend, or none."""
        for chart in self._charts:
            chart.set_cursor(step)

    def wanted(self) -> tuple[str, ...]:
        """The groups of metrics to read."""
        groups = self._groups()
        place = groups.index(self._group) if self._group in groups else 0
        several = 2 if self.size.width >= _SIDE_BY_SIDE else 1
        return (groups + groups)[place : place + min(several, len(groups))] or ("loss",)

    def turn(self, by: int) -> None:
        """Go on to the next group."""
        groups = self._groups()
        if groups:
            place = groups.index(self._group) if self._group in groups else 0
            self._group = groups[(place + by) % len(groups)]

    def toggle_log(self) -> None:
        """Logarithmic y axes on and off."""
        for chart in self._charts:
            chart.toggle_log()
        self.redraw()

    def smooth(self) -> None:
        """The next degree of smoothing, none after the last."""
        self._smoothing = _SMOOTHING[(_SMOOTHING.index(self._smoothing) + 1) % len(_SMOOTHING)]
        self._drawn = None
        self._draw()
        self.redraw()

    def zoom(self, factor: float | None) -> None:
        """Show a part of the x axis, or with None all of it."""
        for chart in self._charts:
            chart.reset_view() if factor is None else chart.zoom(factor)
        self.redraw()

    def pan(self, fraction: float) -> None:
        """Move along the x axis."""
        for chart in self._charts:
            chart.pan(fraction)

    def step_beside(self, columns: int) -> int | None:
        """The step so many columns beside the marked one; the latest if none is marked."""
        if not self._charts or self._charts[0].frame is None:
            return None
        self._charts[0].move_cursor(columns)
        cursor = self._charts[0].cursor
        return None if cursor is None else round(cursor)

    def notes(self) -> Line:
        """How the curves are drawn."""
        if not self._charts:
            return []
        told: list[str] = []
        if self._smoothing:
            told.append(f"smooth {self._smoothing}")
        if self._charts[0].view.log_y:
            told.append("log y")
        if self._charts[0].view.x0 is not None:
            told.append("zoomed")
        damaged = sum(points.damaged for points in self._detail.curves.values()) if self._detail else 0
        lost = [Segment(f"{words.count(damaged)} damaged points left out  ", self.palette.bad)] if damaged else []
        return [*lost, Segment(" · ".join(told), self.palette.dim)]

    def foot(self) -> Line:
        """Why the run ended, if not well."""
        run = self._detail.run if self._detail else None
        if run is None or run.state not in ("failed", "died"):
            return []
        style = self.palette.of_state(run.state)
        told = [Segment(f"{run.state}: ", style), Segment(printable(words.cause(run)), self.palette.text)]
        return cut(told, self.size.width - 8)

    def _groups(self) -> tuple[str, ...]:
        """The groups that the run has measured, the common ones first."""
        names = {name.rpartition("/")[2] for name in (self._detail.metrics if self._detail else ())}
        return (*(name for name in _FIRST if name in names), *sorted(names.difference(_FIRST)))

    def _draw(self) -> None:
        """Show the curves, if they are others than those on the screen."""
        detail = self._detail
        curves = detail.curves if detail else {}
        key = (detail.run.id if detail else None, id(curves), self.wanted(), detail.run.state if detail else None)
        if key == self._drawn:
            return
        self._drawn = key
        self.redraw()
        self._kept = curves  # while it is kept, no other object can have its id
        for chart, group in zip(self._charts, (*self.wanted(), ""), strict=False):
            series = [
                drawn
                for name, points in curves.items()
                if name.rpartition("/")[2] == group
                for drawn in self._series(name, points)
            ]
            chart.show(series, title=group.replace("_", " "), x_label="step", x_end=self._end())

    def _series(self, name: str, points: "Points") -> "list[Series]":
        from ..pictures.series import Series, smoothed

        origin, _, metric = name.rpartition("/")
        best = "min" if origin == "validation" and metric in ("loss", "perplexity") else None
        series = Series(origin, points.steps.astype(float), points.values, 0 if origin == "train" else 1, best)
        return smoothed(series, self._smoothing if len(series) >= _DENSE else 0.0)

    def _end(self) -> float | None:
        """Where the x axis ends: at the planned number of steps, once that is near enough."""
        run = self._detail.run if self._detail else None
        if run is None or run.total is None or run.state not in OPEN_STATES or 3 * run.step < run.total:
            return None
        return run.total
