"""Messages through a tokenizer's chat template.

What is learned is found by rendering prefixes: the text up to an answer as the template renders it when the model is to
answer, and the text after it. So the template needs no `{% generation %}`, and what the model learns to continue is
what it is given later.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from .conversations import Conversation, Exchange, Message, Messages
from .sources import SourceError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class ChatTemplate:
    """Renders lists of messages."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase"):
        """`tokenizer` must have a template."""
        self._tokenizer = tokenizer
        special = sorted({str(token) for token in tokenizer.added_tokens_decoder.values()} - {""}, key=len)
        self._special = re.compile("|".join(map(re.escape, reversed(special))) or "(?!)")

    def conversations(self, row: Messages) -> list[Conversation]:
        """The conversation; or one for each answer, where the template renders an earlier turn in another way once the
        conversation goes on, so that each answer is learned after what the model will be given then.

        Raises:
            SourceError: the template refuses the messages, or opens an answer in another way than it records one.
        """
        forged = next((found[0] for m in row.messages if (found := self._special.search(m.content))), None)
        blank = 0
        opened: list[tuple[str, str]] = []
        for i, message in enumerate(row.messages):
            if message.role != "assistant":
                continue
            if not message.content.strip():
                blank += 1
                continue
            before = self._render(row.row, row.messages[:i], True)
            after = self._render(row.row, row.messages[: i + 1], False)
            if not after.startswith(before):
                raise SourceError(
                    f"row {row.row}: the tokenizer's chat template opens an answer in another "
                    "way than it records one; write the texts yourself, with format 'pairs'",
                    key="data.messages",
                )
            opened.append((before, after))
        if not opened:
            return [Conversation(row.row, (), blank, row.text, forged)]
        whole = opened[-1][1]
        if all(whole.startswith(after) for _, after in opened):
            return [Conversation(row.row, _exchanges(opened), blank, "", forged)]
        return [Conversation(row.row, _exchanges([one]), blank, "", forged) for one in opened]

    def prompt(self, text: str) -> str:
        """A user's turn, up to the place where the answer begins.

        Raises:
            SourceError: the template refuses it.
        """
        return self._render(0, (Message("user", text),), True)

    def _render(self, row: int, messages: tuple[Message, ...], answer: bool) -> str:
        listed = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return cast(
                "str", self._tokenizer.apply_chat_template(listed, tokenize=False, add_generation_prompt=answer)
            )
        except Exception as error:  # templates are programs and may fail in any way
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise SourceError(
                f"row {row}: the tokenizer's chat template refuses the messages: {reason}",
                key="data.messages",
            ) from None


def _exchanges(opened: Sequence[tuple[str, str]]) -> tuple[Exchange, ...]:
    """From what is rendered before and after each answer, each going on with the one before it."""
    exchanges: list[Exchange] = []
    position = 0
    for before, after in opened:
        end = len(after.rstrip())  # the line break that many templates write after the end of a turn is not said
        exchanges.append(Exchange(before[position:], after[len(before) : end]))
        position = end
    return tuple(exchanges)
