"""A `TokenTrace` as coloured lines, and what the model thought of one token.

The app's token view paints these lines and the command line prints them. Laying out 8,000 tokens takes
less than a tenth of a second; a layout is made once per width.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from rich.cells import cell_len

from ...core.tokens import Cluster, TokenTrace, clusters
from .colours import Scale, likeness, probability_ink, scale_legend, token_digits
from .ink import BOLD, DIM, PLAIN, Depth, Ink, Line, Segment
from .ramps import RDYLBU, Ramp

PROMPT = DIM
SPECIAL = Ink(italic=True, dim=True)

_PARTS = re.compile(" +|[^ ]+")


class Look(NamedTuple):
    """How a cluster is shown: its ink, and what follows it."""

    ink: Ink
    suffix: str = ""


@dataclass(frozen=True, eq=False)
class Layout:
    """Tokens in lines of a certain width.

    Attributes:
        trace: the tokens.
        clusters: what is shown, in order.
        lines: each the segments of one line; no line is wider than asked for.
        places: line and column where each cluster begins.
    """

    trace: TokenTrace
    clusters: tuple[Cluster, ...]
    lines: tuple[Line, ...]
    places: tuple[tuple[int, int], ...]

    def lines_of(self, cluster: int) -> range:
        """The lines that show the cluster; long ones and ones at a line's end may have several."""
        first = self.places[cluster][0]
        last = first
        while last + 1 < len(self.lines) and any(s.cluster == cluster for s in self.lines[last + 1]):
            last += 1
        return range(first, last + 1)

    def step(self, cluster: int, dx: int, dy: int) -> int:
        """The cluster `dx` further on, then `dy` lines below in the nearest column; held at the ends."""
        if not self.clusters:
            return 0
        target = min(max(cluster + dx, 0), len(self.clusters) - 1)
        if dy == 0:
            return target
        line, column = self.places[target]
        wanted = min(max(line + dy, 0), len(self.lines) - 1)
        return self.at(wanted, column)

    def at(self, line: int, column: int) -> int:
        """The cluster shown at a place, or the nearest one in or before that line."""
        while line > 0 and not any(s.cluster >= 0 for s in self.lines[line]):
            line -= 1
        found, end = 0, 0
        for segment in self.lines[line] if self.lines else ():
            if segment.cluster >= 0:
                found = segment.cluster
            end += cell_len(segment.text)
            if column < end:
                break
        return found


def token_lines(
    trace: TokenTrace, width: int, scale: Scale = "linear", depth: Depth = Depth.TRUE, ramp: Ramp = RDYLBU
) -> Layout:
    """The tokens as coloured lines, broken between words where possible.

    The given part is dim and has no background. A cluster of several tokens has the colour of its least likely one.

    Args:
        trace: the tokens.
        width: of the lines, in cells; at least 2, the width of the widest characters.
        scale: what the colours mean.
        depth: how many colours the terminal has.
        ramp: the colours.
    """
    shown = tuple(clusters(trace))
    return lay_out(trace, shown, _looks(trace, shown, scale, depth, ramp), width)


def lay_out(trace: TokenTrace, shown: Sequence[Cluster], looks: Sequence[Look], width: int) -> Layout:
    """Clusters of tokens as lines, each with its look; broken between words where possible."""
    writer = _Writer(max(2, width), len(shown))
    for index, (cluster, look) in enumerate(zip(shown, looks, strict=True)):
        text, rest = cluster.text, ""
        if cluster.newlines:
            cut = text.rfind("␊") + 1
            text, rest = text[:cut], text[cut:]
        writer.add(text + ("" if rest else look.suffix), look.ink, index)
        if cluster.newlines:
            writer.end_line()
            writer.add(rest + look.suffix if rest else "", look.ink, index)
    return Layout(trace, tuple(shown), *writer.finished())


def header_line(scale: Scale, depth: Depth, ramp: Ramp = RDYLBU) -> Line:
    """What the colours mean, and how the prompt is told apart."""
    return (*scale_legend(scale, depth, ramp), Segment("  "), Segment("prompt", PROMPT))


def inspect_lines(trace: TokenTrace, cluster: Cluster, width: int, depth: Depth = Depth.TRUE) -> list[Line]:
    """What the model thought of the tokens of one cluster: a line each, followed by the alternatives.

    Returns:
        Lines of at most `width` cells: token, p, rank and entropy; then per alternative a bar and its p.
    """
    lines: list[Line] = []
    for position in range(cluster.first, cluster.last):
        lines.append(_token_line(trace, position, depth))
        lines.extend(_alternatives(trace, position, width, depth))
    return [cut_line(line, width) for line in lines]


def token_name(trace: TokenTrace, token_id: int) -> str:
    """A token with its spaces visible: " of" and "of" are two tokens."""
    shown = trace.piece(token_id)
    return shown.replace(" ", "␠") if trace.pieces.get(token_id) else shown


def short_probability(p: float) -> str:
    """Two or three digits: ``.31``, ``.004``, ``2e-5``, ``1``."""
    if math.isnan(p):
        return "–"
    if p >= 0.995:
        return "1" if p > 0.9995 else f"{p:.3f}"[1:]
    if p >= 0.095:
        return f"{p:.2f}"[1:]
    if p >= 0.00095:
        return f"{p:.3f}"[1:]
    mantissa, _, exponent = f"{p:.0e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if p > 0 else "0"


