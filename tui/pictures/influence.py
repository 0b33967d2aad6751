"""A query or a training row in coloured lines: how much each of its tokens adds to the row's influence.

Colours are relative to the text's strongest token, since scores of different rows lie far apart; numbers stand below,
and without colours small digits follow each token. What a query asks about stands in ⟦brackets⟧.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np

from ...core.influence_report import Found, Report, ReportedText
from ...core.text import printable
from ...core.tokens import Cluster, clusters
from .colours import DIGITS
from .generations import Pen
from .ink import BOLD, DIM, PLAIN, Depth, Ink, Line, Segment
from .ramps import PUOR
from .tokens import SPECIAL, Layout, Look, cut_line, lay_out, token_name

LEAST = 0.1
"""Tokens with a smaller share of the strongest token's influence have no colour; digits tell tenths."""
_PALEST = 0.12
"""How far from the middle of the ramp colours begin: its white would outshine all others on a dark screen."""
_MARKS = ("⟦", "⟧")
_STEPS_SHOWN = 4


def influence_lines(
    report: Report, text: ReportedText, scores: Sequence[float], pen: Pen, most: int | None = None, strongest: int = 5
) -> list[Line]:
    """A text's tokens in the colours of their influence, then the strongest of them with numbers.

    Args:
        report: that the text is from.
        text: a query or a row; one without tokens, such as an image, is told in its words.
        scores: of its tokens, from the first on; none for a text without colours, and fewer than there are tokens if
            the last ones have none, as a language model's last token, from which nothing is predicted.
        pen: how wide, and how many colours there are.
        most: show at most so many tokens, those around which influence is greatest (or the first, without scores), and
            say how many are left out.
        strongest: how many tokens are listed with their numbers.
    """
    if not text.ids:
        return [cut_line((Segment(printable(text.words)),), pen.width)]
    part = window(text, scores, most)
    lines = [*_left_out(part.start, "before"), *influence_layout(report, text, scores, pen, part).lines]
    lines += _left_out(len(text.ids) - part.stop, "behind")
    if strongest and any(scores):
        lines.append(strongest_line(report, text, scores, strongest))
    return [cut_line(line, pen.width) for line in lines]


def answer_lines(
    report: Report, found: Sequence[Found], pen: Pen, most: int | None = None, strongest: int = 5
) -> Iterator[Line]:
    """Rows below each other: the head of each, then its text."""
    known = any(row.seen for row in report.rows.values())
    for rank, each in enumerate(found, 1):
        text = report.rows[each.row]
        yield cut_line(row_line(rank, each, text, known), pen.width)
        for line in influence_lines(report, text, each.tokens, pen.narrower(5), most, strongest):
            yield (Segment("     "), *line)


def window(text: ReportedText, scores: Sequence[float], most: int | None) -> range:
    """The tokens to show if at most `most` may be: where the sum of influences is greatest; what a query asks about,
    without scores."""
    n = len(text.ids)
    if most is None or most >= n:
        return range(n)
    if not any(scores):
        first = min(max(0, text.end - most), n - most) if _is_marked(text) else 0
        return range(first, first + most)
    sums = np.cumsum([0.0, *(abs(score) for score in _padded(scores, n))])
    first = int(np.argmax(sums[most:] - sums[:-most]))
    return range(first, first + most)


def influence_layout(
    report: Report, text: ReportedText, scores: Sequence[float], pen: Pen, part: range | None = None
) -> Layout:
    """Some of a text's tokens, all if `part` is None, as lines; tokens of one character are taken together."""
    trace = report.trace(text)
    part = range(len(text.ids)) if part is None else part
    shown = [each for each in clusters(trace) if each.first < part.stop and each.last > part.start]
    shares = _shares(_padded(scores, len(text.ids)))
    looks = [_look(each, sum(shares[each.first : each.last]), pen) for each in shown]
    return lay_out(trace, [_marked(each, text) for each in shown], looks, pen.width)


def strongest_line(report: Report, text: ReportedText, scores: Sequence[float], count: int) -> Line:
    """The tokens with the greatest influence of either sign, each with its number."""
    order = sorted(range(len(scores)), key=lambda i: -abs(scores[i]))[:count]
    trace = report.trace(text)
    told = "  ".join(f"“{token_name(trace, text.ids[i])}” {score_text(scores[i])}" for i in order)
    return Segment("strongest  ", DIM), Segment(told)


