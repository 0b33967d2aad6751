"""The stage that makes new rows out of a table's rows and writes them to a table."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.augmentation.augmented import Count, NewText, augment
from ..data.augmentation.augmenter import Around, Augmenter, plugin
from ..data.augmentation.word_edits import WordEditor
from ..data.sources import SourceError, read_table
from ..errors import MachineError, Stopped, ValueInRecipeError
from ..files import write_atomically
from ..home import Home
from ..recipe.schema import AnyAugmenter, AugmentStage, BackTranslation, WordEdits
from ..text import printable
from .context import StageContext
from .translating import Translations

Row = dict[str, Any]

_EXAMPLES = 3


def run(stage: AugmentStage, context: StageContext, home: Home) -> dict[str, Any]:
    """Write the table; returns how many rows there are, and what became of each augmenter's texts.

    Raises:
        ValueInRecipeError: the source or an augmenter's model cannot be used.
        MachineError: the disk does not take it.
        Stopped: the user asked for it; what was translated is remembered.
    """
    context.begin(None, 0)

    def progress(done: int, of: int, what: str) -> None:
        context.recorder.progress(context.stage_id, done, of, what)

    def stop() -> None:
        if context.stop_wanted():
            context.tell("stopped as asked; what was translated is remembered", kind="stopped")
            raise Stopped

    made = make(stage, Around(context.seed, context.tell, progress, stop), str(context.device), home)
    for sentence in made.shortfalls:
        context.tell(sentence, level="warning")
    for count in made.counts:
        context.tell(count.sentence())
    for each in made.new[:_EXAMPLES]:
        context.tell(f"{each.origin}: {each.text}", kind="sample")
    write_rows(context.folder / stage.file, stage.format, made.rows)
    context.tell(f"{len(made.rows):,} rows are in {context.folder / stage.file}", kind="finished")
    return {**made.facts(), "table": str((context.folder / stage.file).relative_to(context.run_folder))}


@dataclass(frozen=True)
class Made:
    """What became of a table.

    Attributes:
        read: how many rows it has.
        new: the new texts.
        counts: what became of each augmenter's texts.
        rows: to be written.
        shortfalls: what translators left out and cut off, sentences.
    """

    read: int
    new: Sequence[NewText]
    counts: Sequence[Count]
    rows: Sequence[Row]
    shortfalls: Sequence[str]

    def facts(self) -> dict[str, Any]:
        """How many rows there are, and what became of each augmenter's texts."""
        return {
            "made": {"read": self.read, "new": len(self.new), "written": len(self.rows)},
            **{
                f"augmenter/{each.name}": {
                    "new": each.kept,
                    "unchanged": each.unchanged,
                    "duplicates": each.duplicates,
                    "blank": each.blank,
                    "without": each.none,
                }
                for each in self.counts
            },
        }


def make(stage: AugmentStage, around: Around, device: str, home: Home) -> Made:
    """Read a table and make more rows of its rows; what was translated is remembered in the home's cache.

    Raises:
        ValueInRecipeError: the source or an augmenter's model cannot be used, or no row is left.
    """
    rows = read_rows(stage)
    around.tell(f"rows: {len(rows):,} to make more of")
    names = [f"train-{number}" for number in range(1, len(rows) + 1)]
    translations = Translations(around, device, home)
    augmenters = [
        _augmenter(settings, f"augmenter.{place}", around, translations)
        for place, settings in enumerate(stage.augmenter)
    ]
    new, counts = augment([row[stage.data.text] for row in rows], augmenters, names)
    made = made_rows(stage, rows, names, new)
    if not made:
        raise ValueInRecipeError("originals", "no augmenter made a new text, and 'originals' is false: no row is left")
    return Made(len(rows), new, counts, made, translations.shortfalls())


def read_rows(stage: AugmentStage) -> list[Row]:
    """The rows with all their columns.

    Raises:
        SourceError: they cannot be read, or have no such column of texts.
    """
    data = stage.data
    rows: list[Row] = []
    for number, row in read_table(data.train, data.max_rows):
        if data.text not in row:
            there = ", ".join(map(printable, row))
            sentence = f"{printable(data.train)} has no column '{printable(data.text)}'; it has {there}"
            raise SourceError(sentence, "data.text")
        if not isinstance(row[data.text], str):
            sentence = f"{printable(data.train)}: row {number} has no text in column '{printable(data.text)}'"
            raise SourceError(sentence, "data.text")
        if stage.origin in row:
            sentence = (
                f"{printable(data.train)} has a column '{printable(stage.origin)}' already; choose another 'origin'"
            )
            raise SourceError(sentence, "origin")
        rows.append(row)
    if not rows:
        raise SourceError(f"{printable(data.train)} holds no rows")
    return rows


def made_rows(stage: AugmentStage, rows: Sequence[Row], names: Sequence[str], new: Sequence[NewText]) -> list[Row]:
    """The rows of the table: the original ones if wanted, then the new ones with everything else as in their row."""
    made: list[Row] = []
    if stage.originals:
        made += [{**row, stage.origin: name} for row, name in zip(rows, names, strict=True)]
    return made + [{**rows[each.row], stage.data.text: each.text, stage.origin: each.origin} for each in new]


def write_rows(path: Path, form: str, rows: Sequence[Row]) -> None:
    """Write a table, `csv` or `jsonl`; it is there whole or not at all.

    Raises:
        ValueInRecipeError: it holds lists or tables and is to be CSV.
        MachineError: the disk does not take it.
    """
    text = "".join(json.dumps(row, default=str) + "\n" for row in rows) if form == "jsonl" else _csv(rows)
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise MachineError(f"cannot write the table {path}: {error.strerror}") from None


def _augmenter(settings: AnyAugmenter, key: str, around: Around, translations: Translations) -> Augmenter:
    """What a recipe's table describes; models are loaded when they are first needed."""
    if isinstance(settings, WordEdits):
        return WordEditor(settings, around, key)
    if isinstance(settings, BackTranslation):
        return translations.augmenter(settings, key)
    return plugin(settings.name, settings.options, around, key)


def _csv(rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for row in rows:
        if nested := [column for column in columns if isinstance(row.get(column), list | dict)]:
            sentence = f"column '{printable(nested[0])}' holds lists or tables; say format = \"jsonl\""
            raise ValueInRecipeError("format", sentence)
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()
