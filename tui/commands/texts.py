"""Texts that come to a command from its words, from files and from standard input."""

import re
import sys
from pathlib import Path

from ...core.errors import UsageError
from ...core.text import printable


def read_text(name: str) -> str:
    """The text of a file; `-` is standard input.

    Raises:
        UsageError: it is no UTF-8.
        OSError: there is no such file, or it cannot be read.
    """
    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{_called(name)} is no UTF-8 at byte {error.start}") from None


def given_text(word: str) -> str:
    """A text from the command line.

    Raises:
        UsageError: it is no UTF-8.
    """
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the text '{printable(word)}' is no UTF-8 at character {error.start + 1}") from None
    return word


def is_file(word: str) -> bool:
    """The word names a file that there is."""
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # no text of a file name
        return False


def looks_like_file(word: str) -> bool:
    """The word was probably meant as a file's name."""
    return re.fullmatch(r"\S+\.\w{1,5}|[./~]\S*/\S*", word) is not None


def _called(name: str) -> str:
    return "standard input" if name == "-" else printable(name)
