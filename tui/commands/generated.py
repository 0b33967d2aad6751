"""What `generate` prints: texts, trees and tables for people, a plot, exact JSON and bare bytes for programs."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.text import json_text, printable

if TYPE_CHECKING:
    from ...core.decoding.records import Generation
    from ...core.recipe.schema import Decoding
    from ..pictures.generations import Pen
    from ..pictures.ink import Line

PICTURES = ("svg", "png", "pdf", "jpg")
"""What a plot can be saved as."""

_BESIDE = 120
"""Cells from which on two models are shown side by side."""


@dataclass(frozen=True)
class Result:
    """What one model made of all prompts, searched in one way."""

    model: str
    settings: "Decoding"
    generations: "Sequence[Generation]"


def pages(results: Sequence[Result], pen: "Pen", tree: bool, table: bool, plot: bool) -> "list[Line]":
    """Everything that is asked for, prompt by prompt."""
    from ..pictures.generations import legend_line, line_of_prompt, table_legend

    lines: list[Line] = []
    prompts = [one.prompt for one in results[0].generations]
    for number, prompt in enumerate(prompts):
        if len(prompts) > 1:
            lines += [line_of_prompt(prompt, pen.width), ()]
        lines += _beside(results, number, pen)
        for result in results:
            lines += _closer(result, result.generations[number], pen, tree, table, len(results) > 1)
        if plot:
            lines += [*_plot(results, number, pen), ()]
    if table:
        lines += [*table_legend(True, pen.width), ()]
    return [*lines, legend_line(pen)]


def _beside(results: Sequence[Result], number: int, pen: "Pen") -> "list[Line]":
    """The texts of every search; those of two in columns if there is room."""
    if len(results) == 2 and pen.width >= _BESIDE:
        narrow = replace(pen, width=(pen.width - 3) // 2)
        left, right = (_texts(result, number, narrow) for result in results)
        return [_joined(one, other, narrow.width) for one, other in zip_longest(left, right, fillvalue=())]
    return [line for result in results for line in _texts(result, number, pen)]


def _texts(result: Result, number: int, pen: "Pen") -> "list[Line]":
    from ..pictures.generations import text_lines

    return [_title(result, pen.width), *text_lines(result.generations[number], pen), ()]


def _joined(left: "Line", right: "Line", width: int) -> "Line":
    from rich.cells import cell_len

    from ..pictures.ink import DIM, Segment

    gap = width - sum(cell_len(segment.text) for segment in left)
    return (*left, Segment(" " * gap), Segment(" │ ", DIM), *right)


def _closer(result: Result, one: "Generation", pen: "Pen", tree: bool, table: bool, titled: bool) -> "list[Line]":
    """Tree and tables of one search."""
    from ..pictures.beam_tree import tree_lines
    from ..pictures.generations import family_lines, table_lines
    from ..pictures.ink import BOLD, Segment

    lines: list[Line] = []
    if titled and (tree or table):
        lines.append(_title(result, pen.width))
    if tree:
        lines += [*family_lines(one, pen), (), *tree_lines(one, pen), ()]
    if table:
        for place, each in enumerate(one.hypotheses, 1):
            lines += [(Segment(f"{place}", BOLD),), *table_lines(each.trace, pen, each), ()]
    return lines


def _title(result: Result, width: int) -> "Line":
    from ..pictures.ink import BOLD, DIM, Segment
    from ..pictures.tokens import cut_line

    return cut_line((Segment(printable(result.model), BOLD), Segment(f"  {_told(result.settings)}", DIM)), width)


def _told(settings: "Decoding") -> str:
    """How was searched, in a few words."""
    words = {"beam": f"{settings.beams} beam{'s' * (settings.beams != 1)}", "greedy": "greedy"}
    words["sample"] = f"drawn, seed {settings.seed}"
    told = [words[settings.search], f"{settings.tokens} tokens"]
    for name in ("temperature", "top_k", "top_p", "min_p"):
        if (value := getattr(settings, name)) is not None:
            told.append(f"{name.replace('_', '-')} {value:g}")
    for each in settings.processors:
        told.append(
            {"words": "no token twice", "ngrams": f"no {getattr(each, 'n', 0)}-gram twice"}.get(each.kind, each.kind)
        )
    if settings.end == "stop":
        told.append("to the end of text")
    if settings.length_penalty:
        told.append(f"length penalty {settings.length_penalty:g}")
    return ", ".join(told)


# -- plots ------------------------------------------------------------------------------------------


def _curves(results: Sequence[Result], number: int) -> dict[str, Any]:
    """The probability of each generated token of every search's best text, by name."""
    several_models = len({result.model for result in results}) > 1
    curves: dict[str, Any] = {}
    for result in results:
        for one in result.generations[number].hypotheses[:1]:
            way = _told(result.settings).partition(",")[0]
            name = f"{printable(result.model)} · {way}" if several_models else way
            curves[name] = one.trace.probability[one.trace.prompt_length :]
    return curves


def _plot(results: Sequence[Result], number: int, pen: "Pen") -> "list[Line]":
    import numpy as np

    from ..pictures.chart import View, draw
    from ..pictures.colours import series_inks
    from ..pictures.ink import Segment
    from ..pictures.series import Series

    alike: dict[bytes, tuple[int, list[str], Any]] = {}
    for colour, (name, p) in enumerate(_curves(results, number).items()):
        alike.setdefault(p.tobytes(), (colour, [], p))[1].append(name)
    series = [Series(" = ".join(names), np.arange(1.0, len(p) + 1), p, colour) for colour, names, p in alike.values()]
    grid = draw(series, pen.width, 14, View(y0=0, y1=1), title="p of each token", x_label="token", latest=False)
    inks = series_inks(pen.depth)
    return [tuple(Segment(text, inks[part]) for text, part in grid.runs(row)) for row in range(len(grid.characters))]


def save_plot(results: Sequence[Result], path: Path) -> None:
    """The plot as a picture; the path's suffix is one of `PICTURES`."""
    from ...core.figures import draw_probabilities

    prompts = [one.prompt for one in results[0].generations]
    draw_probabilities([(prompt, _curves(results, number)) for number, prompt in enumerate(prompts)]).save(path)


# -- for programs -----------------------------------------------------------------------------------


def print_document(results: Sequence[Result]) -> None:
    """Everything, as one JSON document."""
    from ...core.decoding.as_json import generation_as_dict

    document = [
        {
            "model": result.model,
            "decoding": result.settings.model_dump(mode="json"),
            "generations": [generation_as_dict(one) for one in result.generations],
        }
        for result in results
    ]
    print(json_text({"results": document}, indent=1))


def print_raw(results: Sequence[Result]) -> None:
    """The best text for each prompt, or all that were drawn."""
    sys.stdout.flush()
    for result in results:
        for one in result.generations:
            shown = one.hypotheses if result.settings.search == "sample" else one.hypotheses[:1]
            for each in shown:
                ids = [int(i) for i in each.trace.ids if int(i) not in each.trace.special]
                sys.stdout.buffer.write(b"".join(each.trace.pieces.get(i, b"") for i in ids) + b"\n")
    sys.stdout.buffer.flush()
