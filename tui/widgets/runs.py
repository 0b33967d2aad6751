"""The list of runs: what is running, how far it is, how it ended."""

import time
from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message

from ...core.history.queries import OPEN_STATES, Run
from ...core.text import printable
from .. import words
from ..theme import STATE_GLYPHS, Palette
from .frame import Line, cut, spread, width_of, wrapped
from .pane import Pane

_WIDE = 42
"""From this width on, a row says when the run was begun."""


class RunsPane(Pane):
    """The runs, newest first; one of them is selected.

    Attributes:
        runs: all of them.
        filter: words that must all occur in a run's name, id, stage or state.
    """

    title = "Runs"

    class Selected(Message):
        """Another run is selected, or none."""

        def __init__(self, run: Run | None):
            super().__init__()
            self.run = run

    def __init__(self, id: str | None = None):
        super().__init__(id=id)
        self.runs: tuple[Run, ...] = ()
        self.filter = ""
        self._shown: list[Run] = []
        self._selected_id: int | None = None
        self._expected: int | None = None
        self._top = 0
        self._loaded = False

    @property
    def selected(self) -> Run | None:
        """The selected run."""
        return next((run for run in self._shown if run.id == self._selected_id), None)

    def show(self, runs: tuple[Run, ...]) -> None:
        """The history has changed."""
        self.runs = runs
        self._loaded = True
        self._sift()

    def sift(self, words_wanted: str) -> None:
        """Show only the runs with these words."""
        self.filter = words_wanted
        self._sift()

    def select(self, run_id: int) -> None:
        """Go to a run."""
        if run_id != self._selected_id:
            self._selected_id = run_id
            self.post_message(self.Selected(self.selected))
        self.redraw()

    def expect(self, run_id: int) -> None:
        """Go to a run as soon as the history shows it."""
        self._expected = run_id

    def move(self, lines: int) -> None:
        """Select a run that is so many runs further down."""
        if self._shown:
            place = min(max(self._place() + lines, 0), len(self._shown) - 1)
            self.select(self._shown[place].id)

    def page(self) -> int:
        """As many runs as surely fit."""
        return max(1, (self.size.height - 2) // 2)

    def on_click(self, event: events.Click) -> None:
        """Select the run under the mouse."""
        line = self._top + event.y - 1
        for run, height in zip(self._shown, self._heights(), strict=True):
            if 0 <= line < height:
                self.select(run.id)
                return
            line -= height

    # -- painting ---------------------------------------------------------------------------------

    def inside(self, size: Size) -> Sequence[Line]:
        """The rows around the selected one."""
        width, height = size
        if not self._shown:
            return self._nothing(width)
        heights = self._heights()
        place = self._place()
        above = sum(heights[:place])
        self._top = min(self._top, above)
        self._top = max(self._top, above + min(heights[place], height) - height)
        self._top = max(0, min(self._top, sum(heights) - height))
        lines: list[Line] = []
        position = 0
        for index, (run, rows) in enumerate(zip(self._shown, heights, strict=True)):
            if position + rows > self._top and position < self._top + height:
                block = _row(run, width, self.palette, self._bar(index == place))
                lines += block[max(0, self._top - position) :]
            position += rows
            if position >= self._top + height:
                break
        return lines[:height]

    def notes(self) -> Line:
        """The filter."""
        if self.filter:
            return [
                Segment("/" + printable(self.filter), self.palette.accent),
                Segment(f"  {len(self._shown)} of {len(self.runs)}", self.palette.dim),
            ]
        return [Segment("/ filter", self.palette.dim)] if self.runs else []

    def foot(self) -> Line:
        """Where in the list we are, if it doesn't fit."""
        if sum(self._heights()) <= self.size.height - 2:
            return []
        return [Segment(f"{self._place() + 1} of {len(self._shown)}", self.palette.dim)]

    # -- inside -----------------------------------------------------------------------------------

    def _sift(self) -> None:
        wanted = self.filter.casefold().split()
        self._shown = [run for run in self.runs if _matches(run, wanted)]
        if self._expected in [run.id for run in self._shown]:
            wanted_id, self._expected = self._expected, None
            assert wanted_id is not None
            self.select(wanted_id)
        elif self._shown and self.selected is None:
            self._selected_id = self._shown[0].id
            self.post_message(self.Selected(self.selected))
        elif not self._shown and self._selected_id is not None:
            self._selected_id = None
            self.post_message(self.Selected(None))
        self.redraw()

    def _place(self) -> int:
        return next((place for place, run in enumerate(self._shown) if run.id == self._selected_id), 0)

    def _heights(self) -> list[int]:
        return [2 if _second_line(run) else 1 for run in self._shown]

    def _bar(self, selected: bool) -> Line:
        """The row's left edge, in the row's background."""
        if not selected:
            return [Segment(" ")]
        background = self.palette.selected if self.has_focus else self.palette.selected_away
        return [Segment("▌", background + (self.palette.accent if self.has_focus else self.palette.dim))]

    def _nothing(self, width: int) -> list[Line]:
        if not self._loaded:
            return []
        if self.runs:
            advice = "No run has these words. Esc shows all runs."
        else:
            advice = "No runs yet. Press n to start one from a recipe."
        return [[], *([Segment(" "), *line] for line in wrapped(advice, width - 2, self.palette.dim))]


def _matches(run: Run, wanted: Sequence[str]) -> bool:
    text = f"{run.name} {run.uid} {run.state} {run.stage}".casefold()
    return all(word in text for word in wanted)


def _second_line(run: Run) -> bool:
    return run.state in OPEN_STATES or run.state in ("failed", "died")


def _row(run: Run, width: int, palette: Palette, bar: Line) -> list[Line]:
    """A run's one or two lines."""
    background = Style(bgcolor=bar[0].style.bgcolor) if bar[0].style else Style()
    state = palette.of_state(run.state)
    over = run.state not in OPEN_STATES
    name = [Segment(printable(run.name), palette.strong if bar[0].style else palette.text)]
    first = spread(
        [Segment(f"{STATE_GLYPHS[run.state]} ", state), *name], _figures(run, width, palette, over), width - 2
    )
    lines = [[*bar, *_on(first, background), Segment(" ", background)]]
    if _second_line(run):
        second = _told(run, palette) if over else _going(run, palette, width - 4)
        second = cut([Segment("  "), *second], width - 2)
        lines.append([*bar, *_on(second, background), Segment(" " * (width - 1 - width_of(second)), background)])
    return lines


def _on(line: Line, background: Style) -> Line:
    return [Segment(text, style + background if style else background) for text, style, _ in line]


def _figures(run: Run, width: int, palette: Palette, over: bool) -> Line:
    """The right end of the first line."""
    if run.state == "finished":
        figures = (
            [Segment("loss ", palette.dim), Segment(words.number(run.loss), palette.text)]
            if run.loss is not None
            else []
        )
    else:
        figures = [Segment(_progress(run), palette.dim if over else palette.text)]
    if width >= _WIDE:
        begun = time.strftime("%d %b %H:%M", time.localtime(run.created_us / 1e6))
        figures += [Segment(f"   {begun}", palette.dim)]
    return figures


def _progress(run: Run) -> str:
    if run.total is None:
        return str(run.step) if run.step else ""
    return f"{run.step}/{run.total}"


def _going(run: Run, palette: Palette, width: int) -> Line:
    """What an open run does: loss, speed and time left; without the speed where there is no room for all."""
    pace, left = _pace(run, palette), _left(run, palette)
    if width_of(pace) + width_of(left) + 1 > width:
        pace = pace[:2]
    return spread(pace, left, width)


def _pace(run: Run, palette: Palette) -> Line:
    """Loss and speed, or what the run does instead."""
    if run.state == "elsewhere":
        return [Segment(f"on {printable(run.host)}", palette.dim)]
    if run.state == "starting" or not run.step:
        return [Segment(f"{printable(run.phase) or 'starting'} …", palette.dim)]
    line: Line = []
    if run.loss is not None:
        line = [Segment("loss ", palette.dim), Segment(words.number(run.loss), palette.text)]
    if run.phase not in ("", "training"):
        return [*line, Segment(f"  {printable(run.phase)} …", palette.dim)]
    return [*line, Segment(f"  {words.number(run.speed, 2)}/s", palette.dim)] if run.speed else line


def _left(run: Run, palette: Palette) -> Line:
    if run.seconds_left is None:
        return []
    return [Segment(f"{words.duration(run.seconds_left)} left", palette.dim)]


def _told(run: Run, palette: Palette) -> Line:
    """How it ended, badly."""
    return [Segment(f"{run.state}: ", palette.of_state(run.state)), Segment(printable(words.cause(run)), palette.dim)]