def row_line(rank: int, found: Found, text: ReportedText, known: bool = False) -> Line:
    """A row's score, its number, and when the training saw it, if it is `known`; the head of its text."""
    return (
        Segment(f"{rank:>3}  ", DIM),
        Segment(f"{score_text(found.score):>9}", BOLD),
        Segment(f"  row {found.row:,}"),
        Segment(f"  {seen_text(text.seen, known)}", DIM),
    )


def seen_text(seen: Sequence[tuple[int, int]], known: bool = False) -> str:
    """In which steps a training saw a row: ``seen in steps 12, 61, 110``; nothing if it is not `known` which it saw."""
    if not seen:
        return "never seen in the training" if known else ""
    steps = [step for step, _ in groupby(step for step, _ in seen)]
    told = ", ".join(f"{step:,}" for step in steps[:_STEPS_SHOWN])
    more = f" and {len(steps) - _STEPS_SHOWN:,} more" if len(steps) > _STEPS_SHOWN else ""
    return f"seen in step{'s' if len(steps) > 1 else ''} {told}{more}"


def score_text(score: float) -> str:
    """A score with its sign: ``+3.41``, ``−0.002``."""
    return "–" if math.isnan(score) else f"{score:+.3g}".replace("-", "−")


def influence_legend(pen: Pen) -> Line:
    """What colours, digits and brackets mean."""
    asked = Segment("  ⟦asked about⟧", DIM)
    if pen.depth is Depth.NONE:
        meaning = "₊₉ raises the score like its strongest token  ₋₉ lowers it so"
        return cut_line((Segment(meaning, DIM), asked), pen.width)
    cells = 15
    places = "lowers" + "raises".rjust(cells - len("lowers"))
    signs = [Segment(sign, _ink(2 * i / (cells - 1) - 1, pen.depth)) for i, sign in enumerate(places)]
    much = Segment("lowers it much", Ink(underline=True))
    return cut_line((Segment("token ", DIM), *signs, Segment(" the score  "), much, asked), pen.width)


def _look(cluster: Cluster, share: float, pen: Pen) -> Look:
    """A cluster's colour by its share of the strongest token's influence, from -1 to 1."""
    if abs(share) < LEAST:
        return Look(SPECIAL if cluster.special else PLAIN)
    ink = _ink(share, pen.depth, share <= -0.5, pen.depth is Depth.NONE and share >= 0.5)
    return Look(ink, _digit(share) if pen.depth is Depth.NONE else "")


def _ink(share: float, depth: Depth, underline: bool = False, bold: bool = False) -> Ink:
    """The colour of a share from -1 to 1."""
    if abs(share) < LEAST:
        return PLAIN
    return PUOR.ink(0.5 + math.copysign(_PALEST, share) + (0.5 - _PALEST) * share, depth, underline, bold)


def _digit(share: float) -> str:
    return ("₊" if share > 0 else "₋") + DIGITS[min(9, int(abs(share) * 10))]


def _shares(scores: Sequence[float]) -> list[float]:
    largest = max(map(abs, scores), default=0.0)
    return [score / largest for score in scores] if largest > 0 else [0.0] * len(scores)


def _padded(scores: Sequence[float], count: int) -> list[float]:
    known = [0.0 if math.isnan(score) else score for score in scores[:count]]
    return known + [0.0] * (count - len(known))


def _is_marked(text: ReportedText) -> bool:
    """Only some of the tokens are asked about."""
    return 0 < text.end - text.first < len(text.ids)


def _marked(cluster: Cluster, text: ReportedText) -> Cluster:
    """The cluster with brackets where that which is asked about begins and ends."""
    if not _is_marked(text):
        return cluster
    before = _MARKS[0] if cluster.first <= text.first < cluster.last else ""
    behind = _MARKS[1] if cluster.first < text.end <= cluster.last else ""
    inner = cluster.text.lstrip(" ")
    shown = cluster.text[: len(cluster.text) - len(inner)] + before + inner + behind
    return Cluster(cluster.first, cluster.last, shown, cluster.newlines, cluster.special)


def _left_out(count: int, where: str) -> Iterable[Line]:
    if count > 0:
        told = f"… {count:,} tokens {where} are left out" if count > 1 else f"… 1 token {where} is left out"
        yield (Segment(told, DIM),)
