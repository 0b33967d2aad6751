"""The selected run's curves: one group of metrics, or two side by side where there is room."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.app import ComposeResult

from ...core.history.queries import OPEN_STATES
from ...core.text import printable
from .. import words
from .frame import Line, cut
from .pane import Pane

if TYPE_CHECKING:
    from ..pictures.series import Series
    from ..watcher import Detail
    from .chart import Chart

_FIRST = (
    "loss", "accuracy", "matthews", "f1", "spearman", "pearson", "perplexity", "lr", "gradient_norm",
    "tokens_per_second",
)  # fmt: skip
"""Groups of metrics that come before the others."""

_SIDE_BY_SIDE = 110
"""From this width on, two charts."""

_SMOOTHING = (0.0, 0.6, 0.9, 0.97)


@dataclass(frozen=True)
class Others:
    """How runs beside the selected one are drawn.

    Attributes:
        names: what each is called, by row id, in the order of the legend; foreign text.
        colours: the colour of each by row id.
        mean: draw them pale, with their mean under this name; empty for no mean.
    """

    names: Mapping[int, str]
    colours: Mapping[int, int]
    mean: str = ""


_NOBODY = Others({}, {})


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
        self._others = _NOBODY
        self._charts: list[Chart] = []
        self._group = "loss"
        self._smoothing = _SMOOTHING[0]
        self._drawn: object = None

    def compose(self) -> ComposeResult:
        """Two charts, the second of which may be hidden."""
        from .chart import Chart

        self._charts = [Chart(), Chart(empty="")]
        for chart in self._charts:
            chart.can_focus = False
            yield chart

    def on_resize(self) -> None:
        """One chart or two."""
        wide = self.size.width >= _SIDE_BY_SIDE
        if self._charts and self._charts[1].display != wide:
            self._charts[1].display = wide

    def show(self, detail: "Detail | None", others: Others = _NOBODY) -> None:
        """Another run, or news of the same, and which runs to draw beside it."""
        self._detail, self._others = detail, others
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
            told.append("fitted y" if self._charts[0].bounds else "log y")
        if self._charts[0].view.x0 is not None:
            told.append("zoomed")
        told += self._stage_told()
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

    def _stage_told(self) -> list[str]:
        """Which stage is shown, if there are several."""
        detail = self._detail
        if detail is None or len(detail.stage_names) < 2:
            return []
        place = detail.stage_names.index(detail.stage_name) + 1
        return [f"[ ] stage {place} of {len(detail.stage_names)}"]

    def _draw(self) -> None:
        """Show the curves, if they are others than those on the screen."""
        detail = self._detail
        curves = detail.curves if detail else {}
        others = detail.others if detail else {}
        facts = (detail.run.id, detail.run.state, detail.stage_name) if detail else None
        key = (facts, id(curves), id(others), self.wanted(), self._others)
        if key == self._drawn:
            return
        self._drawn = key
        self.redraw()
        self._kept = curves, others  # while they are kept, no other object can have their ids
        for chart, group, empty in zip(self._charts, (*self.wanted(), ""), (self._nothing(), ""), strict=False):
            series = self._series(group)
            title, bounds = self._titled(group), _bounds(group, series)
            chart.show(series, title=title, x_label="step", x_end=self._end(), bounds=bounds, empty=empty)

    def _nothing(self) -> str:
        """Why there may be nothing to draw."""
        detail = self._detail
        if detail is None or detail.stage is None or detail.run.state in OPEN_STATES:
            return "no measurements yet"
        from ..influence import KIND

        if detail.stage.outcome == "finished" and detail.stage.kind == KIND:
            return "w shows the rows that were found"
        return "nothing was measured here"

    def _titled(self, group: str) -> str:
        """The metric, and of which stage if there are several; foreign text."""
        several = self._detail is not None and len(self._detail.stage_names) > 1
        stage = f"{self._detail.stage_name} · " if self._detail and several else ""
        return stage + group.replace("_", " ")

    def _series(self, group: str) -> "list[Series]":
        """What one chart shows."""
        from ..pictures.overlay import RunCurves, one_run, several_runs

        detail = self._detail
        if detail is None:
            return []
        if not detail.others:
            return one_run(detail.curves, group, self._smoothing)
        curves = {**detail.others, detail.run.id: detail.curves}
        order = [run_id for run_id in self._others.names if run_id in curves]
        runs = [RunCurves(self._others.names[one], self._others.colours[one], curves[one]) for one in order]
        return several_runs(runs, group, self._smoothing, self._others.mean)

    def _end(self) -> float | None:
        """Where the x axis ends: at the planned number of steps, once that is near enough."""
        detail = self._detail
        if detail is None or detail.run.state not in OPEN_STATES:
            return None
        run = detail.run
        present = detail.stage is not None and detail.stage.id == run.stage_id
        return run.total if present and run.total is not None and 3 * run.step >= run.total else None


def _bounds(group: str, series: "list[Series]") -> tuple[float, float] | None:
    from ..pictures.overlay import bounds

    return bounds(group, series)
