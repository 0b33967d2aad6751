"""Lists around an answer: the training rows by score, and what the work took."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.message import Message

from ...core.text import printable
from .. import words
from .frame import Line, cut, spread, width_of, wrapped
from .pane import Pane

if TYPE_CHECKING:
    from ...core.influence_report import Found
    from ..influence import Look

_BAR = 8
_MOST_WORDS = 300
"""Characters of a row's text that a list looks at."""


def row_words(look: "Look", row: int) -> str:
    """The first words of a training row, in one printable line."""
    text = look.report.rows.get(row)
    return "" if text is None else " ".join(printable(text.words[:_MOST_WORDS]).replace("␊", " ").split())


class ListPane(Pane):
    """Lines, one of them selected."""

    def __init__(self) -> None:
        super().__init__()
        self._look: Look | None = None
        self._top = 0

    def rows(self, lines: Sequence[Line], place: int, size: Size) -> list[Line]:
        """The part of a list around a selected line, which has a bar and a background."""
        width, height = size
        self._top = max(0, min(self._top, place, len(lines) - height))
        self._top = max(self._top, place + 1 - height)
        shown: list[Line] = []
        for number, line in enumerate(lines[self._top : self._top + height], self._top):
            if number != place:
                shown.append([Segment(" "), *cut(line, width - 2)])
                continue
            background = self.palette.selected if self.has_focus else self.palette.selected_away
            line = cut(line, width - 2)
            line = [Segment("▌", self.palette.accent), *line, Segment(" " * (width - 1 - width_of(line)))]
            shown.append([Segment(text, (style or Style()) + background) for text, style, _ in line])
        return shown


class RowsPane(ListPane):
    """The training rows with the highest scores, or the lowest."""

    title = "Rows"

    class Walked(Message):
        """Another row is wanted, so many further down."""

        def __init__(self, by: int):
            super().__init__()
            self.by = by

    def show(self, look: "Look") -> None:
        """The rows of a look."""
        self._look = look
        self.redraw()

    def move(self, lines: int) -> None:
        """Select another row."""
        self.post_message(self.Walked(lines))

    def inside(self, size: Size) -> Sequence[Line]:
        """A heading, and a line for each row."""
        look = self._look
        if look is None or not look.found:
            told = "No rows were kept; ask again with scores.top=10."
            return [[], *([Segment(" "), *line] for line in wrapped(told, size.width - 2, self.palette.dim))]
        largest = max(abs(each.score) for each in look.found)
        lines = [self._line(rank, each, largest, look) for rank, each in enumerate(look.found)]
        head = f"  {'':3}  {'score':>9}  {'':{_BAR}}  {'seen in step':<13}  begins with"
        return [cut([Segment(head, self.palette.dim)], size.width),
                *self.rows(lines, look.rank, Size(size.width, max(1, size.height - 1)))]  # fmt: skip

    def notes(self) -> Line:
        """Which end of the list."""
        if self._look is None:
            return []
        end = "lowest scores" if self._look.worst else "highest scores"
        return [Segment(end, self.palette.text), Segment(", b turns", self.palette.dim)]

    def foot(self) -> Line:
        """What the sign means; the report's whole sentence stands under Profile."""
        return [Segment("+ training on it lowers the query's loss", self.palette.dim)]

    def _line(self, rank: int, found: "Found", largest: float, look: "Look") -> Line:
        from ..pictures.influence import score_text

        text = look.report.rows.get(found.row)
        seen = text.seen if text is not None else ()
        times = f"{seen[0][0]:,}" + (f" and {len(seen) - 1} more" if len(seen) > 1 else "") if seen else "–"
        full = abs(found.score) / largest if largest else 0.0
        style = self.palette.accent if found.score > 0 else self.palette.warning
        return [
            Segment(f" {rank + 1:>3}  ", self.palette.dim),
            Segment(f"{score_text(found.score):>9}", self.palette.strong),
            Segment("  " + _bar(full, _BAR), style),
            Segment(f"  {times:<13}", self.palette.text),
            Segment(f"  {row_words(look, found.row)}", self.palette.dim if rank != look.rank else self.palette.text),
        ]


class ProfilePane(Pane):
    """What each phase of the work took, and what was left out or approximated."""

    title = "Profile"

    def __init__(self) -> None:
        super().__init__()
        self._look: Look | None = None
        self._top = 0
        self._length = 0

    def show(self, look: "Look") -> None:
        """The profile of a report."""
        self._look = look
        self.redraw()

    def move(self, lines: int) -> None:
        """Scroll."""
        self._top = max(0, min(self._top + lines, self._length - self.size.height + 2))
        self.redraw()

    def inside(self, size: Size) -> Sequence[Line]:
        """Notes, then phases."""
        if self._look is None:
            return []
        report, width = self._look.report, size.width - 2
        lines: list[Line] = wrapped(f"asked: {printable(report.of)}", width, self.palette.text)
        lines += wrapped(printable(report.sign), width, self.palette.text, indent=2)
        for note in (each for each in report.notes if each != report.sign):
            lines += wrapped(printable(note), width, self.palette.dim, indent=2)
        if report.profile:
            figures = f"{'calls':>6} {'mean':>8} {'total':>8} {'share':>6} {'peak':>8}"
            head = spread([Segment("phase")], [Segment(figures)], width)
            lines += [[], [Segment(text, self.palette.dim) for text, _, _ in head]]
            lines += [self._phase(phase, width) for phase in report.profile]
        self._length = len(lines)
        self._top = max(0, min(self._top, self._length - size.height))
        return [[Segment(" "), *line] for line in lines[self._top : self._top + size.height]]

    def foot(self) -> Line:
        """Which part is shown, if it doesn't fit."""
        height = self.size.height - 2
        if self._length <= height:
            return []
        return [Segment(f"{min(self._top + height, self._length)} of {self._length}", self.palette.dim)]

    def _phase(self, phase: Mapping[str, Any], width: int) -> Line:
        """One phase; what a report of another make lacks is left blank."""
        seconds = [_seconds(phase.get(key)) for key in ("mean", "total")]
        share = phase.get("share")
        peak = phase.get("peak_bytes")
        told = f"{phase.get('calls', ''):>6} {seconds[0]:>8} {seconds[1]:>8} "
        told += f"{f'{share:.1%}' if isinstance(share, float) else '':>6} "
        told += f"{words.size(peak) if isinstance(peak, int | float) else '':>8}"
        return spread(
            [Segment(printable(str(phase.get("phase", ""))), self.palette.text)],
            [Segment(told, self.palette.text)],
            width,
        )


def _seconds(value: object) -> str:
    return f"{words.number(value)} s" if isinstance(value, int | float) else ""


def _bar(share: float, width: int) -> str:
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width)
