"""The tree of a search, to walk through: back to where a candidate came from, on to what became of it."""

from collections.abc import Sequence
from dataclasses import replace

from rich.segment import Segment
from textual.geometry import Size
from textual.message import Message

from ...core.decoding.records import Generation
from ...core.text import printable
from ..lab import Branch, branched, text_of
from ..pictures.beams import Spot, beam_lines, beside, child, end_of, facts, ids_to, name, parent
from ..pictures.ink import colour_depth
from .frame import Line, cut, wrapped
from .inspected import rich_line
from .pane import Pane


class BeamsPane(Pane):
    """Candidates in columns, one column a step, with a cursor."""

    title = "Tree"

    class Walked(Message):
        """The cursor is in another step, counted from 0."""

        def __init__(self, step: int):
            super().__init__()
            self.step = step

    def __init__(self) -> None:
        super().__init__()
        self._generation: Generation | None = None
        self._spot: Spot | None = None
        self._why_not = ""

    def show(self, generation: Generation | None, place: int = 0, why_not: str = "No tree yet.") -> None:
        """Another search, or none and why; the cursor goes to where one of its texts ends."""
        self._generation, self._why_not = generation, why_not
        self._spot = end_of(generation, place) if generation is not None and generation.hypotheses else None
        self.redraw()

    def branch(self, here: Branch, vocabulary: str) -> Branch | None:
        """What goes on from the candidate at the cursor, kept or dropped; None without one."""
        generation, spot = self._generation, self._spot
        if generation is None or spot is None:
            return None
        trace = generation.hypotheses[0].trace
        trace = replace(trace, pieces={**trace.pieces, **generation.pieces}, special=generation.special | trace.special)
        ids = ids_to(generation.steps, spot)
        way = f"“{name(generation, ids[-1])}” of step {spot.step + 1}"
        return branched(here, trace, ids, trace.prompt_length, vocabulary, way)

    def move(self, lines: int) -> None:
        """To a better or worse candidate of the same step."""
        if self._generation is not None and self._spot is not None:
            self._go(beside(self._generation.steps, self._spot, lines))

    def slide(self, cells: int) -> None:
        """To the candidate that this one goes on from, or to the best that goes on from it."""
        if self._generation is None or self._spot is None:
            return
        for _ in range(abs(cells)):
            spot = (child if cells > 0 else parent)(self._generation.steps, self._spot)
            if spot is None:
                break
            self._go(spot)

    def inside(self, size: Size) -> Sequence[Line]:
        """The columns, and below them the candidate at the cursor."""
        width, height = size
        if self._generation is None or self._spot is None:
            text = self._why_not if self._generation is None else "No tree was recorded."
            return [[], *([Segment(" "), *line] for line in wrapped(text, width - 2, self.palette.dim))]
        depth = colour_depth(no_color=self.app.no_color)
        below = [rich_line(line) for line in facts(self._generation, self._spot)]
        below.append(self._text_so_far(width - 2))
        below = below[: max(1, min(3, height - 4))]
        room = height - len(below) - 1
        columns = beam_lines(self._generation, self._spot, width - 2, max(2, room), depth)
        lines: list[Line] = [rich_line(line) for line in columns][:room]
        lines += [[]] * (room - len(lines))
        rule: Line = [Segment("─" * (width - 2), self.palette.faint)]
        return [[Segment(" "), *line] for line in (*lines, rule, *(cut(line, width - 2) for line in below))]

    def foot(self) -> Line:
        """What the signs mean."""
        signs = (("×", "dropped"), ("■", "finished")) if self._spot is not None else ()
        return [part for sign, word in signs for part in
                (Segment(f" {sign} ", self.palette.strong), Segment(word, self.palette.dim))]  # fmt: skip

    def _go(self, spot: Spot) -> None:
        if spot != self._spot:
            self._spot = spot
            self.post_message(self.Walked(spot.step))
            self.redraw()

    def _text_so_far(self, width: int) -> Line:
        """The end of the text up to the cursor."""
        assert self._generation is not None
        assert self._spot is not None
        ids = ids_to(self._generation.steps, self._spot)
        text = printable(text_of(ids, self._generation.pieces, frozenset()))
        text = text if len(text) <= width // 2 * 2 else "…" + text[-(width // 2 * 2) :]
        return [Segment(text, self.palette.dim)]
