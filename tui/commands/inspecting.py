"""The command that shows which training rows a stage of influence has found, token by token."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import UsageError
from ...core.text import printable
from .. import words
from .options import JsonOption
from .painting import ColorOption, Sheet

if TYPE_CHECKING:
    from pathlib import Path

    from ...core.home import Home
    from ...core.influence_report import Found, Report, ReportedText
    from ..pictures.generations import Pen
    from ..pictures.ink import Line

_TOKENS = 64

TopOption = Annotated[int, typer.Option(min=0, help="How many of the highest and of the lowest rows to show.")]


def add_to(app: typer.Typer) -> None:
    """Put the command into the app."""
    app.command()(inspect)


def inspect(
    context: typer.Context,
    reference: Annotated[
        str,
        typer.Argument(metavar="RUN[/STAGE]", help="A run that asked for influence; its last such stage if not named."),
    ],
    query: Annotated[
        int | None, typer.Option(min=1, help="Only this query, counted from 1.", show_default=False)
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="Only this strategy.", show_default=False)] = None,
    top: TopOption = 5,
    tokens: Annotated[
        int, typer.Option(min=0, help="The most tokens of a row, where they matter most; 0 for all.")
    ] = _TOKENS,
    themselves: Annotated[
        bool, typer.Option("--self", help="Show the rows with the highest scores with themselves instead.")
    ] = False,
    as_json: JsonOption = False,
    color: ColorOption = "auto",
) -> None:
    """Show which training rows made a model say what it says; their tokens are coloured by their influence."""
    from .output import print_json

    report = found_by(context.obj, reference)
    chosen = _strategies(report, strategy, themselves)
    if query is not None and query > len(report.queries):
        raise UsageError(f"there is no query {query}; there are {len(report.queries)}, counted from 1")
    if as_json:
        print_json(answer_facts(report, chosen, query, top))
        return
    sheet = Sheet(color)
    pen = sheet.pen("probability", "rdylbu")
    if themselves:
        sheet.print(_own_lines(report, chosen, top, pen, tokens or None))
    else:
        sheet.print(report_lines(report, chosen, query, top, pen, tokens or None))


def found_by(home: "Home", reference: str) -> "Report":
    """What a stage has found.

    Args:
        home: whose runs are meant.
        reference: RUN or RUN/STAGE.

    Raises:
        NotFoundError: there is no such run.
        UsageError: it has no such stage, or none that has finished.
    """
    from ...core.influence_report import read_report

    return read_report(_folder(home, reference))


def _folder(home: "Home", reference: str) -> "Path":
    from ...core.history.queries import History
    from ..influence import KIND

    name, _, wanted = reference.removeprefix("run:").partition("/")
    with closing(History(home)) as history:
        run = history.find(name)
        members = history.members(run.id)
        stages = [each for each in history.stages(run.id) if each.kind == KIND]
    if members:
        raise UsageError(f"run {run.uid} has several members; name one of them, such as {members[0].uid}")
    if not stages:
        raise UsageError(f"run {run.uid} has no stage that asks for influence; `lmwb influence {run.uid}` starts one")
    names = ", ".join(each.name for each in stages)
    found = next((each for each in stages if each.name == wanted), None) if wanted else stages[-1]
    if found is None:
        raise UsageError(f"run {run.uid} has no stage '{printable(wanted)}' that asks for influence; it has {names}")
    if found.outcome != "finished":
        raise UsageError(f"{run.uid}/{found.name} has not finished; `lmwb show {run.uid}` tells how it goes")
    return run.folder / found.name


def _strategies(report: "Report", wanted: str | None, themselves: bool) -> list[str]:
    if themselves and not report.self_scores:
        raise UsageError("scores of rows with themselves were not asked for; say self_scores = true in the recipe")
    if wanted is not None and wanted not in report.answers:
        raise UsageError(f"strategy '{printable(wanted)}' was not asked for; there is {', '.join(report.answers)}")
    return list(report.answers) if wanted is None else [wanted]


# -- for people -------------------------------------------------------------------------------------


def report_lines(
    report: "Report", strategies: Sequence[str], query: int | None, top: int, pen: "Pen", most: int | None
) -> "Iterator[Line]":
    """Each query with its rows, best and worst, then what is to be known of the scores.

    Args:
        report: what was found.
        strategies: that are shown.
        query: only this one, from 1 on.
        top: rows shown of each side.
        pen: how to draw.
        most: tokens shown of a row.
    """
    from ..pictures.influence import influence_legend, influence_lines
    from ..pictures.ink import BOLD, DIM, Segment
    from ..pictures.tokens import cut_line

    def line(text: str, ink: Any = DIM) -> "Line":
        return cut_line((Segment(printable(text), ink),), pen.width)

    together = all(len(answers) < len(report.queries) for answers in report.answers.values())
    yield line(f"{report.of}, {report.training_rows:,} training rows")
    yield influence_legend(pen)
    for number, asked in enumerate(report.queries, 1):
        if query is not None and number != query and not together:
            continue
        yield ()
        yield line(f"query {number} of {len(report.queries)}{_loss(asked)}", BOLD)
        yield from influence_lines(report, asked, (), pen, most)
        if not together:
            for strategy in strategies:
                yield from _sides(report, strategy, number - 1, top, pen, most)
    if together:
        for strategy in strategies:
            yield from _sides(report, strategy, 0, top, pen, most)
    yield ()
    for note in report.notes:
        for first, part in enumerate(textwrap.wrap(printable(note), max(20, pen.width - 6))):
            yield (Segment("      " if first else "note  ", DIM), Segment(part, DIM))


def _sides(report: "Report", strategy: str, query: int, top: int, pen: "Pen", most: int | None) -> "Iterator[Line]":
    from ..pictures.influence import answer_lines
    from ..pictures.ink import BOLD, Segment

    answers = report.answers[strategy][query]
    for name, found in (("highest", answers.best), ("lowest", answers.worst)):
        if found[:top]:
            yield ()
            yield (Segment(f"{strategy}: {name} scores", BOLD),)
            yield from answer_lines(report, found[:top], pen, most)


def _own_lines(report: "Report", strategies: Sequence[str], top: int, pen: "Pen", most: int | None) -> "Iterator[Line]":
    from ..pictures.influence import answer_lines
    from ..pictures.ink import BOLD, Segment

    for strategy in strategies:
        yield (Segment(f"{strategy}: rows with the highest scores with themselves", BOLD),)
        yield from answer_lines(report, report.self_scores[strategy][:top], pen, most)
        yield ()


def _loss(asked: "ReportedText") -> str:
    if asked.loss is None:
        return ""
    count = asked.end - max(1, asked.first)  # nothing predicts a text's first token
    return f"  loss {asked.loss:.3f} nats" + (f" over {words.count(count)} tokens" if count > 0 else "")


# -- for programs -----------------------------------------------------------------------------------


def answer_facts(report: "Report", strategies: Sequence[str], query: int | None, top: int) -> dict[str, Any]:
    """The same for JSON."""

    def listed(found: "Sequence[Found]") -> list[dict[str, Any]]:
        return [_row_facts(report, each) for each in found[:top]]

    def sides(strategy: str, place: int) -> dict[str, Any]:
        answers = report.answers[strategy][place]
        return {"best": listed(answers.best), "worst": listed(answers.worst)}

    together = all(len(answers) < len(report.queries) for answers in report.answers.values())
    queries = [
        {
            **_text_facts(report, asked),
            "query": number,
            "asked": [asked.first, asked.end],
            "loss": asked.loss,
            "answers": {} if together else {strategy: sides(strategy, number - 1) for strategy in strategies},
        }
        for number, asked in enumerate(report.queries, 1)
        if query in (None, number)
    ]
    return {
        "of": report.of,
        "sign": report.sign,
        "training_rows": report.training_rows,
        "queries": queries,
        "together": {strategy: sides(strategy, 0) for strategy in strategies} if together else None,
        "self_scores": {strategy: listed(found) for strategy, found in report.self_scores.items()},
        "notes": list(report.notes),
        "profile": [dict(each) for each in report.profile],
    }


def _row_facts(report: "Report", found: "Found") -> dict[str, Any]:
    text = report.rows[found.row]
    return {
        "row": found.row,
        "score": found.score,
        **_text_facts(report, text),
        "token_scores": list(found.tokens),
        "query_token_scores": list(found.query_tokens),
        "seen": [{"step": step, "place": place} for step, place in text.seen],
    }


def _text_facts(report: "Report", text: "ReportedText") -> dict[str, Any]:
    pieces = [report.pieces.get(token, b"").decode("utf-8", "replace") for token in text.ids]
    return {"text": text.words, "ids": list(text.ids), "tokens": pieces}
