"""The tree of a search as columns of candidates, one column a step, with the way to the one at the cursor.

Walking and drawing are pure functions of the recorded steps.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len

from ...core.decoding.records import Fate, Generation, Step
from ...core.tokens import piece_text
from .colours import probability_ink
from .ink import BOLD, DIM, PLAIN, Depth, Ink, Line, Segment
from .tokens import short_probability

_GUTTER = 3
"""Cells between columns, for the way to the cursor."""

_LEAST, _MOST = 3, 12
"""Cells of a token in a column."""

MARKS = {Fate.KEPT: " ", Fate.DROPPED: "×", Fate.FINISHED: "■"}
"""What stands before a candidate, so that colour is not the only sign."""


@dataclass(frozen=True)
class Spot:
    """A candidate of a step."""

    step: int
    candidate: int


def parent(steps: Sequence[Step], spot: Spot) -> Spot | None:
    """The candidate of the step before that this one goes on from; None in the first step."""
    if spot.step == 0:
        return None
    row = int(steps[spot.step].parents[spot.candidate])
    return Spot(spot.step - 1, int(_kept(steps[spot.step - 1])[row]))


def child(steps: Sequence[Step], spot: Spot) -> Spot | None:
    """The best candidate of the next step that goes on from this one; None if there is none."""
    rows = np.flatnonzero(_kept(steps[spot.step]) == spot.candidate)
    if spot.step + 1 >= len(steps) or not len(rows):
        return None
    found = np.flatnonzero(steps[spot.step + 1].parents == rows[0])
    return Spot(spot.step + 1, int(found[0])) if len(found) else None


def beside(steps: Sequence[Step], spot: Spot, by: int) -> Spot:
    """The candidate so many places below in the same step; held at the ends."""
    return Spot(spot.step, min(max(spot.candidate + by, 0), len(steps[spot.step].ids) - 1))


def way_to(steps: Sequence[Step], spot: Spot) -> list[int]:
    """The candidate of each step, from the first to this one."""
    way = [spot.candidate]
    while (before := parent(steps, spot)) is not None:
        way.append(before.candidate)
        spot = before
    return way[::-1]


def ids_to(steps: Sequence[Step], spot: Spot) -> list[int]:
    """The tokens from the prompt's end to this candidate."""
    return [int(step.ids[candidate]) for step, candidate in zip(steps, way_to(steps, spot), strict=False)]


def end_of(generation: Generation, place: int) -> Spot | None:
    """Where a hypothesis ends in the tree; None if the tree was not recorded."""
    path = generation.hypotheses[place].path.tolist()
    return Spot(len(path) - 1, path[-1]) if generation.steps and path else None