def _looks(trace: TokenTrace, shown: Sequence[Cluster], scale: Scale, depth: Depth, ramp: Ramp) -> list[Look]:
    probability, place = trace.probability.tolist(), likeness(trace, scale).tolist()
    digits = token_digits(trace, scale) if depth is Depth.NONE else [""] * len(trace)
    looks: list[Look] = []
    for cluster in shown:
        if cluster.first < trace.prompt_length:
            looks.append(Look(SPECIAL if cluster.special else PROMPT))
            continue
        worst = min(range(cluster.first, cluster.last), key=probability.__getitem__)
        ink = probability_ink(probability[worst], place[worst], depth, ramp)
        looks.append(Look(replace(ink, italic=True), "") if cluster.special else Look(ink, digits[worst]))
    return looks


def _token_line(trace: TokenTrace, position: int, depth: Depth) -> Line:
    piece = Segment(f"“{token_name(trace, int(trace.ids[position]))}”", BOLD)
    name = f"  id {int(trace.ids[position])}"
    p = float(np.exp(trace.logprob[position]))
    if math.isnan(p):
        why = "it was given" if position else "the text begins here"
        return piece, Segment(f"  no probability: {why}", DIM), Segment(name, DIM)
    place = Segment(f"p {short_probability(p)}", probability_ink(p, p, depth))
    told = f"  rank {int(trace.rank[position])}  entropy {float(trace.entropy[position]):.1f} bit"
    return piece, Segment("  "), place, Segment(told), Segment(name, DIM)


def _alternatives(trace: TokenTrace, position: int, width: int, depth: Depth) -> list[Line]:
    ids, logprobs = trace.alternative_ids[position], trace.alternative_logprob[position]
    if math.isnan(float(trace.logprob[position])):
        return []
    names = [token_name(trace, int(i)) for i in ids]
    column = min(max(map(cell_len, names), default=0), max(4, width // 2))
    bar = max(0, min(20, width - column - 10))
    lines: list[Line] = []
    for token_id, name, logprob in zip(ids, names, logprobs, strict=True):
        p = float(np.exp(logprob))
        chosen = int(token_id) == int(trace.ids[position])
        filled = _bar(p, bar)
        lines.append(
            (
                Segment("▸ " if chosen else "  "),
                Segment(fitted(name, column), BOLD if chosen else PLAIN),
                Segment(f" {short_probability(p):>5} "),
                Segment(filled, _bar_ink(p, depth)),
            )
        )
    return lines


def _bar_ink(p: float, depth: Depth) -> Ink:
    colour = probability_ink(p, p, depth).background
    return Ink(colour) if colour else PLAIN


def _bar(share: float, width: int) -> str:
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")


def fitted(text: str, width: int) -> str:
    """Exactly `width` cells, with ``…`` where something is missing."""
    if cell_len(text) > width:
        text = _head(text, width - 1)[0] + "…"
    return text + " " * (width - cell_len(text))


def cut_line(line: Line, width: int) -> Line:
    """As much of the line as fits into `width` cells."""
    kept: list[Segment] = []
    for segment in line:
        head, _ = _head(segment.text, width)
        width -= cell_len(head)
        if head:
            kept.append(segment._replace(text=head))
        if head != segment.text:
            break
    return tuple(kept)


def _head(text: str, width: int) -> tuple[str, str]:
    """As many characters as fit into `width` cells, and the others."""
    if text.isascii():
        return text[:width], text[width:]
    used = 0
    for i, character in enumerate(text):
        used += cell_len(character)
        if used > width:
            return text[:i], text[i:]
    return text, ""


class _Writer:
    """Puts pieces into lines; keeps back a word until it is known to fit."""

    def __init__(self, width: int, count: int):
        self._width = width
        self._lines: list[list[Segment]] = [[]]
        self._column = 0
        self._word: list[Segment] = []
        self._places: list[tuple[int, int] | None] = [None] * count

    def add(self, text: str, ink: Ink, cluster: int) -> None:
        for part in _PARTS.findall(text):
            if part[0] == " ":
                self._flush()
                self._place(Segment(part, ink, cluster))
            else:
                self._word.append(Segment(part, ink, cluster))

    def end_line(self) -> None:
        self._flush()
        self._new_line()

    def finished(self) -> tuple[tuple[Line, ...], tuple[tuple[int, int], ...]]:
        self._flush()
        if not self._lines[-1] and len(self._lines) > 1:
            self._lines.pop()
        return tuple(map(tuple, self._lines)), tuple(place or (0, 0) for place in self._places)

    def _flush(self) -> None:
        length = sum(cell_len(segment.text) for segment in self._word)
        if self._width - self._column < length <= self._width:
            self._new_line()
        for segment in self._word:
            self._place(segment)
        self._word.clear()

    def _place(self, segment: Segment) -> None:
        """Put a segment down, broken where the line ends; no wide character is split."""
        text = segment.text
        while text:
            width, rest = cell_len(text), ""
            if width > self._width - self._column:
                text, rest = _head(text, self._width - self._column)
                width = cell_len(text)
            if text:
                if self._places[segment.cluster] is None:
                    self._places[segment.cluster] = len(self._lines) - 1, self._column
                self._lines[-1].append(Segment(text, segment.ink, segment.cluster))
                self._column += width
            if rest:
                self._new_line()
            text = rest

    def _new_line(self) -> None:
        self._lines.append([])
        self._column = 0
