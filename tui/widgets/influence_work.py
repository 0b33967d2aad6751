"""The lines around an answer: what was asked of whom, and how the work goes until the answer is there."""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size

from ...core.history.queries import OPEN_STATES, Run
from ...core.text import printable
from .. import words
from ..influence import Look, Pace
from ..theme import STATE_GLYPHS
from .frame import Line, spread, wrapped
from .pane import Pane, Picture

_BAR = 40


class InfluenceBar(Picture):
    """The first line: the run, the training that it asks, the strategy."""

    DEFAULT_CSS = "InfluenceBar { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None
        self._look: Look | None = None

    def show(self, run: Run, look: Look | None) -> None:
        """The run and what of its answer is shown."""
        self._run, self._look = run, look
        self.redraw()

    def paint(self, size: Size) -> Sequence[Line]:
        """One line."""
        palette, look = self.palette, self._look
        left = [Segment(" lmwb", palette.accent + Style(bold=True))]
        if self._run is not None:
            left.append(Segment(f"   {printable(self._run.name)}", palette.strong))
        if look is None:
            return [spread(left, [], size.width)]
        right = [Segment(printable(look.report.of), palette.dim)]
        if look.strategies:
            name = printable(look.strategies[look.strategy])
            right += [Segment("   "), Segment(name, palette.text)]
        if len(look.strategies) > 1:
            right.append(Segment(f" {look.strategy + 1} of {len(look.strategies)}", palette.dim))
        return [spread(left, [*right, Segment(" ")], size.width)]


class WorkPane(Pane):
    """How far the work is, or why there is no answer."""

    title = "Work"

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None
        self._trouble = ""
        self._pace = Pace()
        self._left: float | None = None

    def show(self, run: Run, trouble: str) -> None:
        """How the run is, and why there is nothing to see: foreign text."""
        self._run, self._trouble = run, trouble
        self._left = self._pace.seconds_left(run)
        self.redraw()

    def inside(self, size: Size) -> Sequence[Line]:
        """State, phase, progress; what one can do meanwhile."""
        run, palette = self._run, self.palette
        if run is None:
            return []
        width = size.width - 4
        state = [Segment(f"{STATE_GLYPHS[run.state]} {run.state}", palette.of_state(run.state))]
        lines: list[Line] = [[], [*state, Segment(f"   {run.uid}", palette.dim)], []]
        if run.state in OPEN_STATES and not self._trouble:
            lines += self._progress(run, width)
            told = "x stops it. It goes on without this screen; w on the run in the list leads back here."
            lines += [[], *wrapped(told, width, palette.dim)]
        elif self._trouble:
            style = palette.warning if run.state == "stopped" else palette.bad
            lines += wrapped(printable(self._trouble), width, style)
            if run.state in ("failed", "died"):
                told = "What it printed stands among the runs, under Log; r tries again from where it was."
                lines += [[], *wrapped(told, width, palette.dim)]
        else:
            lines += wrapped("reading the answer …", width, palette.dim)
        return [[Segment("  "), *line] for line in lines[: size.height]]

    def _progress(self, run: Run, width: int) -> list[Line]:
        """The phase, and how far it is."""
        palette = self.palette
        phase = printable(run.phase) or "starting"
        lines: list[Line] = [[Segment(f"{phase} …", palette.text)]]
        if run.total:
            cells = max(10, min(_BAR, width - 24))
            full = round(min(1.0, run.step / run.total) * cells)
            lines.append([
                Segment("━" * full, palette.accent),
                Segment("─" * (cells - full), palette.faint),
                Segment(f"  {run.step:,} of {run.total:,}", palette.text),
            ])  # fmt: skip
        if self._left is not None:
            lines.append([Segment(f"{words.duration(self._left)} left of this part", palette.dim)])
        return lines