def beam_lines(generation: Generation, spot: Spot, width: int, height: int, depth: Depth = Depth.TRUE) -> list[Line]:
    """Columns of candidates around the cursor, each column under the number of its step.

    Args:
        generation: with its tree.
        spot: the cursor.
        width, height: of the picture, in cells.
        depth: how many colours the terminal has.
    """
    steps, way = generation.steps, way_to(generation.steps, spot)
    widths, shown = _window(generation, spot.step, width)
    rows = max(1, height - 1)
    top = max(0, min(spot.candidate - rows // 2, max(len(steps[i].ids) for i in shown) - rows))
    below, above = _hidden(generation, shown, top, rows)
    lines: list[list[Segment]] = [[] for _ in range(rows + 1)]
    for i in shown:
        head = str(i + 1).center(widths[i] + 1)
        lines[0].append(Segment(" " * _GUTTER + head, BOLD if i == spot.step else DIM))
        for row in range(rows):
            candidate = top + row
            lines[row + 1].append(Segment(_link(way, i, candidate), PLAIN))
            lines[row + 1].extend(_cell(generation, i, candidate, widths[i], way, spot, depth))
    for sign, number, line in (("↑", above, lines[1]), ("↓", below, lines[-1])):
        if number:
            line.append(Segment(f" {sign}{number}", DIM))
    return [tuple(line) for line in lines]


def facts(generation: Generation, spot: Spot) -> list[Line]:
    """The candidate at the cursor: its three numbers, then what became of it and why, then the text up to it."""
    step, i = generation.steps[spot.step], spot.candidate
    p = math.exp(float(step.logprob[i]))
    first: Line = (
        Segment(f"“{name(generation, int(step.ids[i]))}”", BOLD),
        Segment(f"  p {short_probability(p)}"),
        Segment(f"  rank {int(step.rank[i])}"),
        Segment(f"  score {float(step.score[i]):.2f}"),
        Segment(f"  renormalised {short_probability(float(step.renormalised[i]))}"),
        Segment(f"  sum {float(step.total[i]):.3f}"),
    )
    fate = Fate(int(step.fate[i]))
    told = f"step {spot.step + 1} of {len(generation.steps)}, candidate {i + 1} of {len(step.ids)}: "
    kept = step.total[step.fate != Fate.DROPPED]
    if fate is Fate.DROPPED and len(kept):
        told += f"dropped, {float(kept.min() - step.total[i]):.3f} below the last that was kept"
    else:
        told += {Fate.DROPPED: "dropped", Fate.KEPT: "kept", Fate.FINISHED: "finished"}[fate]
    row = int(step.parents[i])
    more = f"  entropy {float(step.entropy[row]):.1f} bit"
    if step.blocked[row] > 0:
        more += f"  blocked {float(step.blocked[row]):.0%}"
    tie = (Segment("  near tie", BOLD),) if step.near_tie else ()
    return [first, (Segment(told), Segment(more, DIM), *tie)]


def name(generation: Generation, token_id: int) -> str:
    """A token with its spaces visible."""
    return piece_text(generation.pieces.get(token_id, b""), token_id).replace(" ", "␠")


def _kept(step: Step) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The candidates that are the rows of the next step."""
    return np.flatnonzero(step.fate == Fate.KEPT)


def _width(step: Step, pieces: Mapping[int, bytes]) -> int:
    names = (cell_len(piece_text(pieces.get(i, b""), i)) for i in map(int, step.ids))
    return min(max([_LEAST, *names]), _MOST)


def _window(generation: Generation, at: int, width: int) -> tuple[dict[int, int], range]:
    """The steps to show, as far as there is room: two after the cursor's, then those before it, then more.

    Returns:
        The widths of their tokens, and the steps.
    """
    steps = generation.steps
    widths = {at: _width(steps[at], generation.pieces)}
    first = last = at
    room = width - widths[at] - 1 - _GUTTER
    after, before = iter(range(at + 1, len(steps))), iter(range(at - 1, -1, -1))
    order = [*itertools.islice(after, 2)]
    for step in itertools.chain(order, before, after):
        needed = _width(steps[step], generation.pieces)
        room -= needed + 1 + _GUTTER
        if room < 0:
            break
        widths[step] = needed
        first, last = min(first, step), max(last, step)
    return widths, range(first, last + 1)


def _hidden(generation: Generation, shown: range, top: int, rows: int) -> tuple[int, int]:
    """How many rows are below and above those on the screen."""
    most = max(len(generation.steps[i].ids) for i in shown)
    return max(0, most - top - rows), top


def _link(way: Sequence[int], step: int, row: int) -> str:
    """The part of the way to the cursor that lies before a cell."""
    if step >= len(way):
        return " " * _GUTTER
    start, end = way[step - 1] if step else way[step], way[step]
    if start == end:
        return "───" if row == end else "   "
    low, high = min(start, end), max(start, end)
    if row == start:
        return "─╮ " if end > start else "─╯ "
    if row == end:
        return " ╰─" if end > start else " ╭─"
    return " │ " if low < row < high else "   "


def _cell(
    generation: Generation, step: int, candidate: int, width: int, way: Sequence[int], spot: Spot, depth: Depth
) -> list[Segment]:
    found = generation.steps[step]
    if candidate >= len(found.ids):
        return [Segment(" " * (width + 1))]
    fate = Fate(int(found.fate[candidate]))
    text = _fitted(name(generation, int(found.ids[candidate])), width)
    on_way = step < len(way) and way[step] == candidate
    here = step == spot.step and candidate == spot.candidate
    ink = _ink(float(found.logprob[candidate]), fate, depth)
    if here:
        ink = Ink(bold=True, reverse=True)
    elif on_way:
        ink = Ink(ink.foreground, ink.background, bold=True, underline=ink.underline)
    return [Segment(MARKS[fate], DIM), Segment(text, ink)]


def _ink(logprob: float, fate: Fate, depth: Depth) -> Ink:
    if fate is Fate.DROPPED:
        return DIM
    p = math.exp(logprob)
    return probability_ink(p, p, depth)


def _fitted(text: str, width: int) -> str:
    if cell_len(text) > width:
        while cell_len(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - cell_len(text))
