"""Labelled texts, single or in pairs, from tables, hub datasets, GLUE tasks and folders with a folder per label."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..recipe.keys import nearest
from ..text import printable
from .glue import read_glue_rows
from .sources import HUB, TABLES, SourceError, hub_dataset, kind_of, read_rows, read_text

_NO_LABEL = "unsup"
"""IMDB's folder of reviews that nobody judged."""


@dataclass(frozen=True)
class Columns:
    """Where texts and labels stand in a table: the first of the names that is there counts.

    Attributes:
        text, pair, label: names; `pair` is None for single texts.
    """

    text: tuple[str, ...] = ("text",)
    pair: tuple[str, ...] | None = None
    label: tuple[str, ...] = ("label",)


@dataclass(frozen=True)
class LabelSource:
    """Something to read labelled texts from.

    Attributes:
        name: an absolute path, or `hub:NAME[/CONFIG][:SPLIT]`.
        columns: of a table.
        labelled: whether labels are wanted.
        task: the GLUE task whose official files are read: what is broken in them is left out and counted.
        limit: at most so many rows; those of a folder are taken from its labels in turn.
    """

    name: str
    columns: Columns
    labelled: bool = True
    task: str | None = None
    limit: int | None = None


@dataclass
class Examples:
    """Labelled texts.

    Attributes:
        places: where each stands, for messages: `line 3`, `row 3`, `pos/0_9.txt`.
        texts: the texts, or the first of pairs.
        pairs: the second ones, or None.
        labels: as they are written; None where none were wanted.
        names: the classes' names in order, where the source tells them.
        notes: what was left out, a sentence each.
    """

    places: list[str] = field(default_factory=list[str])
    texts: list[str] = field(default_factory=list[str])
    pairs: list[str] | None = None
    labels: list[str] | None = None
    names: Sequence[str] | None = None
    notes: list[str] = field(default_factory=list[str])


def read_examples(source: LabelSource) -> Examples:
    """All labelled texts of a source, in its order.

    Raises:
        SourceError: it cannot be read, or a row lacks text or label; the sentence says where.
    """
    found = Examples(pairs=None if source.columns.pair is None else [], labels=[] if source.labelled else None)
    broken: list[int] = []
    picker: _Picker | None = None
    for place, row in _rows(source, found, broken):
        picker = picker or _Picker(source, row, found)
        picker.take(place, row)
        if source.limit is not None and len(found.texts) >= source.limit:
            break
    if not found.texts:
        raise SourceError(f"{printable(source.name)} holds no rows")
    if all(_is_number(text) for text in found.texts):
        raise SourceError(
            f"{printable(source.name)} has nothing but numbers in column '{printable(picker.text if picker else '')}'; "
            "name the column that holds the text",
            key="data.text",
        )
    if broken:
        found.notes.append(f"lines that break off and were left out: {len(broken):,}, the first is line {broken[0]}")
    if picker is not None and picker.skipped:
        found.notes.append(
            f"rows without text that were left out: {len(picker.skipped):,}, the first is {picker.skipped[0]}"
        )
    return found


