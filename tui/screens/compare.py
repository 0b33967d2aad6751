"""The compare screen: which is better, by how much, at what cost?"""

import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual import work
from textual.app import ComposeResult
from textual.geometry import Size

from ...core.errors import LmwbError
from ...core.history.queries import Run
from ...core.text import printable
from ..actions import bindings_of
from ..comparing import Compared, read_comparison
from ..family import members_of
from ..widgets.bars import KeysBar
from ..widgets.frame import Line, wrapped
from ..widgets.pane import Pane
from .panes import PaneScreen

if TYPE_CHECKING:
    from ..pictures.chart import Grid
    from ..widgets.chart import Chart

_LEAST_CHART = 9
"""Rows that curves need below the rest."""

_LOOK_SECONDS = 2.0


class ComparePane(Pane):
    """Table, bars and, where there is room, curves."""

    title = "Compare"

    def __init__(self) -> None:
        super().__init__()
        self._compared: Compared | None = None
        self._trouble = ""
        self._command = ""
        self._top = 0
        self._lines: list[Line] = []
        self._chart: Chart | None = None

    def compose(self) -> ComposeResult:
        """The curves; the pane itself paints what is above."""
        from ..widgets.chart import Chart

        self._chart = Chart(empty="no curves of this metric")
        self._chart.can_focus = False
        self._chart.display = False
        yield self._chart

    def show(self, compared: Compared | None, trouble: str, command: str) -> None:
        """A comparison, or why there is none; and how a shell would make it."""
        from ..pictures.compared import curves
        from ..pictures.overlay import bounds

        if compared is None or self._compared is None:
            self._top = 0
        self._compared, self._trouble, self._command = compared, trouble, command
        if compared is not None and self._chart is not None:
            series = curves(compared)
            group = compared.curve.rpartition("/")[2]
            self._chart.show(series, title=printable(compared.curve), x_label="step", bounds=bounds(group, series))
        self._lay_out()
        self.redraw()

    def on_resize(self) -> None:
        """Lines depend on the width; curves need height."""
        self._lay_out()

    def toggle_log(self) -> None:
        """The y axis of the curves."""
        if self._chart is not None:
            self._chart.toggle_log()

    def move(self, lines: int) -> None:
        """Scroll."""
        self._top = max(0, min(self._top + lines, len(self._lines) - self.size.height + 2))
        self.redraw()

    def inside(self, size: Size) -> Sequence[Line]:
        """The lines that fit."""
        self._lines = self._written(size.width - 2)
        self._top = max(0, min(self._top, len(self._lines) - size.height))
        return [[Segment(" "), *line] for line in self._lines[self._top : self._top + size.height]]

    def notes(self) -> Line:
        """How a shell would do it."""
        return [Segment(printable(self._command), self.palette.dim)]

    def foot(self) -> Line:
        """Which part is shown, if it doesn't fit."""
        height = self.size.height - 2
        if len(self._lines) <= height:
            return []
        return [Segment(f"{min(self._top + height, len(self._lines))} of {len(self._lines)}", self.palette.dim)]

    def _lay_out(self) -> None:
        """Give the curves what the rest leaves, if that is enough."""
        if self._chart is None or not self.size:
            return
        above = len(self._written(self.size.width - 4)) + 1
        shown = self._compared is not None and self.size.height - 2 - above >= _LEAST_CHART
        if shown:
            self._chart.styles.margin = (above + 1, 2, 1, 2)
        if self._chart.display != shown:
            self._chart.display = shown

    def _written(self, width: int) -> list[Line]:
        """Everything above the curves."""
        if self._compared is None:
            text = self._trouble or "reading …"
            style = self.palette.bad if self._trouble else self.palette.dim
            return [[], *wrapped(printable(text), width, style)]
        from ..pictures.compared import bars, tables

        first, *more = tables(self._compared, width)
        lines: list[Line] = [*self._coloured(first), []]
        for grid in (bars(self._compared, width), *more):
            lines += [*self._coloured(grid), []]
        for note in self._compared.notes:
            lines += wrapped(printable(note), width, self.palette.dim, indent=2)
        return lines

    def _coloured(self, grid: "Grid") -> list[Line]:
        """A grid in the colours of charts."""
        from ..pictures.colours import series_inks
        from ..pictures.ink import colour_depth, rich_style

        depth = colour_depth(no_color=self.app.no_color)
        styles = {part: rich_style(ink) for part, ink in series_inks(depth, dark=self.palette.dark).items()}
        return [
            [Segment(text, styles.get(part)) for text, part in grid.runs(row)] for row in range(len(grid.characters))
        ]


