"""From a TOML text to its keys and values, with everything that is no TOML told at once.

tomllib stops at the first error. Here the broken statement is taken out and the rest tried again, so that the whole
file is read in one go; costs a parse per error.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..text import printable, shorten
from .lines import Statement, statements

_MOST_ERRORS = 20
_TRUTH = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True)
class SyntaxProblem:
    """A line that is no TOML, and why."""

    line: int
    text: str


def parse(text: str) -> tuple[dict[str, Any], list[SyntaxProblem]]:
    """What the text says, without its broken statements, and what is wrong with those."""
    lines = text.replace("\r\n", "\n").split("\n")
    problems: list[SyntaxProblem] = []
    while len(problems) < _MOST_ERRORS:
        try:
            return tomllib.loads("\n".join(lines)), problems
        except tomllib.TOMLDecodeError as error:
            problems.append(_take_out(str(error), lines))
        except RecursionError:
            return {}, [*problems, SyntaxProblem(1, "lists or tables are nested too deeply")]
    return {}, problems


def _take_out(error: str, lines: list[str]) -> SyntaxProblem:
    """Empty the lines of the statement that is broken; a broken header takes its table along."""
    all_statements = list(statements("\n".join(lines)))
    position = _POSITION.search(error)
    at_end = position is None or position[1] is None
    line = len(lines) if position is None or position[1] is None else int(position[1])
    index = next((i for i, each in enumerate(all_statements) if each.last >= line), len(all_statements) - 1)
    broken = all_statements[index]
    column = 0 if position is None or position[2] is None else int(position[2])
    rest = lines[line - 1][max(0, column - 1) :] if not at_end else ""
    problem = _explain(error[: position.start()] if position else error, broken, rest, line)
    last = broken.last if not broken.is_header else _table_end(all_statements, index)
    lines[broken.first - 1 : last] = [""] * (last - broken.first + 1)
    return problem


def _table_end(all_statements: Sequence[Statement], index: int) -> int:
    """The last line before the next header."""
    for statement in all_statements[index + 1 :]:
        if statement.is_header:
            return statement.first - 1
    return all_statements[-1].last


def _explain(message: str, statement: Statement, rest: str, line: int) -> SyntaxProblem:
    """Say what tomllib means."""
    shown = f"'{shorten(printable(statement.text.strip().splitlines()[0]), 60)}'"
    rest = shorten(printable(rest.strip()), 40)
    word = re.split(r"[\s,\]}#]", rest, maxsplit=1)[0]
    if "twice" in message or "overwrite" in message or "Duplicate" in message or "mutate" in message:
        key = statement.text.split("#")[0].partition("=")[0].strip() if not statement.is_header else shown.strip("'")
        what = f"'{printable(key)}'" if not statement.is_header else f"table {key}"
        return SyntaxProblem(statement.first, f"{what} is given twice")
    if statement.last > statement.first and ("Unclosed" in message or "Invalid value" in message):
        return SyntaxProblem(statement.first, f"what begins with {shown} is never closed")
    if "Unclosed" in message or "Unterminated" in message or "Illegal character '\\n'" in message:
        return SyntaxProblem(statement.first, f"a text or list is not closed in {shown}")
    if "Invalid value" in message:
        if word.lower() in _TRUTH:
            return SyntaxProblem(line, f"write '{_TRUTH[word.lower()]}', not '{word}'")
        return SyntaxProblem(
            line, f"no value can start with '{word}'; texts need quotes" if word else "a value is missing"
        )
    if "Expected '='" in message or "key part" in message:
        return SyntaxProblem(line, f"{shown} is neither key = value nor [table]")
    if "Expected newline" in message:
        return SyntaxProblem(line, f"'{rest}' is too much after the value; texts need quotes, lists need brackets")
    return SyntaxProblem(line, f"{shown} is no valid TOML: {message[:1].lower()}{message[1:]}")
