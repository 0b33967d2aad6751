"""The steps of a search in lines: which text each candidate goes on from, and what became of it."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from rich.cells import cell_len

from ...core.decoding.records import NEAR_TIE, Fate, Generation, Step
from ...core.text import printable
from ...core.tokens import piece_text
from .generations import Pen, percent, signed
from .ink import BOLD, DIM, PLAIN, Line, Segment
from .tokens import cut_line, fitted

_NAME = 18
_WIDEST = 100
"""Cells; the eye loses a wider line."""
_HEAD = f"{'token':<{_NAME}} {'p':>5} {'score':>8} {'total':>8} {'rank':>5}   becomes"


def tree_lines(generation: Generation, pen: Pen) -> Iterator[Line]:
    """Every step of the search: its texts, and below each the candidates that go on from it.

    A star marks the road to the best hypothesis. `p` is the model's, `score` is after the processors.
    """
    if not generation.steps:
        return
    pen = replace(pen, width=min(pen.width, _WIDEST))
    yield cut_line((Segment(f"      {_HEAD}", DIM),), pen.width)
    rows = [b""] * (1 + int(max(generation.steps[0].parents, default=0)))
    best = generation.hypotheses[0].path.tolist() if generation.hypotheses else []
    for number, step in enumerate(generation.steps):
        yield _rule(number + 1, step, pen.width)
        starred = best[number] if number < len(best) else -1
        for row, text in enumerate(rows):
            yield from _row_lines(generation, step, row, text, starred, pen)
        kept = np.flatnonzero(step.fate == Fate.KEPT)
        rows = [
            rows[step.parents[i]] + _piece(generation, int(step.ids[i])) for i in kept if step.parents[i] < len(rows)
        ]


def _rule(number: int, step: Step, width: int) -> Line:
    note = "near tie ≈: the worst kept and the best dropped are alike " if step.near_tie else ""
    line = (Segment(f"── step {number} ", BOLD), Segment(note))
    rest = width - sum(cell_len(segment.text) for segment in line)
    return cut_line((*line, Segment("─" * rest, DIM)), width)


def _row_lines(generation: Generation, step: Step, row: int, text: bytes, starred: int, pen: Pen) -> Iterator[Line]:
    """One text that went into the step, with its candidates."""
    mine = np.flatnonzero(step.parents == row).tolist()
    told = f"  {signed(float(step.entropy[row]), 1)} bit" if row < len(step.entropy) else ""
    if row < len(step.blocked) and step.blocked[row] > 0:
        told = f"  blocked {percent(float(step.blocked[row]))}" + told
    if not mine:
        told += "  no candidate"
    room = max(8, pen.width - 3 - cell_len(told))
    shown = fitted(_tail(generation.prompt, text, room), room)
    yield cut_line(
        (Segment(f"{row + 1:>2} ", BOLD), Segment(shown, PLAIN if mine else DIM), Segment(told, DIM)), pen.width
    )
    for place, candidate in enumerate(mine):
        branch = "   └─ " if place == len(mine) - 1 else "   ├─ "
        yield cut_line(
            (Segment(branch, DIM), *_candidate(generation, step, candidate, candidate == starred, pen)), pen.width
        )


def _candidate(generation: Generation, step: Step, i: int, starred: bool, pen: Pen) -> Line:
    dropped = step.fate[i] == Fate.DROPPED
    piece, token_id = generation.pieces.get(int(step.ids[i]), b""), int(step.ids[i])
    name = piece_text(piece, token_id).replace(" ", "␠") if piece else piece_text(b"", token_id)
    numbers = f" {signed(float(step.score[i])):>8} {signed(float(step.total[i])):>8} {step.rank[i]:>5}   "
    return (
        Segment(fitted(name, _NAME), DIM if dropped else BOLD if starred else PLAIN),
        Segment(" "),
        pen.probability(float(np.exp(step.logprob[i]))),
        Segment(numbers, DIM if dropped else PLAIN),
        Segment(_fate(step, i), DIM if dropped else PLAIN),
        Segment(" ≈" if _tied(step, i) else "", BOLD),
        Segment(" ★" if starred else "", BOLD),
    )


def _fate(step: Step, i: int) -> str:
    match Fate(int(step.fate[i])):
        case Fate.KEPT:
            return f"→ {1 + int(np.count_nonzero(step.fate[:i] == Fate.KEPT))}"
        case Fate.FINISHED:
            return "finished"
        case Fate.DROPPED:
            return "dropped"


def _tied(step: Step, i: int) -> bool:
    """The candidate would have had the other fate, had its total been different by less than rounding."""
    dropped = step.fate == Fate.DROPPED
    others = step.total[dropped != dropped[i]]
    if not len(others):
        return False
    gap = others.min() - step.total[i] if dropped[i] else step.total[i] - others.max()
    return bool(gap < NEAR_TIE)


def _tail(prompt: str, text: bytes, cells: int) -> str:
    """The end of a text, so far as there is room."""
    shown = printable(prompt) + (piece_text(text, 0) if text else "")
    if cell_len(shown) <= cells:
        return shown
    kept: list[str] = []
    for character in reversed(shown):
        cells -= cell_len(character)
        if cells < 1:
            break
        kept.append(character)
    return "…" + "".join(reversed(kept))


def _piece(generation: Generation, token_id: int) -> bytes:
    return generation.pieces.get(token_id) or f"<id {token_id}>".encode()