class CompareScreen(PaneScreen[None], inherit_bindings=False):
    """Compares runs, or the stages of a run over its members."""

    BINDINGS = bindings_of("compare")
    DEFAULT_CSS = "CompareScreen ComparePane { height: 1fr; }"

    def __init__(self, runs: Sequence[Run]):
        super().__init__()
        self._runs = list(runs)
        self._pane = ComparePane()
        self._compared: Compared | None = None
        self._metric: str | None = None
        self._baseline: str | None = None
        self._known: object = None

    def compose(self) -> ComposeResult:
        """One pane and the keys."""
        yield self._pane
        yield KeysBar("compare")

    def on_mount(self) -> None:
        """Read, and look now and then whether something has finished."""
        self.set_focus(self._pane)
        self._look()
        self.set_interval(_LOOK_SECONDS, self._look)

    @property
    def focused_pane(self) -> Pane:
        """The only one."""
        return self._pane

    def action_next_metric(self) -> None:
        """Compare something else."""
        self._turn_metric(1)

    def action_previous_metric(self) -> None:
        """Compare what was compared before."""
        self._turn_metric(-1)

    def action_baseline(self) -> None:
        """Take differences to the next row."""
        if self._compared is not None:
            labels = [row.label for row in self._compared.comparison.rows]
            self._baseline = labels[(labels.index(self._compared.comparison.baseline) + 1) % len(labels)]
            self._read()

    def action_log_scale(self) -> None:
        """The y axis of the curves."""
        self._pane.toggle_log()

    @work(exclusive=True, group="figures", name="write pictures")
    async def action_write_figures(self) -> None:
        """Write the pictures, in a process of its own: it needs much that the app does not."""
        folder = self._runs[0].folder / "compare"
        words = [*self._words(), "--figures", str(folder)]
        program = [sys.executable, "-P", "-m", "lmwb.tui.cli", "--home", str(self.app.home.root), *words[1:]]
        self.app.say("Drawing …")
        done = await self.app.in_thread(subprocess.run, program, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            self.app.say(f"The pictures are in {folder}")
        else:
            self.app.say(done.stderr.strip(), error=True)

    def action_close(self) -> None:
        """Back to the runs."""
        self.dismiss(None)

    # -- inside -----------------------------------------------------------------------------------

    def _turn_metric(self, by: int) -> None:
        if self._compared is None:
            return
        metrics = self._compared.metrics
        self._metric = metrics[(metrics.index(self._compared.comparison.metric) + by) % len(metrics)]
        self._read()

    def _look(self) -> None:
        """Read again if a run has gone on to another stage or has ended."""
        runs = self.app.seen.runs
        members = members_of(runs)
        chosen = {run.id for run in self._runs}
        chosen.update(member.id for run_id in list(chosen) for member in members.get(run_id, ()))
        state = [(run.id, run.state, run.stage_id) for run in runs if run.id in chosen]
        if state != self._known:
            self._known = state
            self._read()

    @work(exclusive=True, name="compare")
    async def _read(self) -> None:
        ids = [run.id for run in self._runs]
        try:
            self._compared = await self.app.in_thread(read_comparison, self.app.home, ids, self._metric, self._baseline)
            trouble = ""
        except (LmwbError, sqlite3.Error, OSError) as error:
            self._compared, trouble = None, str(error)
        self._pane.show(self._compared, trouble, shlex.join(self._words()))

    def _words(self) -> list[str]:
        """What does the same in a shell."""
        words = ["lmwb", "compare", *(run.uid for run in self._runs)]
        words += ["--metric", self._metric] if self._metric else []
        return words + (["--baseline", self._baseline] if self._baseline else [])
