"""What a search found, in coloured lines: its texts, the text they share as a tree, and a table of tokens.

Three numbers of a token have three names, everywhere: `p` and `logprob` are the model's, `score` is what was left
after the score processors and what a search adds up, `renorm` is the probability after them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.cells import cell_len

from ...core.decoding.records import Generation, Hypothesis
from ...core.text import printable
from ...core.tokens import TokenTrace
from .colours import Scale, likeness, probability_ink, scale_legend
from .ink import BOLD, DIM, PLAIN, Depth, Line, Segment
from .ramps import RDYLBU, Ramp
from .tokens import PROMPT, cut_line, fitted, short_probability, token_lines, token_name

_WIDEST_NAME = 18


@dataclass(frozen=True)
class Pen:
    """How to draw: the lines' width in cells, what the colours mean, how many there are, and which.

    Without `styled` there is no bold or underlined text either.
    """

    width: int
    scale: Scale = "linear"
    depth: Depth = Depth.TRUE
    ramp: Ramp = RDYLBU
    styled: bool = True

    def narrower(self, cells: int) -> "Pen":
        """The same for lines that something stands before."""
        return replace(self, width=max(2, self.width - cells))

    def probability(self, p: float) -> Segment:
        """A probability in 5 cells on its colour."""
        return Segment(f"{short_probability(p):>5}", probability_ink(p, p, self.depth, self.ramp))


def text_lines(generation: Generation, pen: Pen) -> Iterator[Line]:
    """Every hypothesis: its number and totals, then its tokens in colours."""
    for number, one in enumerate(generation.hypotheses, 1):
        yield cut_line(_head(number, one), pen.width)
        yield from _indented(token_lines(one.trace, *_drawn(pen.narrower(3))).lines, "   ")


def family_lines(generation: Generation, pen: Pen) -> Iterator[Line]:
    """The hypotheses as one tree: what they share is written once, each ends with its number and total."""
    if generation.hypotheses:
        yield from _family(generation.hypotheses, tuple(range(len(generation.hypotheses))), 0, pen)


def table_lines(trace: TokenTrace, pen: Pen, hypothesis: Hypothesis | None = None) -> Iterator[Line]:
    """A line for each token with all its numbers, under a head.

    Args:
        trace: the tokens.
        pen: how to draw.
        hypothesis: whose trace it is; without it there are no numbers of a search.
    """
    columns = _columns(trace, hypothesis)
    names = [token_name(trace, i) + "  special" * (i in trace.special) for i in map(int, trace.ids)]
    room = min(max(map(cell_len, [*names, "token"])), _WIDEST_NAME)
    heads = "".join(f" {head:>{width}}" for head, width, _ in columns)
    yield cut_line((Segment(f"{'#':>4}  {'token':<{room}} {'p':>5}{heads}  likeliest", DIM),), pen.width)
    places = likeness(trace, pen.scale)
    for position, name in enumerate(names):
        p = float(np.exp(trace.logprob[position]))
        look = probability_ink(p, float(places[position]), pen.depth, pen.ramp)
        line = (
            Segment(f"{position + 1:>4}  ", DIM),
            Segment(fitted(name, room), DIM if position < trace.prompt_length else PLAIN),
            Segment(" "),
            Segment(f"{short_probability(p):>5}", look),
            Segment("".join(f" {cell(position):>{width}}" for _, width, cell in columns)),
            Segment("  "),
        )
        left = pen.width - sum(cell_len(segment.text) for segment in line)
        yield cut_line((*line, *_alternatives(trace, position, left)), pen.width)


def table_legend(hypothesis: bool, width: int) -> Iterator[Line]:
    """What the columns of a table are, one line each."""
    told = [("p, logprob", "the model's probability and its natural logarithm")]
    if hypothesis:
        told.append(("score", "after the processors; what a search adds up"))
        told.append(("renorm", "probability after the processors"))
        told.append(("blocked", "probability that the processors took away"))
    told.append(("rank, bit", "place in the model's order, entropy of its distribution"))
    for name, words in told:
        yield cut_line((Segment(f"{name:<10}  ", BOLD), Segment(words, DIM)), width)


def legend_line(pen: Pen) -> Line:
    """What the colours or digits mean, and how a prompt is told apart."""
    legend = scale_legend(pen.scale, pen.depth, pen.ramp, pen.styled)
    return (*legend, Segment("  "), Segment("prompt", PROMPT)) if pen.styled else legend


def signed(number: float, digits: int = 2) -> str:
    """A logarithm with a real minus sign; ``–`` if there is none."""
    if math.isnan(number):
        return "–"
    return "−∞" if number == -math.inf else f"{number:.{digits}f}".replace("-", "−")


def percent(share: float) -> str:
    """A share of probability in percent."""
    if math.isnan(share):
        return "–"
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def line_of_prompt(prompt: str, width: int) -> Line:
    """A prompt in one line."""
    return cut_line((Segment("prompt  ", DIM), Segment(printable(prompt))), width)


# -- texts ------------------------------------------------------------------------------------------


def _drawn(pen: Pen) -> tuple[int, Scale, Depth, Ramp]:
    return pen.width, pen.scale, pen.depth, pen.ramp


def _head(number: int, one: Hypothesis) -> Line:
    told = [f"total {signed(one.total)}"]
    if one.final != one.total:
        told.append(f"final {signed(one.final)}")
    chosen = one.trace.logprob[one.trace.prompt_length :].astype(np.float64)
    if len(chosen):
        told.append(f"p per token {short_probability(float(np.exp(chosen.mean())))}")
    blocked = one.blocked[one.trace.prompt_length :]
    if len(blocked) and np.nanmax(np.nan_to_num(blocked)) > 0:
        told.append(f"blocked {percent(float(np.nanmean(blocked)))} of p")
    if one.finished:
        told.append("ended")
    return Segment(f"{number:<2} ", BOLD), Segment("   ".join(told), DIM)


def _indented(lines: Sequence[Line], first: str, rest: str | None = None) -> Iterator[Line]:
    for number, line in enumerate(lines):
        yield Segment(rest if number and rest is not None else first, DIM), *line


def _family(ones: Sequence[Hypothesis], members: Sequence[int], start: int, pen: Pen) -> Iterator[Line]:
    """The part of the tree below the tokens before `start`, which all members share."""
    first = ones[members[0]].trace
    stop = _shared(ones, members, start)
    groups: dict[int | None, list[int]] = {}
    for member in members:
        trace = ones[member].trace
        groups.setdefault(int(trace.ids[stop]) if stop < len(trace) else None, []).append(member)
    yield from token_lines(_part(first, start, stop), *_drawn(pen)).lines
    for number, group in enumerate(groups.values(), 1):
        last = number == len(groups)
        branch, stem = ("└─ ", "   ") if last else ("├─ ", "│  ")
        if len(group) > 1:
            below = _family(ones, group, stop, pen.narrower(3))
        else:
            below = _leaf(ones[group[0]], group[0] + 1, stop, pen.narrower(3))
        yield from _indented(list(below), branch, stem)


def _leaf(one: Hypothesis, number: int, start: int, pen: Pen) -> Iterator[Line]:
    yield cut_line((Segment(f"{number}", BOLD), Segment(f"  total {signed(one.total)}", DIM)), pen.width)
    if start < len(one.trace):
        yield from token_lines(_part(one.trace, start, len(one.trace)), *_drawn(pen)).lines


def _shared(ones: Sequence[Hypothesis], members: Sequence[int], start: int) -> int:
    """Up to where the members have the same tokens."""
    stop, ids = start, [ones[member].trace.ids for member in members]
    while all(stop < len(row) and row[stop] == ids[0][stop] for row in ids):
        stop += 1
    return stop


def _part(trace: TokenTrace, start: int, stop: int) -> TokenTrace:
    return replace(
        trace,
        ids=trace.ids[start:stop],
        prompt_length=min(max(0, trace.prompt_length - start), stop - start),
        logprob=trace.logprob[start:stop],
        rank=trace.rank[start:stop],
        entropy=trace.entropy[start:stop],
        alternative_ids=trace.alternative_ids[start:stop],
        alternative_logprob=trace.alternative_logprob[start:stop],
    )


# -- tables -----------------------------------------------------------------------------------------

_Column = tuple[str, int, Callable[[int], str]]


def _columns(trace: TokenTrace, one: Hypothesis | None) -> list[_Column]:
    """Head, width and cell of every column of numbers behind p."""
    columns: list[_Column] = [("logprob", 7, lambda i: signed(float(trace.logprob[i])))]
    if one is not None:
        columns.append(("score", 7, lambda i: signed(float(one.score[i]))))
        columns.append(("renorm", 6, lambda i: short_probability(float(one.renormalised[i]))))
        if np.nan_to_num(one.blocked).any():
            columns.append(("blocked", 7, lambda i: percent(float(one.blocked[i]))))
    columns.append(("rank", 5, lambda i: str(trace.rank[i]) if trace.rank[i] else "–"))
    columns.append(("bit", 4, lambda i: signed(float(trace.entropy[i]), 1)))
    return columns


def _alternatives(trace: TokenTrace, position: int, room: int) -> Iterator[Segment]:
    """The likeliest tokens and their probabilities, so far as there is room; the one that stands there is bold."""
    pairs = zip(trace.alternative_ids[position], trace.alternative_logprob[position], strict=True)
    for token_id, logprob in pairs:
        name, p = token_name(trace, int(token_id)), short_probability(float(np.exp(logprob)))
        room -= cell_len(name) + len(p) + 1
        if math.isnan(float(logprob)) or room < 0:
            return
        yield Segment(name, BOLD if token_id == trace.ids[position] else PLAIN)
        yield Segment(f" {p}  ", DIM)
        room -= 2
