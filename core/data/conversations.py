"""From the rows of a table to conversations: what is given, and the answers that are to be learned.

Four ways to write them down: one text with a mark before each turn, Alpaca's columns, lists of messages, pairs of
prompt and completion. Where an answer begins is known here, by its characters; nobody searches for it later.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..recipe.schema import InstructionData
from ..text import printable
from .sources import SourceError

_TASK = "Below is an instruction that describes a task"
_WITH_INPUT = (
    _TASK + ", paired with an input that provides further context. Write a response that appropriately completes the "
    "request.\n\n### Instruction:\n{}\n\n### Input:\n{}\n\n### Response:"
)
_WITHOUT_INPUT = (
    _TASK + ". Write a response that appropriately completes the request.\n\n### Instruction:\n{}\n\n### Response:"
)
ROLES = ("system", "developer", "user", "assistant", "tool")


@dataclass(frozen=True)
class Exchange:
    """What is given, and the answer to it; the text goes straight from one to the other."""

    given: str
    answer: str


@dataclass(frozen=True)
class Conversation:
    """A row of a table.

    Attributes:
        row: its number in the table.
        exchanges: in order; none if there is no answer to learn.
        blank: answers that hold nothing but white space; they are context for the next exchange.
        rest: what comes after the last answer; it teaches nothing and is left away.
        forged: a special token of the chat template that the row's own text holds; it would pass for the template's.
    """

    row: int
    exchanges: tuple[Exchange, ...]
    blank: int = 0
    rest: str = ""
    forged: str | None = None


@dataclass(frozen=True)
class Message:
    """What one side says."""

    role: str
    content: str


@dataclass(frozen=True)
class Messages:
    """A row that lists messages."""

    row: int
    messages: tuple[Message, ...]

    @property
    def text(self) -> str:
        """Who says what, for people."""
        return "\n".join(f"{message.role}: {message.content}" for message in self.messages)


def read_conversations(
    rows: Iterable[tuple[int, Mapping[str, Any]]], data: InstructionData, source: str
) -> list[Conversation]:
    """The conversations of a table whose format is `dialogue`, `alpaca` or `pairs`.

    Raises:
        SourceError: a column is missing or holds no text; it names source and row.
    """
    parsers: dict[str, Callable[[_Row, InstructionData], Conversation]] = {
        "dialogue": _dialogue,
        "alpaca": _alpaca,
        "pairs": _pair,
    }
    parse = parsers[data.format]
    return [parse(_Row(source, number, row), data) for number, row in rows]


def read_messages(rows: Iterable[tuple[int, Mapping[str, Any]]], column: str, source: str) -> list[Messages]:
    """The lists of messages in a column.

    Raises:
        SourceError: a row is not a list of tables with role and content; it names source and row.
    """
    return [_Row(source, number, row).messages(column) for number, row in rows]


def plain(messages: Messages, human: str, assistant: str) -> Conversation:
    """Messages in the form of `dialogue`, for tokenizers without a chat template: marks before the turns of user and
    assistant, line breaks between the turns, whatever else is said without a mark."""
    marks = {"user": f"{human} ", "assistant": f"{assistant} "}
    parts: list[tuple[str, str]] = []
    for message in messages.messages:
        if message.role == "assistant":
            parts += [("given", assistant), ("answer", f" {message.content}"), ("given", "\n")]
        else:
            parts.append(("given", f"{marks.get(message.role, '')}{message.content}\n"))
    return _conversation(messages.row, parts)


def wrap(data: InstructionData, prompt: str, conversations: Sequence[Conversation] = ()) -> str:
    """A prompt as the training rows would give it, up to the place where the answer begins.

    Args:
        data: the recipe's table.
        prompt: one human turn, an instruction without input, or with format `pairs` all that is given.
        conversations: those with format `dialogue` tell what white space stands around a turn.
    """
    if data.format == "alpaca":
        return _WITHOUT_INPUT.format(prompt)
    if data.format == "pairs":
        return prompt
    if data.format == "messages":
        return f"{data.human} {prompt}\n{data.assistant}"
    turn = re.compile(re.escape(data.human) + r"(\s*).*?(\s*)" + re.escape(data.assistant), re.DOTALL)
    found = (turn.search(conversation.exchanges[0].given) for conversation in conversations if conversation.exchanges)
    spaces = Counter(match.groups() for match in found if match)
    before, after = spaces.most_common(1)[0][0] if spaces else (" ", "")
    return f"{data.human}{before}{prompt}{after}{data.assistant}"


@dataclass(frozen=True)
class _Row:
    """A row of a table, and where it is for messages."""

    source: str
    number: int
    cells: Mapping[str, Any]

    def text(self, column: str, key: str, optional: bool = False) -> str:
        if column not in self.cells:
            if optional:
                return ""
            names = ", ".join(printable(name) for name in self.cells)
            raise self.error(f"has no column '{printable(column)}'; it has {names}", key)
        value = self.cells[column]
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.error(f"has {_kind(value)} in column '{printable(column)}', not text", key)
        return value

    def messages(self, column: str) -> Messages:
        key = "data.messages"
        if column not in self.cells:
            self.text(column, key)
        listed = self.cells[column]
        if not isinstance(listed, Sequence) or isinstance(listed, str):
            raise self.error(f"has {_kind(listed)} in column '{printable(column)}', not a list of messages", key)
        return Messages(
            self.number,
            tuple(self._message(number, message, key) for number, message in enumerate(cast("list[Any]", listed), 1)),
        )

    def _message(self, number: int, message: Any, key: str) -> Message:
        if not isinstance(message, Mapping):
            raise self.error(f"has {_kind(message)} as message {number}, not a table with role and content", key)
        fields = cast("Mapping[str, Any]", message)
        for name in ("role", "content"):
            if name not in fields:
                known = ", ".join(printable(field) for field in fields)
                raise self.error(f"has no '{name}' in message {number}; it has {known}", key)
        role, content = fields["role"], fields["content"]
        if role not in ROLES:
            raise self.error(f"has the role '{printable(str(role))}' in message {number}; it may be {_or(ROLES)}", key)
        if content is not None and not isinstance(content, str):
            raise self.error(f"has {_kind(content)} as content of message {number}, not text", key)
        return Message(str(role), content or "")

    def error(self, what: str, key: str) -> SourceError:
        return SourceError(f"{printable(self.source)}: row {self.number} {what}", key=key)


def _dialogue(row: _Row, data: InstructionData) -> Conversation:
    marks = f"({re.escape(data.human)}|{re.escape(data.assistant)})"
    first, *rest = re.split(marks, row.text(data.text, "data.text"))
    parts = [("given", first)]
    for mark, turn in zip(rest[::2], rest[1::2], strict=True):
        parts += [("given", mark), ("answer" if mark == data.assistant else "given", turn)]
    return _conversation(row.number, parts)


def _alpaca(row: _Row, data: InstructionData) -> Conversation:  # noqa: ARG001 - as the others
    instruction, output = row.text("instruction", "data.format"), row.text("output", "data.format")
    more = row.text("input", "data.format", optional=True)
    given = _WITH_INPUT.format(instruction, more) if more.strip() else _WITHOUT_INPUT.format(instruction)
    return _conversation(row.number, [("given", given), ("answer", output)])


def _pair(row: _Row, data: InstructionData) -> Conversation:
    prompt, completion = row.text(data.prompt, "data.prompt"), row.text(data.completion, "data.completion")
    return _conversation(row.number, [("given", prompt), ("answer", completion)])


def _conversation(row: int, parts: Sequence[tuple[str, str]]) -> Conversation:
    """Join parts to exchanges. White space before an answer belongs to it, that after it to what follows."""
    exchanges: list[Exchange] = []
    given, blank = "", 0
    for kind, text in parts:
        if kind == "given" or not text.strip():
            given += text
            blank += kind == "answer"
            continue
        answer = text.rstrip()
        exchanges.append(Exchange(given, answer))
        given = text[len(answer) :]
    return Conversation(row, tuple(exchanges), blank, given)


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__


def _or(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
