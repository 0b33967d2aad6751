"""Texts, single or in pairs, as rows of tokens for models that read a row as a whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .cache import ArrowTable

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TooLong = Literal["error", "drop", "truncate"]
_AT_ONCE = 1000

_Row = tuple[NDArray[np.int32], NDArray[np.uint8] | None]


@dataclass(frozen=True)
class EncodedRows:
    """Rows of tokens over one long stream of ids.

    Attributes:
        stream: (tokens,) int32; may lie in a file.
        bounds: (rows, 2) int64, first token and end of each row.
        types: (tokens,) uint8, 1 for the tokens of a pair's second text; None if the tokenizer tells no types.
    """

    stream: NDArray[np.int32]
    bounds: NDArray[np.int64]
    types: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.bounds)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return self.bounds[:, 1] - self.bounds[:, 0]

    def tokens(self, row: int) -> NDArray[np.int32]:
        """The ids of one row."""
        return self.stream[slice(*self.bounds[row])]

    def take(self, rows: NDArray[np.int64]) -> "EncodedRows":
        """Some of the rows, over the same stream."""
        return EncodedRows(self.stream, self.bounds[rows], self.types)

    @classmethod
    def of_table(cls, table: ArrowTable) -> "EncodedRows":
        """The rows of a table with `input_ids` and perhaps `token_type_ids`, without copying them."""
        stream, bounds = _flat(table, "input_ids")
        types = _flat(table, "token_type_ids")[0] if "token_type_ids" in table.column_names else None
        return cls(stream, bounds, types)

    @staticmethod
    def columns(ids: Sequence[NDArray[np.int32]], types: Sequence[NDArray[np.uint8]] | None) -> dict[str, Any]:
        """The columns of such a table."""
        found = {"input_ids": _lists(ids, np.int32)}
        return found if types is None else {**found, "token_type_ids": _lists(types, np.uint8)}


@dataclass(frozen=True)
class Encoding:
    """What became of some texts.

    Attributes:
        ids: of each text that was kept.
        types: likewise, or None.
        kept: which texts were kept, by their numbers.
        long: the numbers of the texts that were too long.
        longest: tokens of the longest text.
    """

    ids: list[NDArray[np.int32]]
    types: list[NDArray[np.uint8]] | None
    kept: list[int]
    long: list[int]
    longest: int


def encode(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    too_long: TooLong,
) -> Encoding:
    """Tokenise texts with the tokenizer's own marks around them; special tokens written in a text are text.

    A tokenizer that puts nothing between the texts of a pair gets its separator or end-of-text token there.

    Args:
        texts: the texts, or the first ones of pairs.
        pairs: the second ones, as many.
        tokenizer: turns a text into ids.
        max_length: the most tokens of a row.
        too_long: longer rows are dropped, or their longer text is cut at the end; with `error` the caller looks at
            `long`.
    """
    join = _missing_separator(tokenizer) if pairs is not None else None

    def encoded(rows: Sequence[int], limit: int | None) -> Iterator[_Row]:
        for start in range(0, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            second = None if pairs is None else [pairs[i] for i in some]
            yield from _encode([texts[i] for i in some], second, tokenizer, join, limit)

    found = list(encoded(range(len(texts)), None))
    long = [i for i, (ids, _) in enumerate(found) if len(ids) > max_length]
    longest = max((len(ids) for ids, _ in found), default=0)
    kept = list(range(len(found)))
    if too_long == "truncate":
        for i, row in zip(long, encoded(long, max_length), strict=True):
            found[i] = row
    elif too_long == "drop" and long:
        kept = sorted({*kept} - {*long})
    types = [kind for _, kind in (found[i] for i in kept) if kind is not None]
    return Encoding([found[i][0] for i in kept], types or None, kept, long, longest)


def _encode(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    tokenizer: "PreTrainedTokenizerBase",
    join: int | None,
    limit: int | None,
) -> Iterator[_Row]:
    """Ids and token types of texts, cut to `limit` if it is given; `join` goes between the texts of a pair."""
    if pairs is not None and join is not None:
        both = (_encode(each, None, tokenizer, None, None) for each in (texts, pairs))
        for (first, _), (second, _) in zip(*both, strict=True):
            yield _joined(first, second, join, limit), None
        return
    cut: dict[str, Any] = {} if limit is None else {"truncation": True, "max_length": limit}
    second_texts = None if pairs is None else list(pairs)
    found = tokenizer(list(texts), second_texts, split_special_tokens=True, verbose=False, **cut)
    if limit is not None and (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        backend.no_truncation()  # it would be saved with the tokenizer
    kinds = cast("list[list[int]] | None", found.get("token_type_ids"))
    for i, ids in enumerate(cast("list[list[int]]", found["input_ids"])):
        yield np.asarray(ids, np.int32), None if kinds is None else np.asarray(kinds[i], np.uint8)


def _missing_separator(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """The token to put between the texts of a pair, if the tokenizer puts none there."""
    if tokenizer.num_special_tokens_to_add(pair=True) > tokenizer.num_special_tokens_to_add(pair=False):
        return None
    between = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    return cast("int | None", between)


def _joined(first: NDArray[np.int32], second: NDArray[np.int32], join: int, limit: int | None) -> NDArray[np.int32]:
    """Both with a token between them, the longer one cut until they fit."""
    room = None if limit is None else limit - 1
    if room is not None and len(first) + len(second) > room:
        keep = max(room - len(second), min(len(first), room // 2))
        first, second = first[:keep], second[: room - keep]
    return np.concatenate([first, np.asarray([join], np.int32), second])


def _lists(rows: Sequence[NDArray[Any]], kind: type[np.generic]) -> Any:
    """Arrays of different lengths as one Arrow column."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return pa.LargeListArray.from_arrays(offsets, np.concatenate([np.empty(0, kind), *rows]).astype(kind))


def _flat(table: ArrowTable, column: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """A list column's values, and the first value and end of each row, without copying the values."""
    chunk = table[column].combine_chunks()
    chunk = chunk.chunk(0) if isinstance(chunk, pa.ChunkedArray) else chunk
    offsets = chunk.offsets.to_numpy()
    return chunk.values.to_numpy(), np.stack([offsets[:-1], offsets[1:]], axis=1)
