"""Texts as one stream of tokens, cut into blocks that stand between the tokenizer's own marks."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from .encoded import EncodedRows
from .tokenizer import framing_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_AT_ONCE = 1000


def framed_blocks(documents: Sequence[str], tokenizer: "PreTrainedTokenizerBase", block_size: int) -> EncodedRows:
    """Rows of `block_size` tokens, marks included; only the last one may be shorter.

    Documents follow one another with a separator between them, or the end-of-text token if the tokenizer has no
    separator (the full sentences of Liu et al. 2019, section 4.2). Special tokens written in a text are text.

    Args:
        documents: the texts.
        tokenizer: turns a text into ids; its marks, such as `[CLS]` and `[SEP]`, begin and end each row.
        block_size: the most tokens of a row.
    """
    marks = [token for token, _ in framing_of(tokenizer).single]
    at = marks.index("$A")
    before, after = _ids(marks[:at], tokenizer), _ids(marks[at + 1 :], tokenizer)
    room = block_size - len(before) - len(after)
    stream = _stream(documents, tokenizer)
    pieces: list[NDArray[np.int32]] = []
    for start in range(0, len(stream), room):
        pieces += [before, stream[start : start + room], after]
    starts = np.arange(0, len(stream), room, dtype=np.int64)
    lengths = np.minimum(len(stream) - starts, room) + len(before) + len(after)
    ends = np.cumsum(lengths)
    joined = np.concatenate(pieces) if pieces else np.empty(0, np.int32)
    return EncodedRows(joined, np.stack([ends - lengths, ends], axis=1))


def _stream(documents: Sequence[str], tokenizer: "PreTrainedTokenizerBase") -> NDArray[np.int32]:
    between = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    separator = np.asarray([] if between is None else [between], np.int32)
    parts: list[NDArray[np.int32]] = []
    for ids in _encoded(documents, tokenizer):
        if len(ids):
            parts += [separator, ids] if parts else [ids]
    return np.concatenate(parts) if parts else np.empty(0, np.int32)


def _encoded(documents: Sequence[str], tokenizer: "PreTrainedTokenizerBase") -> Iterator[NDArray[np.int32]]:
    for start in range(0, len(documents), _AT_ONCE):
        texts = list(documents[start : start + _AT_ONCE])
        found = tokenizer(texts, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"]
        for ids in cast("list[list[int]]", found):
            yield np.asarray(ids, np.int32)


def _ids(tokens: list[str], tokenizer: "PreTrainedTokenizerBase") -> NDArray[np.int32]:
    return np.asarray(tokenizer.convert_tokens_to_ids(tokens), np.int32)
