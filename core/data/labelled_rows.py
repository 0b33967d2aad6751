"""Labelled texts as rows of tokens, kept in the cache as one Arrow table for each source.

The table has a row for each text: `place`, `label` as it is written, `input_ids`, and `token_type_ids` if the
tokenizer tells them. Its metadata hold the classes' names and what was left out, so that a later run says the same as
the first.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..text import printable
from .cache import ArrowTable, RowCache
from .encoded import EncodedRows, Encoding, TooLong, encode
from .hashing import hash_of_named, hash_of_tokenizer
from .labelled import Examples, LabelSource, read_examples
from .sources import SourceError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FACTS = b"lmwb"


@dataclass(frozen=True)
class LabelledRows:
    """Rows with what was written beside them.

    Attributes:
        rows: the tokens.
        places: where each row stands in its source.
        labels: as written; None for rows without.
        names: the classes' names in order, where the source tells them.
        notes: what was left out or cut, a sentence each.
    """

    rows: EncodedRows
    places: list[str]
    labels: list[str] | None
    names: list[str] | None
    notes: list[str]


class LabelledSource:
    """A source whose texts are read when they are needed, and at most once."""

    def __init__(self, name: str, source: LabelSource, key: str):
        """`name` is the part's, `key` the recipe's key that names the source."""
        self.name = name
        self.source = source
        self.key = key
        self._examples: Callable[[], Examples] = cache(self._read)

    def texts(self) -> list[str]:
        """All texts, the second ones of pairs included.

        Raises:
            SourceError: as for `rows`.
        """
        found = self._examples()
        return found.texts + (found.pairs or [])

    def rows(
        self, tokenizer: "PreTrainedTokenizerBase", max_length: int, too_long: TooLong, kept: RowCache
    ) -> LabelledRows:
        """The rows of tokens, from the cache if they are there.

        Raises:
            SourceError: the source cannot be read, a row is not as it should be, or is too long.
        """
        source, columns = self.source, self.source.columns
        if not source.labelled and too_long == "drop":
            too_long = "truncate"  # every row is to be answered
        key = {
            "source": hash_of_named(source.name, self.key, kept.folder),
            "tokenizer": hash_of_tokenizer(tokenizer),
            "columns": json.dumps([columns.text, columns.pair, columns.label if source.labelled else None]),
            "task": str(source.task),
            "max_rows": str(source.limit),
            "max_length": str(max_length),
            "too_long": too_long,
        }
        table = kept.get(self.name, source.name, key, lambda: self._encode(tokenizer, max_length, too_long))
        return _from_table(table)

    def _read(self) -> Examples:
        try:
            return read_examples(self.source)
        except SourceError as error:
            raise self._blamed(error) from None

    def _blamed(self, error: SourceError) -> SourceError:
        """What is wrong with a source is wrong with the key that names it."""
        return SourceError(str(error), self.key if error.key == "data.train" else error.key)

    def _encode(self, tokenizer: "PreTrainedTokenizerBase", max_length: int, too_long: TooLong) -> ArrowTable:
        found = self._examples()
        encoding = encode(found.texts, found.pairs, tokenizer, max_length, too_long)
        notes = [*found.notes, *self._about_long(found, encoding, max_length, too_long)]
        empty = next((i for i, ids in zip(encoding.kept, encoding.ids, strict=True) if not len(ids)), None)
        if empty is not None:
            raise SourceError(
                f"{printable(self.source.name)}: {printable(found.places[empty])} holds nothing that the tokenizer "
                "knows",
                self.key,
            )
        if not encoding.ids:
            raise SourceError(
                f"all rows of {printable(self.source.name)} are longer than max_length", "data.max_length"
            )
        kept = encoding.kept
        columns: dict[str, Any] = {
            "place": pa.array([found.places[i] for i in kept], pa.string()),
            "label": pa.array([None if found.labels is None else found.labels[i] for i in kept], pa.string()),
            **EncodedRows.columns(encoding.ids, encoding.types),
        }
        facts = {"names": None if found.names is None else list(found.names), "notes": notes}
        return pa.table(columns).replace_schema_metadata({_FACTS: json.dumps(facts).encode()})

    def _about_long(self, found: Examples, encoding: Encoding, max_length: int, too_long: TooLong) -> Sequence[str]:
        if not encoding.long:
            return ()
        first = printable(found.places[encoding.long[0]])
        if too_long == "error":
            raise SourceError(
                f"{printable(self.source.name)}: {first} has more than max_length {max_length} tokens, as "
                f"{len(encoding.long):,} of {len(found.texts):,} rows do (the longest has {encoding.longest:,}); raise "
                "max_length, or set too_long to 'truncate' or 'drop'",
                "data.too_long",
            )
        done = "cut" if too_long == "truncate" else "left out"
        return [
            (
                f"{len(encoding.long):,} of {len(found.texts):,} rows have more than max_length {max_length} tokens "
                f"(the longest has {encoding.longest:,}) and were {done}, the first is {first}"
            )
        ]


def _from_table(table: ArrowTable) -> LabelledRows:
    facts = json.loads((table.schema.metadata or {})[_FACTS])
    labels: list[str | None] = table["label"].to_pylist()
    return LabelledRows(
        rows=EncodedRows.of_table(table),
        places=table["place"].to_pylist(),
        labels=None if None in labels else [label for label in labels if label is not None],
        names=facts["names"],
        notes=facts["notes"],
    )
