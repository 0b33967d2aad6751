"""Questions as rows of tokens, one for each ending, kept in the cache as one Arrow table for each source."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..text import printable
from .cache import ArrowTable, RowCache
from .choices import ChoiceColumns, Questions, read_questions
from .encoded import EncodedRows, Encoding, TooLong, encode
from .hashing import hash_of_named, hash_of_tokenizer
from .sources import SourceError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NOTES = b"notes"


@dataclass(frozen=True)
class ChoiceRows:
    """Questions, `endings` neighbouring rows of tokens for each.

    Attributes:
        rows: (questions · endings) rows of tokens.
        places: (questions,) where each stands in its source.
        labels: (questions,) the number of the right ending; -1 for questions without.
        endings: of a question.
        notes: what was left out or cut, a sentence each.
    """

    rows: EncodedRows
    places: list[str]
    labels: NDArray[np.int64]
    endings: int
    notes: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, questions: NDArray[np.int64]) -> "ChoiceRows":
        """Some of the questions."""
        of_rows = (questions[:, None] * self.endings + np.arange(self.endings)).ravel()
        places = [self.places[i] for i in questions]
        return ChoiceRows(self.rows.take(of_rows), places, self.labels[questions], self.endings, self.notes)


class ChoiceSource:
    """A source whose questions are read when they are needed, and at most once."""

    def __init__(self, name: str, key: str, columns: ChoiceColumns, limit: int | None):
        """`key` is the recipe's key that names the source; at most `limit` rows are read."""
        self.key = key
        self._name = name
        self._columns = columns
        self._limit = limit
        self._questions: Callable[[], Questions] = cache(self._read)

    def texts(self) -> list[str]:
        """All first and second sentences, for training a tokenizer.

        Raises:
            SourceError: as for `rows`.
        """
        found = self._questions()
        return found.contexts + [ending for endings in found.endings for ending in endings]

    def rows(
        self, tokenizer: "PreTrainedTokenizerBase", max_length: int, too_long: TooLong, kept: RowCache
    ) -> ChoiceRows:
        """The rows of tokens, from the cache if they are there.

        Raises:
            SourceError: the source cannot be read, a row is not as it should be, or is too long.
        """
        if self._columns.label is None and too_long == "drop":
            too_long = "truncate"  # every row is to be answered
        key = {
            "source": hash_of_named(self._name, self.key, kept.folder),
            "tokenizer": hash_of_tokenizer(tokenizer),
            "columns": json.dumps(vars(self._columns)),
            "max_rows": str(self._limit),
            "max_length": str(max_length),
            "too_long": too_long,
        }
        table = kept.get(self.key, self._name, key, lambda: self._encode(tokenizer, max_length, too_long))
        return _from_table(table, len(self._columns.endings))

    def _read(self) -> Questions:
        try:
            return read_questions(self._name, self._columns, self._limit)
        except SourceError as error:
            raise self._blamed(error) from None

    def _blamed(self, error: SourceError) -> SourceError:
        """What is wrong with a source is wrong with the key that names it."""
        return SourceError(str(error), self.key if error.key == "data.train" else error.key)

    def _encode(self, tokenizer: "PreTrainedTokenizerBase", max_length: int, too_long: TooLong) -> ArrowTable:
        found = self._questions()
        count = len(self._columns.endings)
        contexts = [context for context in found.contexts for _ in range(count)]
        seconds = [ending for endings in found.endings for ending in endings]
        how: TooLong = "truncate" if too_long == "truncate" else "error"  # a question is dropped with all its endings
        encoding = encode(contexts, seconds, tokenizer, max_length, how)
        long = sorted({row // count for row in encoding.long})
        notes = self._about_long(found, encoding, long, max_length, too_long)
        dropped = set(long) if too_long == "drop" else set[int]()
        kept = [row for row in range(len(seconds)) if row // count not in dropped]
        if not kept:
            raise SourceError(f"all rows of {printable(self._name)} are longer than max_length", "data.max_length")
        columns = {
            "place": pa.array([found.places[row // count] for row in kept], pa.string()),
            "label": pa.array([-1 if found.labels is None else found.labels[row // count] for row in kept], pa.int64()),
            **EncodedRows.columns(
                [encoding.ids[row] for row in kept],
                None if encoding.types is None else [encoding.types[row] for row in kept],
            ),
        }
        return pa.table(columns).replace_schema_metadata({_NOTES: json.dumps(notes).encode()})

    def _about_long(
        self, found: Questions, encoding: Encoding, long: list[int], max_length: int, too_long: TooLong
    ) -> list[str]:
        """What to tell of questions with an ending that is too long with its context.

        Raises:
            SourceError: there are some, and they shall be an error.
        """
        if not long:
            return []
        first = found.places[long[0]]
        if too_long == "error":
            raise SourceError(
                f"{printable(self._name)}: {first} has more than max_length {max_length} tokens, as {len(long):,} of "
                f"{len(found.places):,} rows do (the longest has {encoding.longest:,}); raise max_length, or set "
                "too_long to 'truncate' or 'drop'",
                "data.too_long",
            )
        done = "cut" if too_long == "truncate" else "left out"
        told = (
            f"{len(long):,} of {len(found.places):,} rows have more than max_length {max_length} tokens with one of "
            f"their endings (the longest has {encoding.longest:,}) and were {done}, the first at {first}"
        )
        return [told]


def _from_table(table: ArrowTable, endings: int) -> ChoiceRows:
    return ChoiceRows(
        rows=EncodedRows.of_table(table),
        places=table["place"].to_pylist()[::endings],
        labels=table["label"].to_numpy()[::endings],
        endings=endings,
        notes=json.loads((table.schema.metadata or {})[_NOTES]),
    )
