"""Which examples are learned from, and an account of those that are not: nothing is left out in silence."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..text import printable, shorten
from .answers import Example
from .conversations import Conversation
from .sources import SourceError

TooLong = Literal["error", "drop", "truncate"] | None

_UNASKED = 0.01
"""The share of examples that may be left out as too long without anybody having said so."""
_NAMED = 5
_SHOWN = 160


@dataclass(frozen=True)
class Account:
    """Row numbers of what was left out or changed, in order.

    Attributes:
        unlearned: hold no answer, or none is left after cutting; left out.
        forged: hold a special token of the chat template in their own text; left out.
        too_long: left out.
        truncated: cut to a block.
        blank: have an empty answer, which is not learned.
    """

    unlearned: Sequence[int] = field(default_factory=list[int])
    forged: Sequence[int] = field(default_factory=list[int])
    too_long: Sequence[int] = field(default_factory=list[int])
    truncated: Sequence[int] = field(default_factory=list[int])
    blank: Sequence[int] = field(default_factory=list[int])

    def sentences(self, block_size: int) -> Iterator[str]:
        """What a reader should know."""
        if self.unlearned:
            yield f"{_examples(self.unlearned)} with nothing to learn left out: {named(self.unlearned)}"
        if self.forged:
            yield (
                f"{_examples(self.forged)} left out that hold a special token of the chat template in their own text: "
                f"{named(self.forged)}"
            )
        if self.too_long:
            yield f"{_examples(self.too_long)} longer than {block_size} tokens left out: {named(self.too_long)}"
        if self.truncated:
            yield (
                f"{_examples(self.truncated)} cut to {block_size} tokens, without the end of the answer: "
                f"{named(self.truncated)}"
            )
        if self.blank:
            yield f"{_examples(self.blank)} with an empty answer, which is not learned: {named(self.blank)}"

    @property
    def rows(self) -> Mapping[str, Sequence[int]]:
        """All row numbers by reason."""
        return {name: rows for name, rows in vars(self).items() if rows}


def select(
    conversations: Sequence[Conversation], examples: Sequence[Example], block_size: int, too_long: TooLong
) -> tuple[list[Example], Account]:
    """The examples to learn from.

    Args:
        conversations: in the order of their rows.
        examples: the same in tokens.
        block_size: the most tokens of an example.
        too_long: what to do with a longer one; None leaves out up to 1 % of them and refuses more.

    Raises:
        SourceError: an example is too long and may be neither left out nor cut, or none is left.
    """
    account = Account([], [], [], [], [])
    kept: list[Example] = []
    for conversation, example in zip(conversations, examples, strict=True):
        if conversation.blank:
            _note(account.blank, example)
        if conversation.forged is not None:
            _note(account.forged, example)
        elif not example.teaches:
            _note(account.unlearned, example)
        elif len(example.ids) <= block_size:
            kept.append(example)
        elif too_long != "truncate":
            _note(account.too_long, example)
        elif not (cut := example.cut(block_size)).teaches:
            _note(account.unlearned, example)
        else:
            _note(account.truncated, example)
            kept.append(cut)
    if account.too_long and too_long != "drop":
        _check_share(examples, account.too_long, block_size, too_long)
    if not kept:
        raise SourceError(_nothing_left(conversations, account, block_size))
    return kept, account


def named(rows: Sequence[int]) -> str:
    """Row numbers in words, the first few of many."""
    shown = ", ".join(map(str, rows[:_NAMED]))
    more = f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"


def _note(rows: Sequence[int], example: Example) -> None:
    assert isinstance(rows, list)
    if example.row not in rows[-1:]:
        rows.append(example.row)


def _check_share(examples: Sequence[Example], rows: Sequence[int], block_size: int, too_long: TooLong) -> None:
    """One row in a hundred may go without asking."""
    share = len(rows) / len({example.row for example in examples})
    if too_long is None and share <= _UNASKED:
        return
    longest = max(len(example.ids) for example in examples)
    raise SourceError(
        f"{len(rows):,} of {len(examples):,} examples ({share:.1%}) are longer than block_size {block_size}; the "
        f"longest has {longest:,} tokens: {named(rows)}; raise block_size, or set too_long to 'drop' or 'truncate'",
        key="data.too_long",
    )


def _nothing_left(conversations: Sequence[Conversation], account: Account, block_size: int) -> str:
    first = conversations[0]
    text = "".join(exchange.given + exchange.answer for exchange in first.exchanges) + first.rest
    reasons = "; ".join(account.sentences(block_size))
    return f"no example is left to learn from: {reasons}. Row {first.row} reads: {shorten(printable(text), _SHOWN)}"


def _examples(rows: Sequence[int]) -> str:
    return f"{len(rows):,} example{'s' if len(rows) > 1 else ''}"
