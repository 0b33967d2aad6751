"""Where things stand in a TOML text: statements, and the line of every key.

tomllib says nothing about lines. A TOML document is a row of statements (`[header]` or `key = value`), and each is
a TOML document of its own, so that parsing them one by one tells which keys each brings. Costs little more than
parsing the whole text once.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

KeyPath = tuple[str | int, ...]
"""Keys and positions from the top of a document down, such as ``("stage", 0, "train", "lr")``."""

_TOKENS = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|'  # the closing quotes may have up to two of the text's own before them
    r"'''.*?'{3,5}|"
    r'"(?:\\.|[^"\\\n])*"|'
    r"'[^'\n]*'|"
    r"#[^\n]*|"
    r"[\[\]{}]|\n",
    re.DOTALL,
)


def below(path: KeyPath, *keys: str | int) -> KeyPath:
    """The path of what stands under a path."""
    return (*path, *keys)


def is_table(value: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a value of a document is a table."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether a value of a document is a list."""
    return isinstance(value, list)


_HEADER = re.compile(r"[ \t]*\[")


@dataclass(frozen=True)
class Statement:
    """One statement of a document.

    Attributes:
        first: number of its first line, from 1.
        last: number of its last line.
        text: its lines, without the last line feed.
    """

    first: int
    last: int
    text: str

    @property
    def is_header(self) -> bool:
        """It opens a table."""
        return _HEADER.match(self.text) is not None


def statements(text: str) -> Iterator[Statement]:
    """The document's statements in order; blank lines and comments count as statements that say nothing."""
    text = text.replace("\r\n", "\n")
    line = first = 1
    start = depth = 0
    for token in _TOKENS.finditer(text):
        sign = token.group()
        if sign == "\n":
            if depth <= 0 or _HEADER.match(text, start):
                yield Statement(first, line, text[start : token.start()])
                start, first, depth = token.end(), line + 1, 0
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        line += sign.count("\n")
    if start < len(text):
        yield Statement(first, text.count("\n") + 1, text[start:])


class Lines:
    """Finds the line of a key; made from a document that parses."""

    def __init__(self, text: str):
        self._lines: dict[KeyPath, int] = {}
        self._lengths: dict[KeyPath, int] = {}  # of the arrays of tables so far
        table: KeyPath = ()
        for statement in statements(text):
            try:
                value = tomllib.loads(statement.text)
            except tomllib.TOMLDecodeError:
                continue
            if statement.is_header:
                table = self._open_table(value, statement.first)
            else:
                self._enter(table, value, statement.first)

    def line(self, path: KeyPath) -> int:
        """The line where the key's statement begins; that of the nearest table around it if there is no such key."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def _open_table(self, header: dict[str, Any], line: int) -> KeyPath:
        """Enter the tables that a header names; returns the path of the innermost."""
        path: KeyPath = ()
        value: Any = header
        while value:
            if is_list(value):
                self._lengths[path] = self._lengths.get(path, 0) + 1
                value = value[0]
            elif is_table(value):
                key, value = next(iter(value.items()))
                path = below(path, key)
                self._lines.setdefault(path, line)
            if path in self._lengths and not is_list(value):
                path = below(path, self._lengths[path] - 1)
                self._lines.setdefault(path, line)
        return path

    def _enter(self, path: KeyPath, value: Any, line: int) -> None:
        """Enter the keys under a value, at any depth."""
        if path:
            self._lines.setdefault(path, line)
        if is_table(value):
            for key, inner in value.items():
                self._enter(below(path, key), inner, line)
        elif is_list(value):
            for position, inner in enumerate(value):
                self._enter(below(path, position), inner, line)
