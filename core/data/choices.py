"""Beginnings with several endings each, from tables and hub datasets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..recipe.keys import nearest
from ..text import printable, shorten
from .sources import HUB, SourceError, kind_of, read_table

_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")


@dataclass(frozen=True)
class ChoiceColumns:
    """Where a table holds what.

    Attributes:
        context: the first sentence.
        start: the beginning of the second one; None if the endings are whole.
        endings: one for each ending.
        label: the number of the right ending, from 0; None for rows without.
    """

    context: str
    start: str | None
    endings: Sequence[str]
    label: str | None


@dataclass
class Questions:
    """Beginnings with endings.

    Attributes:
        places: where each stands, for messages: `line 3`.
        contexts: first sentences.
        endings: for each, the second sentences to choose from, beginnings included.
        labels: the number of the right one; None where none were wanted.
    """

    places: list[str] = field(default_factory=list[str])
    contexts: list[str] = field(default_factory=list[str])
    endings: list[list[str]] = field(default_factory=list[list[str]])
    labels: list[int] | None = None


def read_questions(source: str, columns: ChoiceColumns, limit: int | None = None) -> Questions:
    """All questions of a source, in its order.

    Args:
        source: the path of a table, or `hub:NAME[/CONFIG][:SPLIT]`.
        columns: where it holds what.
        limit: at most so many rows.

    Raises:
        SourceError: it cannot be read, a row lacks something, or its label is no ending's number.
    """
    found = Questions(labels=None if columns.label is None else [])
    word = _word(source)
    for number, row in read_table(source, limit):
        place = f"{word} {number}"
        if not found.places:
            _check_columns(source, columns, row)
        start = "" if columns.start is None else _text(source, place, row, columns.start, "data.start").strip() + " "
        endings = [start + _text(source, place, row, name, "data.endings").strip() for name in columns.endings]
        found.contexts.append(_text(source, place, row, columns.context, "data.context"))
        found.endings.append(endings)
        found.places.append(place)
        if found.labels is not None and columns.label is not None:
            found.labels.append(_label(source, place, row, columns.label, len(endings)))
    if not found.places:
        raise SourceError(f"{printable(source)} holds no rows")
    return found


def _check_columns(source: str, columns: ChoiceColumns, row: dict[str, Any]) -> None:
    wanted = [(columns.context, "data.context"), *((name, "data.endings") for name in columns.endings)]
    wanted += [] if columns.start is None else [(columns.start, "data.start")]
    wanted += [] if columns.label is None else [(columns.label, "data.label")]
    for name, key in wanted:
        if name not in row:
            close = nearest(name, row)
            hint = f"did you mean '{printable(close)}'?" if close else f"name another one in {key}"
            there = ", ".join(map(printable, row))
            raise SourceError(f"{printable(source)} has no column '{printable(name)}'; it has {there}; {hint}", key)


def _text(source: str, place: str, row: dict[str, Any], column: str, key: str) -> str:
    value = row.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        whole = "; every row needs all endings" if key == "data.endings" else ""
        raise SourceError(f"{printable(source)}: {place} has nothing in column '{printable(column)}'{whole}", key)
    if not isinstance(value, str):
        found = type(value).__name__
        raise SourceError(f"{printable(source)}: {place} has {found} in column '{printable(column)}', not text", key)
    return value


def _label(source: str, place: str, row: dict[str, Any], column: str, endings: int) -> int:
    value = row.get(column)
    written = "" if value is None or value != value else str(value).strip()  # NaN: a gap
    where = f"{printable(source)}: {place}"
    if not written:
        raise SourceError(
            f"{where} has no label in column '{printable(column)}'; name rows without labels with 'predict'",
            "data.label",
        )
    if isinstance(value, bool) or not _WHOLE.fullmatch(written):
        shown = printable(shorten(written, 40))
        raise SourceError(f"{where} has the label '{shown}', which is not a whole number", "data.label")
    label = int(written.partition(".")[0])
    if not 0 <= label < endings:
        hint = "; name rows without labels with 'predict'" if label == -1 else ""
        raise SourceError(
            f"{where} has the label {label}, but its {endings} endings are numbered from 0 to {endings - 1}{hint}",
            "data.label",
        )
    return label


def _word(source: str) -> str:
    """What the numbers of a source's rows count."""
    if source.startswith(HUB):
        return "row"
    return {".parquet": "row", ".json": "item"}.get(kind_of(Path(source)), "line")
