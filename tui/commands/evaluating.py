"""The command that measures models on texts, or predictions beside the truth, and prints one table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...core.errors import UsageError
from ...core.text import printable
from .generating import DeviceOption
from .options import JsonOption

if TYPE_CHECKING:
    from ...core.evaluation.table import EvaluationTable
    from ...core.recipe.schema import EvaluateStage


def add_to(app: typer.Typer) -> None:
    """Put the command into the app."""
    app.command()(evaluate)


def evaluate(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            help="Runs (RUN, RUN/STAGE, RUN@STEP), folders, names on the hub; NAME=MODEL names the column.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="A text file, a folder, a table, hub:NAME.", show_default=False),
    ] = None,
    examples: Annotated[
        Literal["texts", "stories", "pairs"],
        typer.Option(help="Whole texts; second sentences of stories given the first; or two columns."),
    ] = "texts",
    text: Annotated[str, typer.Option(help="The column that holds the text.")] = "text",
    prefix: Annotated[str, typer.Option(help="With pairs: the column that holds what is given.")] = "prefix",
    continuation: Annotated[str, typer.Option(help="With pairs: the column that holds what follows.")] = "continuation",
    documents: Annotated[
        Literal["file", "line", "paragraph"], typer.Option(help="What one text is in a .txt file.")
    ] = "paragraph",
    max_rows: Annotated[int | None, typer.Option(help="Only so many texts or pairs.", show_default=False)] = None,
    measures: Annotated[
        str, typer.Option("--measures", metavar="WHAT[,WHAT]", help="perplexity, rouge, or both.")
    ] = "perplexity",
    boundary: Annotated[
        Literal["split", "joint"], typer.Option(help="Encode prefix and continuation each by itself, or as one text.")
    ] = "split",
    beginning: Annotated[
        Literal["tokenizer", "always", "never"] | None,
        typer.Option(
            help="What stands before: the tokenizer's choice (texts), a beginning of text, nothing (continuations).",
            show_default=False,
        ),
    ] = None,
    order: Annotated[int, typer.Option(help="Longest n-grams of pooled ROUGE.")] = 3,
    tokens: Annotated[int, typer.Option(help="For ROUGE: tokens to generate.")] = 32,
    beams: Annotated[int, typer.Option(help="For ROUGE: beams; 1 always takes the likeliest token.")] = 5,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Measure this table's predictions instead of models.", show_default=False),
    ] = None,
    kind: Annotated[
        Literal["classes", "scores", "texts"], typer.Option("--as", help="What the predictions are.")
    ] = "classes",
    predicted: Annotated[str, typer.Option(help="The column with the predictions.")] = "predicted",
    gold: Annotated[str, typer.Option(help="The column with the truth.")] = "gold",
    gold_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The table with that column, row by row.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Measure models: perplexity, and ROUGE of what they generate; or predictions beside the truth."""
    if as_json + as_csv + as_markdown > 1:
        raise UsageError("choose one of --json, --csv and --markdown")
    if predictions is not None:
        if models or data is not None:
            raise UsageError("--predictions stands alone; leave out the models and --data")
        from ...core.evaluation.measure import table_of
        from ...core.evaluation.predictions import measure_predictions

        table = table_of({predictions.name: measure_predictions(predictions, kind, predicted, gold, gold_file)})
    elif not models or data is None:
        raise UsageError("name a model and --data, or --predictions; `lmwb evaluate --help` tells more")
    else:
        settings = _settings(
            {
                "models": _named(models),
                "data": {
                    "test": data
                    if data.startswith("hub:") or data == "python-reference"
                    else str(Path(data).absolute()),
                    "examples": examples,
                    "text": text,
                    "prefix": prefix,
                    "continuation": continuation,
                    "documents": documents,
                    **({} if max_rows is None else {"max_rows": max_rows}),
                },
                "measures": measures.split(","),
                "boundary": boundary,
                **({} if beginning is None else {"beginning": beginning}),
                "order": order,
                "decoding": {"search": "beam", "beams": beams, "tokens": tokens},
            }
        )
        table = _measure(context.obj, settings, device)
    _print(table, "json" if as_json else "csv" if as_csv else "markdown" if as_markdown else "text")


def _named(models: list[str]) -> dict[str, str]:
    """The models by the names of their columns."""
    found: dict[str, str] = {}
    for given in models:
        name, sign, reference = given.partition("=")
        if not sign or Path(given).is_dir():
            name, reference = given, given
        if name in found:
            raise UsageError(f"'{printable(name)}' stands twice; say NAME={printable(reference)}")
        found[name] = reference
    return found


def _settings(document: dict[str, Any]) -> "EvaluateStage":
    """The options as the table of a recipe.

    Raises:
        UsageError: a value does not fit; it names the option.
    """
    from pydantic import ValidationError

    from ...core.recipe.schema import EvaluateStage

    try:
        return EvaluateStage.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if sentence := first.get("ctx", {}).get("sentence"):
            raise UsageError(printable(sentence)) from None
        option = [part for part in first["loc"] if isinstance(part, str)][-1].replace("_", "-")
        raise UsageError(printable(f"--{option}: {first['msg'][0].lower()}{first['msg'][1:]}")) from None


def _measure(home: Any, settings: "EvaluateStage", device: str) -> "EvaluationTable":
    from ...core.decoding.loading import load
    from ...core.evaluation.examples import read_examples
    from ...core.evaluation.measure import measure, table_of
    from .output import notice

    read = read_examples(settings.data)
    measured: dict[str, Any] = {}
    for name, reference in settings.models.items():
        notice(f"{name}: measuring")
        measured[name] = measure(load(reference, home, device, tell=notice), read, settings)
    return table_of(measured, read.notes)


def _print(table: "EvaluationTable", form: str) -> None:
    from .output import print_json, print_table

    if form == "json":
        print_json(table.facts())
    elif form == "csv":
        print(printable(table.as_csv(), keep_newlines=True), end="")
    elif form == "markdown":
        print(printable(table.as_markdown(), keep_newlines=True), end="")
    else:
        print_table(("", *table.models), table.cells(), right=tuple(range(1, len(table.models) + 1)))
        print()
        for sentence in table.explanation():
            print(printable(sentence))
