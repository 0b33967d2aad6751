"""How two models differ about the same tokens, on a scale of its own: zero has no colour."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from ...core.tokens import TokenTrace, clusters
from .colours import difference_digits, difference_ink
from .generations import Pen, signed
from .ink import DIM, PLAIN, Depth, Line, Segment
from .tokens import Layout, Look, cut_line, fitted, lay_out, short_probability, token_name

_NAME = 18


def difference_lines(trace: TokenTrace, difference: NDArray[np.float32], pen: Pen) -> Layout:
    """The tokens, each in the colour of how much likelier it became; tokens of one character are taken together.

    Args:
        trace: the tokens.
        difference: (n,) of natural log-probabilities; above 0 the second model expected the token more.
        pen: how to draw; the scale and the ramp are not used.
    """
    shown = tuple(clusters(trace))
    bits = difference.astype(np.float64) / math.log(2)
    looks: list[Look] = []
    for cluster in shown:
        change = float(bits[cluster.first : cluster.last].sum())
        digits = difference_digits(change) if pen.depth is Depth.NONE and not cluster.special else ""
        looks.append(Look(difference_ink(change, pen.depth), digits))
    return lay_out(trace, shown, looks, pen.width)


def difference_table(before: TokenTrace, after: TokenTrace, pen: Pen) -> Iterator[Line]:
    """A line for each token: both probabilities, both ranks, and the change in bits."""
    names = [token_name(before, int(token_id)) for token_id in before.ids]
    room = min(max(map(cell_len, [*names, "token"])), _NAME)
    head = f"{'#':>4}  {'token':<{room}} {'p':>5} {'p then':>6} {'change':>9} {'rank':>6} {'then':>6}"
    yield cut_line((Segment(head, DIM),), pen.width)
    bits = (after.logprob - before.logprob).astype(np.float64) / math.log(2)
    for position, name in enumerate(names):
        change = float(bits[position])
        told = "–" if math.isnan(change) else f"{'+' if change > 0 else ''}{signed(change)} bit"
        ranks = [str(trace.rank[position]) if trace.rank[position] else "–" for trace in (before, after)]
        line = (
            Segment(f"{position + 1:>4}  ", DIM),
            Segment(fitted(name, room), PLAIN),
            Segment(" "),
            _probability(before, position, pen),
            Segment("  "),
            _probability(after, position, pen),
            Segment(" "),
            Segment(f"{told:>9}", difference_ink(change, pen.depth)),
            Segment(f" {ranks[0]:>6} {ranks[1]:>6}"),
        )
        yield cut_line(line, pen.width)


def _probability(trace: TokenTrace, position: int, pen: Pen) -> Segment:
    p = float(np.exp(trace.logprob[position]))
    return Segment(f"{short_probability(p):>5}") if math.isnan(p) else pen.probability(p)
