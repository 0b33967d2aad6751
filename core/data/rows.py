"""From texts to rows of tokens: one stream cut into blocks, or whole documents side by side."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .sources import SourceError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ENCODE_AT_ONCE = 1000


@dataclass(frozen=True)
class Rows:
    """Rows of tokens over one long stream of ids.

    Row r holds `stream[bounds[r, 0] : bounds[r, 1]]`: its inputs are all but the last token, its targets all
    but the first, so every token but a document's or the stream's first is predicted exactly once.

    Attributes:
        stream: (tokens,) int32.
        bounds: (rows, 2) int64, first token and end of each row.
        documents: (rows,) for packing `documents`: the lengths of the documents within each row; else None.
        learned: (tokens,) whether a token is to be learned; None if all are.
    """

    stream: NDArray[np.int32]
    bounds: NDArray[np.int64]
    documents: Sequence[Sequence[int]] | None = None
    learned: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.bounds)

    def tokens(self, row: int) -> NDArray[np.int32]:
        """The ids of one row."""
        first, last = self.bounds[row]
        return self.stream[first:last]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return self.bounds[:, 1] - self.bounds[:, 0]

    @property
    def fingerprint(self) -> str:
        """The same for the same rows, and for no others."""
        digest = hashlib.sha256(self.stream.tobytes())
        digest.update(self.bounds.tobytes())
        if self.documents is not None:
            digest.update(repr([list(lengths) for lengths in self.documents]).encode())
        if self.learned is not None:
            digest.update(self.learned.tobytes())
        return digest.hexdigest()

    @property
    def targets(self) -> int:
        """Tokens that are predicted in one pass over all rows."""
        if self.learned is None:
            lost = len(self) if self.documents is None else sum(len(lengths) for lengths in self.documents)
            return int((self.bounds[:, 1] - self.bounds[:, 0]).sum()) - lost
        firsts = self.bounds[:, 0]
        if self.documents is not None:
            offsets = [np.cumsum([0, *lengths[:-1]]) for lengths in self.documents]
            firsts = np.concatenate([first + offset for first, offset in zip(firsts, offsets, strict=True)])
        return int(self.learned.sum() - self.learned[firsts].sum())  # documents follow each other without gaps


@dataclass(frozen=True)
class Packed:
    """Rows, and what became of texts that did not fit."""

    rows: Rows
    split: int = 0
    dropped: int = 0


def encode(documents: Sequence[str], tokenizer: "PreTrainedTokenizerBase") -> list[NDArray[np.int32]]:
    """The ids of each text, with an end of text. Special tokens written in a text are text: data must not end it."""
    return list(_encoded(documents, tokenizer))


def make_rows(
    encoded: Sequence[NDArray[np.int32]],
    block_size: int,
    packing: Literal["blocks", "documents"],
    too_long: Literal["error", "drop", "split"] = "split",
) -> Packed:
    """Arrange texts in rows.

    Args:
        encoded: the ids of each text, as `encode` gives them.
        block_size: the most tokens that a row gives the model at once.
        packing: `blocks` cuts one stream; `documents` keeps documents whole.
        too_long: with `documents`, what to do with a text longer than a block.

    Raises:
        SourceError: a text is too long and `too_long` is `error`, or nothing is left to predict.
    """
    if packing == "blocks":
        packed = Packed(_blocks(encoded, block_size))
    else:
        packed = _whole_documents(encoded, block_size, too_long)
    if packed.rows.targets == 0:
        raise SourceError("the texts hold too few tokens to predict one from another")
    return packed


def _encoded(documents: Sequence[str], tokenizer: "PreTrainedTokenizerBase") -> Iterator[NDArray[np.int32]]:
    end = tokenizer.eos_token_id
    for start in range(0, len(documents), _ENCODE_AT_ONCE):
        texts = list(documents[start : start + _ENCODE_AT_ONCE])
        batch = tokenizer(texts, add_special_tokens=True, split_special_tokens=True, verbose=False)["input_ids"]
        for ids in batch:  # pyright: ignore[reportGeneralTypeIssues]
            if end is not None and (not ids or ids[-1] != end):
                ids = [*ids, end]
            yield np.asarray(ids, np.int32)


def _blocks(encoded: Sequence[NDArray[np.int32]], block_size: int) -> Rows:
    stream = np.concatenate(encoded) if encoded else np.empty(0, np.int32)
    firsts = np.arange(0, max(len(stream) - 1, 0), block_size, dtype=np.int64)
    lasts = np.minimum(firsts + block_size + 1, len(stream))  # one more: the last input's target
    return Rows(stream, np.stack([firsts, lasts], axis=1))


def _whole_documents(
    encoded: Sequence[NDArray[np.int32]], block_size: int, too_long: Literal["error", "drop", "split"]
) -> Packed:
    """Fill rows with documents in order; a document that does not fit into what is left opens the next row."""
    limit = block_size + 1
    pieces: list[NDArray[np.int32]] = []
    split = dropped = 0
    for number, ids in enumerate(encoded, 1):
        if len(ids) <= limit:
            pieces.append(ids)
        elif too_long == "drop":
            dropped += 1
        elif too_long == "error":
            raise SourceError(
                f"document {number} has {len(ids)} tokens, more than block_size {block_size} allows; raise "
                "block_size, or set too_long to 'split' or 'drop'",
                key="data.too_long",
            )
        else:
            split += 1
            pieces.extend(ids[i : i + limit] for i in range(0, len(ids) - 1, block_size))
    pieces = [piece for piece in pieces if len(piece) > 1]
    stream = np.concatenate(pieces) if pieces else np.empty(0, np.int32)
    return Packed(Rows(stream, *side_by_side([len(piece) for piece in pieces], limit)), split, dropped)


def side_by_side(lengths: Sequence[int], limit: int) -> tuple[NDArray[np.int64], list[list[int]]]:
    """Put pieces into rows of at most `limit` tokens, in order; none of them may be longer.

    Returns:
        The rows' bounds in the stream of all pieces, (rows, 2), and the lengths of the pieces in each row.
    """
    rows: list[list[int]] = []
    room = 0
    for length in lengths:
        if length > room or not rows:
            rows.append([])
            room = limit
        rows[-1].append(length)
        room -= length
    ends = np.cumsum([sum(row) for row in rows], dtype=np.int64)
    return np.stack([np.concatenate([[0], ends[:-1]]).astype(np.int64), ends], axis=1)[: len(rows)], rows
