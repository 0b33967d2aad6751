"""From conversations to tokens of which only the answers are learned.

Each exchange is tokenised as one text, and what is learned begins at the token that begins the answer. The tokens
before it must be those that the model will be given later, when only the question is known. Where they are not, or
where a token would reach across, the text is cut there and both sides are tokenised by themselves; a tokenizer that
puts a space before every text then does so before the answer, too.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from .conversations import Conversation, Exchange
from .rows import Rows, side_by_side
from .sources import SourceError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_AT_ONCE = 1000


@dataclass(frozen=True)
class Example:
    """A conversation in tokens.

    Attributes:
        row: its number in the table.
        ids: (tokens,) int32.
        learned: (tokens,) which of them are to be predicted.
    """

    row: int
    ids: NDArray[np.int32]
    learned: NDArray[np.bool_]

    @property
    def teaches(self) -> bool:
        """Something is learned; a text's first token is predicted from nothing, and never counts."""
        return bool(self.learned[1:].any())

    def cut(self, length: int) -> "Example":
        """Its first tokens, as far as they teach something."""
        taught = np.flatnonzero(self.learned[:length])
        length = int(taught[-1]) + 1 if len(taught) else 0
        return Example(self.row, self.ids[:length], self.learned[:length])


class AnswerEncoder:
    """Tokenises conversations.

    Attributes:
        end: the token that is put after every answer and learned with it; None if the texts come from a chat template,
            which writes one of its own, or if the tokenizer knows none.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", rendered: bool):
        """Texts that a chat template has `rendered` hold all special tokens already, and they count as such; in other
        texts a special token that is written out is text: data must not end an answer.

        Raises:
            SourceError: the tokenizer does not tell which characters a token stands for.
        """
        if not tokenizer.is_fast:
            raise SourceError(
                "the tokenizer does not tell which characters a token stands for, so it cannot be known where an "
                "answer begins; name one that has a tokenizer.json",
                key="tokenizer",
            )
        self._tokenizer = tokenizer
        self._rendered = rendered
        end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
        self.end = None if rendered else cast("int | None", end)
        marks: list[int] = self._encode(["a"], begins=True)[0].special_tokens_mask
        self._behind = marks[::-1].index(0)  # special tokens that the tokenizer puts behind every text

    def prompt(self, text: str) -> list[int]:
        """The ids that an answer to this text is preceded by."""
        return self._ids(self._encode([text], begins=True)[0], begins=True)

    def examples(self, conversations: Iterable[Conversation]) -> list[Example]:
        """The conversations in tokens; one without answers has none."""
        remaining = iter(conversations)
        found: list[Example] = []
        while chunk := list(islice(remaining, _AT_ONCE)):
            first = self._pieces([c.exchanges[0] for c in chunk if c.exchanges], begins=True)
            later = self._pieces([exchange for c in chunk for exchange in c.exchanges[1:]], begins=False)
            for c in chunk:
                found.append(self._example(c.row, [next(later if i else first) for i in range(len(c.exchanges))]))
        return found

    def _example(self, row: int, pieces: Sequence[tuple[list[int], int]]) -> Example:
        """Put exchanges, each with the number of tokens that are given, one after the other."""
        end = [] if self.end is None else [self.end]
        ids = [token for piece, _ in pieces for token in (*piece, *end)]
        learned = np.zeros(len(ids), np.bool_)
        position = 0
        for piece, given in pieces:
            learned[position + given : position + len(piece) + len(end)] = True
            position += len(piece) + len(end)
        return Example(row, np.asarray(ids, np.int32), learned)

    def _pieces(self, exchanges: Sequence[Exchange], begins: bool) -> Iterator[tuple[list[int], int]]:
        """For each exchange its ids, and how many of them are given."""
        if not exchanges:
            return
        wholes = self._encode([exchange.given + exchange.answer for exchange in exchanges], begins)
        givens = self._encode([exchange.given for exchange in exchanges], begins)
        for exchange, whole, given in zip(exchanges, wholes, givens, strict=True):
            ids, before = self._ids(whole, begins), self._ids(given, begins)
            if not _parts_at(whole, ids, before, len(exchange.given)):
                ids = before + self._encode([exchange.answer], begins=False)[0].ids
            yield ids, len(before)

    def _encode(self, texts: list[str], begins: bool) -> list[Any]:
        return self._tokenizer(  # type: ignore[return-value] - fast tokenizers have encodings
            texts,
            add_special_tokens=begins and not self._rendered,
            split_special_tokens=not self._rendered,
            verbose=False,
        ).encodings

    def _ids(self, encoding: Any, begins: bool) -> list[int]:
        """Without the special tokens at its end: the answer is not over, or its end is added by `_example`."""
        ids: list[int] = encoding.ids
        behind = self._behind if begins and not self._rendered else 0
        return ids[: len(ids) - behind]


def _parts_at(whole: Any, ids: list[int], before: list[int], boundary: int) -> bool:
    """Whether `ids` are those that are given, and then tokens whose characters all lie behind the boundary."""
    count = len(before)
    if ids[:count] != before or count == len(ids):
        return False
    last = whole.token_to_chars(count - 1) if count else None  # None for a special token
    following = whole.token_to_chars(count)
    return (last is None or last[1] <= boundary) and (following is None or following[0] >= boundary)


def rows_of(examples: Sequence[Example], block_size: int, packing: bool) -> Rows:
    """Examples as rows, or several of them side by side in rows of at most `block_size` tokens."""
    lengths = [len(example.ids) for example in examples]
    stream = np.concatenate([example.ids for example in examples])
    learned = np.concatenate([example.learned for example in examples])
    if packing:
        return Rows(stream, *side_by_side(lengths, block_size), learned)
    ends = np.cumsum(lengths, dtype=np.int64)
    return Rows(stream, np.stack([ends - lengths, ends], axis=1), None, learned)
