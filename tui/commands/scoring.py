"""The command that colours given texts by what a model thought of them, or by how two models differ."""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import UsageError
from ...core.text import json_text, printable
from .generating import DeviceOption, ModelArgument
from .options import JsonOption
from .painting import ColorOption, Mapping, PaletteOption, Sheet
from .texts import given_text, is_file, looks_like_file, read_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ...core.decoding.scoring import TraceDifference
    from ...core.tokens import TokenTrace
    from ..pictures.generations import Pen
    from ..pictures.ink import Line
    from ..pictures.tokens import Layout


def add_to(app: typer.Typer) -> None:
    """Put the command into the app."""
    app.command()(score)


def score(
    context: typer.Context,
    model: ModelArgument,
    text: Annotated[
        str, typer.Argument(metavar="TEXT|FILE", help="A text, or the file that holds it; `-` is standard input.")
    ],
    compare: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Show how this model's opinion differs.", show_default=False),
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Show every token's numbers.")] = False,
    mapping: Annotated[
        Mapping | None, typer.Option(help="What the colours mean; surprisal if not given.", show_default=False)
    ] = None,
    palette: PaletteOption = "rdylbu",
    color: ColorOption = "auto",
    as_json: JsonOption = False,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="Print the text as it is, in colours if there are any; control characters get through."
        ),
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Colour a text by what a model thought of each token, given those before it."""
    if as_json and raw:
        raise UsageError("choose one of --json and --raw")
    if compare is not None and mapping is not None:
        raise UsageError("--mapping is for one model; with --compare, colours show the difference")
    given, sheet = _text(text), Sheet(color)
    pen = sheet.pen(mapping or "surprisal", palette)
    if compare is None:
        name, trace = _scored(context.obj, model, given, device)
        if as_json:
            _print_trace(name, trace)
        elif raw:
            _print_raw(trace, _layout(trace, replace(pen, width=1 << 30)), sheet)
        else:
            sheet.print(_pages(name, trace, pen, table))
        return
    names, both = _compared(context.obj, model, compare, given, device)
    if as_json:
        _print_difference(names, both)
    elif raw:
        _print_raw(both.before, _difference_layout(both, replace(pen, width=1 << 30)), sheet)
    else:
        sheet.print(_difference_pages(names, both, pen, table))


# -- what is asked ----------------------------------------------------------------------------------


def _text(word: str) -> str:
    """The text itself, or that of the file of this name.

    Raises:
        UsageError: there is nothing in it, or it is no UTF-8.
    """
    from .output import notice

    if word == "-" or is_file(word):
        text = read_text(word)
        if word != "-":
            notice(f"the text is that of the file {word}")
    else:
        text = given_text(word)
        if looks_like_file(word):
            notice(f"there is no file {word}; this is scored as a text")
    if not text:
        raise UsageError("there is no text to score")
    return text


def _scored(home: Any, model: str, text: str, device: str) -> "tuple[str, TokenTrace]":
    from ...core.decoding.loading import load
    from ...core.decoding.scoring import score_texts
    from .output import notice

    loaded = load(model, home, device, tell=notice)
    return loaded.name, score_texts(loaded, [text])[0]


def _compared(home: Any, model: str, other: str, text: str, device: str) -> "tuple[list[str], TraceDifference]":
    from ...core.decoding.loading import load
    from ...core.decoding.scoring import score_difference
    from .output import notice

    before, after = (load(reference, home, device, tell=notice) for reference in (model, other))
    return [before.name, after.name], score_difference(before, after, [text])[0]


# -- how it is shown --------------------------------------------------------------------------------


def _layout(trace: "TokenTrace", pen: "Pen") -> "Layout":
    from ..pictures.tokens import token_lines

    return token_lines(replace(trace, prompt_length=0), pen.width, pen.scale, pen.depth, pen.ramp)


def _difference_layout(both: "TraceDifference", pen: "Pen") -> "Layout":
    from ..pictures.differences import difference_lines

    return difference_lines(both.before, both.difference, pen)


def _pages(name: str, trace: "TokenTrace", pen: "Pen", table: bool) -> "Iterator[Line]":
    from ..pictures.colours import scale_legend
    from ..pictures.generations import table_legend, table_lines

    yield from _head([name], trace, f"{_bits(-trace.logprob)} a token", pen.width)
    yield from _layout(trace, pen).lines
    yield ()
    if table:
        yield from table_lines(replace(trace, prompt_length=0), pen)
        yield ()
        yield from table_legend(False, pen.width)
        yield ()
    yield scale_legend(pen.scale, pen.depth, pen.ramp, pen.styled)


def _difference_pages(names: Sequence[str], both: "TraceDifference", pen: "Pen", table: bool) -> "Iterator[Line]":
    from ..pictures.colours import difference_legend
    from ..pictures.differences import difference_table

    then = f"{_bits(-both.before.logprob)} a token, then {_bits(-both.after.logprob)}"
    yield from _head(names, both.before, then, pen.width)
    yield from _difference_layout(both, pen).lines
    yield ()
    if table:
        yield from difference_table(both.before, both.after, pen)
        yield ()
    yield difference_legend(pen.depth, pen.styled)


def _head(names: Sequence[str], trace: "TokenTrace", told: str, width: int) -> "Iterator[Line]":
    """Models and figures, in two lines if one is too short for them."""
    from ..pictures.ink import BOLD, DIM, Segment
    from ..pictures.tokens import cut_line

    models, figures = " → ".join(map(printable, names)), f"{len(trace)} tokens, {told}"
    first, second = Segment(models, BOLD), Segment(figures, DIM)
    if len(models) + 2 + len(figures) <= width:
        yield first, Segment("  "), second
    else:
        yield cut_line((first,), width)
        yield cut_line((second,), width)


def _bits(surprisal: "NDArray[np.float32]") -> str:
    """The mean of surprisals, given in nats, in bits."""
    known = [float(each) for each in surprisal if not math.isnan(each)]
    return f"{math.fsum(known) / len(known) / math.log(2):.2f} bit" if known else "no bits"


# -- for programs -----------------------------------------------------------------------------------


def _print_trace(name: str, trace: "TokenTrace") -> None:
    from ...core.decoding.as_json import trace_as_dict

    print(json_text({"model": name, **trace_as_dict(trace)}, indent=1))


def _print_difference(names: Sequence[str], both: "TraceDifference") -> None:
    """Both traces, and the change of each token's natural log-probability."""
    from ...core.decoding.as_json import trace_as_dict

    pairs = zip(names, (both.before, both.after), strict=True)
    difference = [None if math.isnan(each) else float(each) for each in both.difference]
    traces = [{"model": name, **trace_as_dict(trace)} for name, trace in pairs]
    print(json_text({"before": traces[0], "after": traces[1], "difference": difference}, indent=1))


def _print_raw(trace: "TokenTrace", layout: "Layout", sheet: Sheet) -> None:
    """The text byte for byte, each token in its colour; line feeds stand between the colours."""
    inks = {segment.cluster: segment.ink for line in layout.lines for segment in line}
    sys.stdout.flush()
    for index, cluster in enumerate(layout.clusters):
        pieces = [trace.pieces.get(int(token_id), b"") for token_id in trace.ids[cluster.first : cluster.last]]
        text = b"".join(pieces).decode("utf-8", "surrogateescape")
        shown = "\n".join(sheet.inked(part, inks[index]) for part in text.split("\n"))
        sys.stdout.buffer.write(shown.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()
