"""Commands that put the results of runs side by side: tables, pictures, and what differs in the recipes."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import UsageError
from ...core.text import printable
from .options import JsonOption

if TYPE_CHECKING:
    from ...core.comparison import Comparison
    from ...core.history.queries import History, Run

_FORMATS = ("svg", "png", "pdf", "jpg")
_KINDS = ("curves", "metric", "parameters", "lr", "spectrum", "kept", "progress")

RunsArgument = Annotated[
    list[str], typer.Argument(metavar="RUN...", help="Runs: ids, starts of ids, names, or `last`.", show_default=False)
]
MetricOption = Annotated[
    str | None, typer.Option(help="What is compared, such as test/accuracy; chosen if not given.", show_default=False)
]
BaselineOption = Annotated[
    str | None,
    typer.Option(help="The row that differences are taken to; the first if not given.", show_default=False),
]


def add_to(app: typer.Typer) -> None:
    """Put the commands into the app."""
    app.command()(compare)
    app.command()(figures)


def compare(
    context: typer.Context,
    references: RunsArgument,
    metric: MetricOption = None,
    baseline: BaselineOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    recipes: Annotated[
        bool, typer.Option("--recipes", help="Say in which keys the recipes of two runs differ.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--figures", metavar="FOLDER", help="Draw every picture into this folder.")
    ] = None,
    suffix: Annotated[str, typer.Option("--format", help=f"Of the pictures: {', '.join(_FORMATS)}.")] = "svg",
) -> None:
    """Compare runs, seeds and strategies: mean ± standard deviation, paired differences, sizes, times."""
    from ...core import tables
    from ...core.comparison import compare_runs
    from ...core.history.queries import History

    if as_json + as_csv + as_markdown > 1:
        raise UsageError("choose one of --json, --csv and --markdown")
    if suffix not in _FORMATS:
        raise UsageError(f"pictures can be {', '.join(_FORMATS)}, not '{printable(suffix)}'")
    with closing(History(context.obj)) as history:
        found = _find(history, references)
        if recipes:
            _print_recipe_differences(history, found, as_json)
            return
        table = compare_runs(history, found, metric, baseline)
        if as_json:
            print(tables.as_json(table), end="")
        elif as_csv:
            print(tables.as_csv(table), end="")
        elif as_markdown:
            print(printable(tables.as_markdown(table), keep_newlines=True), end="")
        else:
            print_comparison(table)
        if folder is not None:
            _draw_all(history, table, folder, suffix)


def figures(
    context: typer.Context,
    references: RunsArgument,
    kind: Annotated[str, typer.Option(help=f"Which picture: {', '.join(_KINDS)}.")] = "curves",
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"The file; its suffix is the format: {', '.join(_FORMATS)}. Else KIND.svg.", show_default=False
        ),
    ] = None,
    metric: MetricOption = None,
    baseline: BaselineOption = None,
) -> None:
    """Draw a picture of runs: curves, metric, parameters, lr (learning rates), spectrum (of LoRA updates), kept (what
    pruning costs), or progress (the metric over the steps with its confidence)."""
    from ...core.comparison import compare_runs
    from ...core.history.queries import History

    if kind not in _KINDS:
        raise UsageError(f"there is no picture '{printable(kind)}'; there are {', '.join(_KINDS)}")
    target = out or Path(f"{kind}.svg")
    if target.suffix[1:] not in _FORMATS:
        raise UsageError(f"{printable(str(target))} must end with .{', .'.join(_FORMATS)}")
    with closing(History(context.obj)) as history:
        table = compare_runs(history, _find(history, references), metric, baseline)
        from ...core.figures import draw

        picture = draw(kind, history, table)
        if picture is None:
            raise UsageError(f"these runs have nothing to show in a picture of kind '{kind}'")
        picture.save(target)
    print(target)


def print_comparison(table: "Comparison") -> None:
    """The table for people, at most 80 columns wide if the names are short."""
    from ...core import tables
    from .output import print_table

    rows = [(row.label, str(row.n), *tables.score_cells(row)) for row in table.rows]
    head = ("", "n", table.metric, "best", "difference [95 %]", "p")
    print_table(head, rows, right=(1, 2, 3, 4, 5))
    print()
    costs = tables.cost_columns(table)
    rows = [(row.label, *(cells[number] for _, cells in costs)) for number, row in enumerate(table.rows)]
    print_table(("", *(name for name, _ in costs)), rows, right=range(1, len(costs) + 1))
    print()
    if any(row.difference for row in table.rows):
        print(printable(f"Differences are to {table.baseline}."))
    for sentence in tables.explanation(table):
        print(printable(sentence))


def _find(history: "History", references: Sequence[str]) -> "list[Run]":
    """The runs that are meant, each once."""
    found = [history.find(reference) for reference in references]
    return list({run.id: run for run in found}.values())


def _draw_all(history: "History", table: "Comparison", folder: Path, suffix: str) -> None:
    from ...core.figures import draw_all
    from .output import notice

    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in draw_all(history, table):
        path = folder / f"{name}.{suffix}"
        picture.save(path)
        notice(str(path))


def _print_recipe_differences(history: "History", found: "Sequence[Run]", as_json: bool) -> None:
    from ...core.comparison import recipe_differences
    from .output import print_json, print_table

    if len(found) != 2:
        raise UsageError(f"--recipes compares two runs, not {len(found)}")
    left, right = found
    gaps = recipe_differences(history.recipe(left.id), history.recipe(right.id))
    if as_json:
        print_json({key: {left.uid: first, right.uid: second} for key, first, second in gaps})
    elif gaps:
        print_table(("key", left.uid, right.uid), [(key, _value(first), _value(second)) for key, first, second in gaps])
    else:
        print("the recipes are the same")


def _value(value: Any) -> str:
    import json

    return "–" if value is None else json.dumps(value, ensure_ascii=False, default=str)
