"""The command that makes more rows out of a table's rows: by translating there and back, or by changing words."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import UsageError
from ...core.text import printable
from .generating import DeviceOption
from .options import JsonOption

if TYPE_CHECKING:
    from ...core.recipe.schema import AugmentStage

_FORMS = {".csv": "csv", ".jsonl": "jsonl"}


def add_to(app: typer.Typer) -> None:
    """Put the command into the app."""
    app.command()(augment)


def augment(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(metavar="FILE", help="A table: csv, tsv, json, jsonl, parquet; or hub:NAME.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The table to write, .csv or .jsonl; a new file.")
    ],
    there: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Translates to another language: a folder or hub name.", show_default=False),
    ] = None,
    back: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Translates back; a model of many languages does both.", show_default=False),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="For translators of many languages: that of the texts.", show_default=False)
    ] = None,
    pivot: Annotated[
        str | None, typer.Option(help="For translators of many languages: the other one.", show_default=False)
    ] = None,
    edits: Annotated[bool, typer.Option("--edits", help="Swap and leave out words; needs no model.")] = False,
    synonyms: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --edits: a line for each word, then what may replace it.", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Names the new rows: `fi` in train-1-aug-fi.", show_default=False)
    ] = None,
    column: Annotated[str, typer.Option(help="The column that holds the text.")] = "text",
    variants: Annotated[int, typer.Option(help="Texts to make of each text.")] = 1,
    beams: Annotated[int | None, typer.Option(help="Beams to translate with; 4.", show_default=False)] = None,
    tokens: Annotated[
        int | None, typer.Option(help="The most tokens of a translation; 128.", show_default=False)
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Draw translations instead of searching them.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same.")] = 0,
    max_rows: Annotated[int | None, typer.Option(help="Only so many rows.", show_default=False)] = None,
    originals: Annotated[bool, typer.Option(help="Write the rows themselves, too, before the new ones.")] = True,
    as_json: JsonOption = False,
    device: DeviceOption = "auto",
) -> None:
    """Make more rows out of a table: translate its texts there and back, or change words; echoes are dropped."""
    if (there is None) == (not edits):
        raise UsageError("choose one of --there MODEL, which translates, and --edits, which changes words")
    if out.suffix not in _FORMS:
        raise UsageError(f"--out is a .csv or a .jsonl file, not {printable(str(out))}")
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_.]{1,40}", name):
        raise UsageError(f"--name is made of letters, digits, '_' and '.', not {printable(name)}")
    if out.exists():
        raise UsageError(f"there is a file {printable(str(out))} already; choose another --out")
    if edits:
        asked = {"language": language, "pivot": pivot, "back": back, "beams": beams, "tokens": tokens}
        asked["sample"] = sample or None
        if wrong := [f"--{key}" for key, value in asked.items() if value is not None]:
            raise UsageError(f"--edits translates nothing; leave {', '.join(wrong)} out")
        way: dict[str, Any] = {"kind": "word-edits", "name": name, "synonyms": synonyms and str(synonyms.absolute())}
    else:
        if synonyms is not None:
            raise UsageError("--synonyms is for --edits")
        way = {"there": there, "back": back, "language": language, "pivot": pivot, "beams": beams, "tokens": tokens}
        way |= {"name": name or "back", "search": "sample" if sample else None}
    known = {key: value for key, value in way.items() if value is not None}
    document = {
        "data": {"train": source if source.startswith("hub:") else str(Path(source).expanduser().absolute()),
                 "text": column, **({} if max_rows is None else {"max_rows": max_rows})},
        "augmenter": [{**known, "variants": variants}],
        "originals": originals,
        "format": _FORMS[out.suffix],
    }  # fmt: skip
    _work(context.obj, _settings(document), out, seed, device, as_json)


def _settings(document: dict[str, Any]) -> "AugmentStage":
    """The options as the table of a recipe.

    Raises:
        UsageError: they do not fit together.
    """
    from pydantic import ValidationError

    from ...core.recipe.problems import explain
    from ...core.recipe.schema import AugmentStage

    try:
        return AugmentStage.model_validate(document)
    except ValidationError as error:
        raise UsageError("; ".join(problem.text for problem in explain(error.errors(), True))) from None


def _work(home: Any, stage: "AugmentStage", out: Path, seed: int, device: str, as_json: bool) -> None:
    from ...core.data.augmentation.augmenter import Around
    from ...core.stages.augment import make, write_rows
    from .output import notice, print_json

    made = make(stage, Around(seed, notice), device, home)
    for sentence in made.shortfalls:
        notice(sentence)
    write_rows(out, stage.format, made.rows)
    if as_json:
        print_json({**made.facts(), "table": str(out)})
        return
    for count in made.counts:
        print(printable(count.sentence()))
    print(f"{len(made.rows):,} rows are in {printable(str(out))}")
