"""The list of runs: what is running, how far it is, how it ended."""

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message

from ...core.history.queries import OPEN_STATES, Run
from ...core.text import printable
from ..family import Entry, arranged, members_of
from .frame import Line, wrapped
from .pane import Pane
from .rows import height as height_of
from .rows import row

MOST_MARKED = 8
"""There are no more colours that can be told apart."""


class RunsPane(Pane):
    """The runs, newest first, members under the run that they belong to; one of them is selected.

    Attributes:
        runs: all of them.
        filter: words that must all occur in a run's name, id, stage or state.
        marked: row ids of the marked runs, by their places in the colours.
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
        self.marked: dict[int, int] = {}
        self._entries: list[Entry] = []
        self._unfolded: dict[int, bool] = {}
        self._selected_id: int | None = None
        self._expected: int | None = None
        self._top = 0
        self._loaded = False

    @property
    def selected(self) -> Run | None:
        """The selected run."""
        return next((entry.run for entry in self._entries if entry.run.id == self._selected_id), None)

    def members(self, run_id: int) -> tuple[Run, ...]:
        """The members of a run."""
        return tuple(members_of(self.runs).get(run_id, ()))

    def show(self, runs: tuple[Run, ...]) -> None:
        """The history has changed."""
        self.runs = runs
        self._loaded = True
        known = {run.id for run in runs}
        self.marked = {run_id: colour for run_id, colour in self.marked.items() if run_id in known}
        self._sift()

    def sift(self, words_wanted: str) -> None:
        """Show only the runs with these words."""
        self.filter = words_wanted
        self._sift()

    def select(self, run_id: int) -> None:
        """Go to a run."""
        if run_id != self._selected_id:
            self._selected_id = run_id
            self._unfold_if_open()
            self.post_message(self.Selected(self.selected))
        self.redraw()

    def reveal(self, run_id: int) -> None:
        """Go to a run, which may be a member of another that hides it."""
        parent = next((run.parent_id for run in self.runs if run.id == run_id), None)
        if parent is not None:
            self._unfolded[parent] = True
        self._expected = run_id
        self._sift()

    def expect(self, run_id: int) -> None:
        """Go to a run as soon as the history shows it."""
        self._expected = run_id

    def fold(self, unfold: bool | None = None) -> None:
        """Show or hide the members of the selected run, or of the run that it is a member of."""
        entry = self._entry()
        if entry is None:
            return
        parent = entry.run.parent_id if entry.member else entry.run.id
        assert parent is not None
        now = self._unfolded.get(parent, False) if entry.member or entry.members else None
        if now is None or now == unfold:
            return
        self._unfolded[parent] = not now
        if entry.member:
            self.select(parent)
        self._sift()

    def mark(self) -> bool:
        """Mark the selected run, or take its mark away; False if there are too many marks."""
        run = self.selected
        if run is None:
            return True
        if run.id in self.marked:
            del self.marked[run.id]
        elif len(self.marked) >= MOST_MARKED:
            return False
        else:
            free = set(range(MOST_MARKED)).difference(self.marked.values())
            self.marked[run.id] = min(free)
        self.redraw()
        return True

    def unmark(self) -> None:
        """Take all marks away."""
        self.marked = {}
        self.redraw()

    def move(self, lines: int) -> None:
        """Select a run that is so many runs further down."""
        if self._entries:
            place = min(max(self._place() + lines, 0), len(self._entries) - 1)
            self.select(self._entries[place].run.id)

    def slide(self, cells: int) -> None:
        """Left hides members, right shows them."""
        self.fold(cells > 0)

    def page(self) -> int:
        """As many runs as surely fit."""
        return max(1, (self.size.height - 2) // 2)

    def on_click(self, event: events.Click) -> None:
        """Select the run under the mouse."""
        line = self._top + event.y - 1
        for entry in self._entries:
            height = height_of(entry)
            if 0 <= line < height:
                self.select(entry.run.id)
                return
            line -= height

    # -- painting ---------------------------------------------------------------------------------

    def inside(self, size: Size) -> Sequence[Line]:
        """The rows around the selected one."""
        width, height = size
        if not self._entries:
            return self._nothing(width)
        heights = [height_of(entry) for entry in self._entries]
        place = self._place()
        above = sum(heights[:place])
        self._top = min(self._top, above)
        self._top = max(self._top, above + min(heights[place], height) - height)
        self._top = max(0, min(self._top, sum(heights) - height))
        lines: list[Line] = []
        position = 0
        for index, (entry, rows) in enumerate(zip(self._entries, heights, strict=True)):
            if position + rows > self._top and position < self._top + height:
                block = row(entry, width, self.palette, self._bar(index == place), self._mark_of(entry.run))
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
                Segment(f"  {len(self._entries)} of {len(self.runs)}", self.palette.dim),
            ]
        return [Segment("/ filter", self.palette.dim)] if self.runs else []

    def foot(self) -> Line:
        """How many are marked; where in the list we are, if it doesn't fit."""
        line: Line = []
        if self.marked:
            line.append(Segment(f"{len(self.marked)} marked", self.palette.accent))
        if sum(map(height_of, self._entries)) > self.size.height - 2:
            line += [Segment("  ")] if line else []
            line.append(Segment(f"{self._place() + 1} of {len(self._entries)}", self.palette.dim))
        return line

    # -- inside -----------------------------------------------------------------------------------

    def _sift(self) -> None:
        self._arrange()
        shown = {entry.run.id for entry in self._entries}
        if self._expected in shown:
            wanted_id, self._expected = self._expected, None
            assert wanted_id is not None
            self.select(wanted_id)
        elif self._entries and self._selected_id not in shown:
            self._select_instead()
        elif not self._entries and self._selected_id is not None:
            self._selected_id = None
            self.post_message(self.Selected(None))
        else:
            self._unfold_if_open()
        self.redraw()

    def _arrange(self) -> None:
        self._entries = arranged(self.runs, self.filter.casefold().split(), self._unfolded)

    def _select_instead(self) -> None:
        """The selected run is not shown: go to the run that it is a member of, or else to the first."""
        parent = next((run.parent_id for run in self.runs if run.id == self._selected_id), None)
        shown = {entry.run.id for entry in self._entries}
        self._selected_id = parent if parent in shown else self._entries[0].run.id
        self._unfold_if_open()
        self.post_message(self.Selected(self.selected))

    def _unfold_if_open(self) -> None:
        """Whoever comes to a run whose members are at work sees them, unless they were folded before."""
        entry = self._entry()
        if entry and entry.members and entry.run.state in OPEN_STATES and entry.run.id not in self._unfolded:
            self._unfolded[entry.run.id] = True
            self._arrange()

    def _entry(self) -> Entry | None:
        return next((entry for entry in self._entries if entry.run.id == self._selected_id), None)

    def _place(self) -> int:
        return next((place for place, entry in enumerate(self._entries) if entry.run.id == self._selected_id), 0)

    def _mark_of(self, run: Run) -> Segment | None:
        """The sign and colour that the run has in charts."""
        colour = self.marked.get(run.id)
        if colour is None:
            return None
        from ..pictures.chart import marker
        from ..pictures.colours import series_colour
        from ..pictures.ink import colour_depth

        depth = colour_depth(no_color=self.app.no_color)
        return Segment(marker(colour), Style(color=series_colour(colour, depth, self.palette.dark)))

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