class _Picker:
    """Takes texts and labels out of rows."""

    def __init__(self, source: LabelSource, first: dict[str, Any], found: Examples):
        self._source = source
        self._found = found
        columns = source.columns
        self.text = _column(source.name, columns.text, first, "data.text")
        self._pair = None if columns.pair is None else _column(source.name, columns.pair, first, "data.pair")
        self._label = _column(source.name, columns.label, first, "data.label") if source.labelled else None
        self.skipped: list[str] = []

    def take(self, place: str, row: dict[str, Any]) -> None:
        text = self._text_in(place, row, self.text, "data.text")
        pair = "" if self._pair is None else self._text_in(place, row, self._pair, "data.pair")
        blank = self.text if not text.strip() else self._pair if self._pair and not pair.strip() else None
        if blank is not None and self._source.task is not None and self._source.labelled:
            self.skipped.append(place)
            return
        if blank is not None and self._source.task is None:
            raise self._wrong(
                place, f"has no text in column '{printable(blank)}'; mend or remove the row", "data.train"
            )
        found = self._found
        if found.labels is not None and self._label is not None:
            found.labels.append(self._label_in(place, row, self._label))
        if found.pairs is not None:
            found.pairs.append(pair)
        found.texts.append(text)
        found.places.append(place)

    def _text_in(self, place: str, row: dict[str, Any], column: str, key: str) -> str:
        value = self._cell(place, row, column, key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self._wrong(place, f"has {_kind(value)} in column '{printable(column)}', not text", key)
        return value

    def _label_in(self, place: str, row: dict[str, Any], column: str) -> str:
        value = self._cell(place, row, column, "data.label")
        if value is None or value != value or (isinstance(value, str) and not value.strip()):  # NaN: a gap
            raise self._wrong(place, f"has no label in column '{printable(column)}'", "data.train")
        if not isinstance(value, str | int | float):
            raise self._wrong(place, f"has {_kind(value)} in column '{printable(column)}', not a label", "data.label")
        if self._found.names is not None and isinstance(value, int):
            if not 0 <= value < len(self._found.names):
                raise self._wrong(place, f"has the label {value}, which stands for none", "data.train")
            return self._found.names[value]
        return str(value).strip()

    def _cell(self, place: str, row: dict[str, Any], column: str, key: str) -> Any:
        if column not in row:
            raise self._wrong(place, f"has no '{printable(column)}'", key)
        return row[column]

    def _wrong(self, place: str, what: str, key: str) -> SourceError:
        return SourceError(f"{printable(self._source.name)}: {printable(place)} {what}", key=key)


def _rows(source: LabelSource, found: Examples, broken: list[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with their places; tells the names of classes, and the lines that break off."""
    if source.name.startswith(HUB):
        dataset = hub_dataset(source.name)
        label = next((name for name in source.columns.label if name in dataset.column_names), None)
        found.names = None if label is None else getattr(dataset.features[label], "names", None)
        return ((f"row {number}", dict(row)) for number, row in enumerate(dataset, 1))
    path = Path(source.name)
    if path.is_dir():
        return _folder_rows(path, source)
    kind = kind_of(path)
    if kind not in TABLES:
        if source.labelled:
            raise SourceError(
                f"{printable(source.name)} has no labels; give a table ({', '.join(TABLES)}), or a folder with a "
                "folder of text files for each label"
            )
        lines = enumerate(read_text(path).split("\n"), 1)
        return ((f"line {number}", {source.columns.text[0]: line}) for number, line in lines if line.strip())
    word = "row" if kind == ".parquet" else "item" if kind == ".json" else "line"
    rows = read_rows(path) if source.task is None else read_glue_rows(source.task, path, broken.append)
    return ((f"{word} {number}", row) for number, row in rows)


def _folder_rows(folder: Path, source: LabelSource) -> Iterator[tuple[str, dict[str, Any]]]:
    """Text files: a folder for each label, taken in turn, so that the first rows have all labels."""
    columns = source.columns
    if columns.pair is not None:
        raise SourceError(f"the folder {printable(str(folder))} has no pairs; give a table", key="data.pair")
    if not source.labelled:
        for file in _texts_in(folder, deep=True):
            yield file.relative_to(folder).as_posix(), {columns.text[0]: read_text(file)}
        return
    folders = sorted(each for each in folder.iterdir() if each.is_dir() and each.name != _NO_LABEL)
    files = {each.name: found for each in folders if (found := _texts_in(each))}
    if len(files) < 2:
        inner = next((each for each in folders if len([d for d in each.iterdir() if d.is_dir()]) > 1), None)
        hint = f"; did you mean {printable(str(inner))}?" if inner else ""
        raise SourceError(
            f"the folder {printable(str(folder))} does not hold a folder of .txt files for each of several labels{hint}"
        )
    for turn in range(max(map(len, files.values()))):
        for label, found in files.items():
            if turn < len(found):
                file = found[turn]
                yield f"{label}/{file.name}", {columns.text[0]: read_text(file), columns.label[0]: label}


def _texts_in(folder: Path, deep: bool = False) -> list[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(file for file in found if kind_of(file) == ".txt" and file.is_file())


def _column(source: str, wanted: tuple[str, ...], row: dict[str, Any], key: str) -> str:
    """The column of a table that the wanted names mean."""
    found = next((name for name in wanted if name in row), None)
    if found is not None:
        return found
    close = nearest(wanted[0], row)
    hint = f"did you mean '{printable(close)}'?" if close else f'name one with {key.removeprefix("data.")} = "..."'
    raise SourceError(
        f"{printable(source)} has no column '{printable(wanted[0])}'; it has "
        f"{', '.join(printable(name) for name in row)}; {hint}",
        key=key,
    )


def _kind(value: Any) -> str:
    return {bool: "a truth value", int: "a number", float: "a number", list: "a list", dict: "a table"}.get(
        type(value), type(value).__name__
    )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
