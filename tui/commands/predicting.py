"""The command that puts a model to work on texts: labels, gaps, continuations, translations."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import UsageError
from ...core.text import printable
from .options import JsonOption
from .painting import ColorOption, Sheet

if TYPE_CHECKING:
    from ...core.evaluation.tasks.task import Part, Prediction, Settings
    from ..pictures.ink import Line

_TASKS = "text-classification, language-detection, text-generation, text-to-text or fill-mask"


def add_to(app: typer.Typer) -> None:
    """Put the command into the app."""
    app.command()(predict)


def predict(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="TASK", help=f"{_TASKS}.", show_default=False)],
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A run (RUN, RUN/STAGE, RUN@STEP), a folder, a name on the hub, or `default`.",
            show_default=False,
        ),
    ],
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT...", help="What is asked; without, it is read from a pipe.", show_default=False),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A text file, a text a line, or a table; `-` is a pipe.", show_default=False),
    ] = None,
    column: Annotated[str, typer.Option(help="The column that holds the text, in tables.")] = "text",
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Answers for each text or gap; 5, or 1 where texts are written.", show_default=False),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the road from text to probabilities, step by step.")
    ] = False,
    as_json: JsonOption = False,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens to write at most.", show_default=False)] = None,
    beams: Annotated[int | None, typer.Option(min=1, help="Beams to search with.", show_default=False)] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Draw what is written instead of searching it.")] = False,
    temperature: Annotated[float | None, typer.Option(help="With --sample: below 1 the likely is likelier.")] = None,
    top_k: Annotated[int | None, typer.Option(help="With --sample: draw from so many likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="With --sample: draw from the likeliest of this mass.")] = None,
    seed: Annotated[int, typer.Option(help="With --sample: the same seed draws the same.")] = 0,
    prefix: Annotated[str, typer.Option(help="Put before each text, such as 'summarize: ' for T5.")] = "",
    language: Annotated[
        str | None, typer.Option(help="For translators of many languages: that of the texts.", show_default=False)
    ] = None,
    target: Annotated[str | None, typer.Option(help="The language to translate to.", show_default=False)] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts at once.")] = 16,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1, mps.")] = "auto",
    color: ColorOption = "auto",
) -> None:
    """Let a model do a task: label texts, tell their language, go on from them, translate them, fill gaps."""
    from ...core.evaluation.tasks.registry import make_task
    from .output import notice, print_json

    asked = _asked(list(texts or ()), file, column)
    drawn = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    writing = {
        "search": "sample" if sample else None if beams is None else "beam",
        "tokens": tokens,
        "beams": beams,
        **drawn,
    }
    if not sample and any(value is not None for value in drawn.values()):
        raise UsageError("--temperature, --top-k and --top-p are for drawing; add --sample")
    common = {"prefix": prefix, "language": language, "target": target, "batch_size": batch_size}
    settings = _settings(task, {k: v for k, v in writing.items() if v is not None}, top, seed, common)
    made = make_task(task, model, settings, context.obj, device, notice)
    if explain:
        parts = [(text, made.explain(text)) for text in asked]
        if as_json:
            print_json([{"text": text, "steps": [_facts(part) for part in steps]} for text, steps in parts])
        else:
            _print_explanations(parts, Sheet(color))
        return
    found = made.predict(asked)
    for text, note in dict.fromkeys((each.text, note) for each in found for note in each.notes):
        notice(f"{text[:40]}: {note}")
    if as_json:
        print_json([each.facts() for each in found])
    else:
        _print_predictions(found)


# -- what is asked ----------------------------------------------------------------------------------


def _asked(texts: list[str], file: Path | None, column: str) -> list[str]:
    """The texts of the command line, then those of the file; those of a pipe, if there are none."""
    from .output import notice

    if file is None and not texts and not sys.stdin.isatty():
        file = Path("-")
    if file is not None and str(file) == "-":
        lines = sys.stdin.read().split("\n")
        texts += [line for line in lines if line.strip()]
    elif file is not None:
        from ...core.data.sources import SourceError, read_documents

        try:
            texts += read_documents(str(file.expanduser().absolute()), column, "line")
        except SourceError as error:
            hint = "; name the column with --column" if error.key == "data.text" else ""
            raise UsageError(f"{error}{hint}") from None
    if not texts:
        raise UsageError("there is nothing to answer; give a text, a file with --file, or a pipe")
    if blank := sum(not text.strip() for text in texts):
        notice(f"{blank} blank texts are left out")
    return [text for text in texts if text.strip()]


def _settings(task: str, writing: dict[str, Any], top: int | None, seed: int, common: dict[str, Any]) -> "Settings":
    """How to answer; options that do not go together are told in one sentence."""
    from pydantic import ValidationError

    from ...core.evaluation.tasks.task import Settings
    from ...core.recipe.problems import explain
    from ...core.recipe.schema import Decoding, Rewriting

    writes = task in ("text-generation", "text-to-text")
    wanted = top or (1 if writes else 5)
    batch = {"batch_size": common["batch_size"]}
    try:
        if task == "text-to-text":
            beams = {} if "beams" in writing or wanted <= 4 else {"beams": wanted}
            rewriting = Rewriting.model_validate({**beams, **writing, **batch, "variants": wanted})
            return Settings(top=wanted, rewriting=rewriting, seed=seed, **common)
        if task == "text-generation":
            many = {"samples": wanted} if writing.get("search") == "sample" else {"beams": max(wanted, 5)}
            decoding = Decoding.model_validate({**many, **writing, **batch, "seed": seed})
            return Settings(top=wanted, decoding=decoding, **common)
    except ValidationError as error:
        raise UsageError("; ".join(problem.text for problem in explain(error.errors(), True))) from None
    if writing:
        options = ", ".join(f"--{key.replace('_', '-')}" for key in writing if key != "search") or "--sample"
        raise UsageError(f"{printable(task)} writes no text; leave {options} out")
    return Settings(top=wanted, **common)


# -- what is printed --------------------------------------------------------------------------------


def _print_predictions(found: "Sequence[Prediction]") -> None:
    """A block for each text: the text, then its answers."""
    for number, each in enumerate(found):
        if number:
            print()
        print(printable(each.text))
        for gap, choices in enumerate(each.answers, 1):
            if len(each.answers) > 1:
                print(f"  gap {gap}")
            for choice in choices:
                told = "" if choice.score is None else f"{choice.score:.3f}"
                told = told if choice.probability is None else f"{choice.probability:.4f}"
                print(f"  {told:>8}  {printable(choice.text.strip(), keep_newlines=False)}".rstrip())
        if each.whole is not None:
            print(f"  → {printable(each.whole)}")


def _print_explanations(explanations: "Sequence[tuple[str, Sequence[Part]]]", sheet: Sheet) -> None:
    from ..pictures.ink import BOLD, Segment

    for number, (text, parts) in enumerate(explanations):
        lines: list[Line] = [()] if number else []
        lines.append((Segment(printable(text), BOLD),))
        for step, part in enumerate(parts, 1):
            lines += [(), (Segment(f"{step}. {part.title}", BOLD),), *_part_lines(part, sheet)]
        sheet.print(lines)


def _part_lines(part: "Part", sheet: Sheet) -> "list[Line]":
    """Sentences, table and tokens of one step."""
    import textwrap

    from ..pictures.ink import Segment
    from ..pictures.tokens import header_line, token_lines

    width = max(20, sheet.width - 3)
    lines: list[Line] = []
    for sentence in part.sentences:
        lines += [(Segment(f"   {line}"),) for line in textwrap.wrap(printable(sentence), width)]
    if part.rows:
        lines += _table_lines(part, sheet)
    if part.trace is not None:
        drawn = token_lines(part.trace, width, "linear", sheet.depth).lines
        lines += [(Segment("   "), *line) for line in (header_line("linear", sheet.depth), *drawn)]
    return lines


def _table_lines(part: "Part", sheet: Sheet) -> "list[Line]":
    """The table; names to the left, numbers to the right, a bar behind each probability."""
    from rich.cells import cell_len

    from ..pictures.colours import probability_ink
    from ..pictures.ink import DIM, Ink, Segment

    rows = [part.head, *(tuple(printable(cell) for cell in row) for row in part.rows)]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(part.head))]
    left = [not any(_is_number(row[column]) for row in rows[1:]) for column in range(len(part.head))]
    lines: list[Line] = []
    for number, row in enumerate(rows):
        cells: list[str] = []
        for cell, wide, first in zip(row, widths, left, strict=True):
            gap = " " * (wide - cell_len(cell))
            cells.append(cell + gap if first else gap + cell)
        text = "   " + "  ".join(cells)
        if number == 0 or not part.shares:
            lines.append((Segment(text.rstrip(), DIM if number == 0 else Ink()),))
            continue
        share = part.shares[number - 1]
        colour = probability_ink(share, share, sheet.depth).background
        lines.append((Segment(text + "  "), Segment("█" * round(20 * share), Ink(colour))))
    return lines


def _is_number(cell: str) -> bool:
    return cell.lstrip("-").replace(".", "", 1).isdigit()


def _facts(part: "Part") -> dict[str, Any]:
    """A step for JSON."""
    facts: dict[str, Any] = {"title": part.title, "sentences": list(part.sentences)}
    if part.rows:
        facts |= {"head": list(part.head), "rows": [list(row) for row in part.rows], "shares": list(part.shares)}
    if part.trace is not None:
        facts["tokens"] = [part.trace.piece(int(token)) for token in part.trace.ids]
        facts["ids"] = part.trace.ids.tolist()
        facts["logprob"] = [float(value) for value in part.trace.logprob]
    return facts
