"""Panes of plain text: what the run printed, what happened, its recipe, its details."""

from collections.abc import Sequence
from typing import Any

from rich.segment import Segment
from textual.geometry import Size

from ...core.text import printable
from .. import words
from ..theme import Palette
from ..watcher import Detail
from .frame import Line, wrapped
from .pane import Pane


class TextPane(Pane):
    """Lines that can be scrolled.

    Attributes:
        follows: it stays at the end while text is added, unless the user scrolled away.
    """

    follows = False

    def __init__(self, id: str | None = None):
        super().__init__(id=id)
        self._detail: Detail | None = None
        self._top: int | None = None
        self._written: tuple[Detail | None, int, Palette] | None = None
        self._lines: list[Line] = []

    def show(self, detail: Detail | None) -> None:
        """Another run, or news of the same."""
        known = self._detail
        if known is None or detail is None or known.run.id != detail.run.id:
            self._top = None
        self._detail = detail
        if known is None or detail is None or self.source(known) != self.source(detail):
            self._written = None
            self.redraw()

    def source(self, detail: Detail) -> Any:
        """What of the detail is shown here: nothing is painted while it stays equal."""
        raise NotImplementedError

    def text(self, detail: Detail, width: int) -> list[Line]:
        """All lines, wrapped."""
        raise NotImplementedError

    def move(self, lines: int) -> None:
        """Scroll."""
        self._top = min(max(self._first() + lines, 0), self._most())
        if self.follows and self._top == self._most():
            self._top = None
        self.redraw()

    def inside(self, size: Size) -> Sequence[Line]:
        """The lines that fit."""
        width, height = size
        key = (self._detail, width, self.palette)
        if self._written is None or self._written[1:] != key[1:]:
            self._lines = self.text(self._detail, width - 2) if self._detail else []
            self._written = key
        first = self._first(height)
        return [[Segment(" "), *line] for line in self._lines[first : first + height]]

    def foot(self) -> Line:
        """Which part of the text is shown, if it doesn't fit."""
        if self._most() == 0:
            return []
        last = self._first() + self.size.height - 2
        return [Segment(f"{min(last, len(self._lines))} of {len(self._lines)}", self.palette.dim)]

    def _most(self, height: int | None = None) -> int:
        return max(0, len(self._lines) - (self.size.height - 2 if height is None else height))

    def _first(self, height: int | None = None) -> int:
        most = self._most(height)
        if self._top is None:
            return most if self.follows else 0
        return min(self._top, most)


class LogPane(TextPane):
    """What the run printed."""

    title = "Log"
    follows = True

    def source(self, detail: Detail) -> Any:
        """The log."""
        return detail.log

    def text(self, detail: Detail, width: int) -> list[Line]:
        """The log's lines."""
        if not detail.log:
            return [[Segment("The run has not printed anything.", self.palette.dim)]]
        return [line for text in detail.log for line in wrapped(text, width, self.palette.text, indent=2)]


class EventsPane(TextPane):
    """What happened: evaluations, checkpoints, warnings, errors."""

    title = "Events"
    follows = True

    def source(self, detail: Detail) -> Any:
        """The events."""
        return detail.events

    def text(self, detail: Detail, width: int) -> list[Line]:
        """Time, step, and what happened."""
        if not detail.events:
            return [[Segment("Nothing has happened yet.", self.palette.dim)]]
        lines: list[Line] = []
        for event in detail.events:
            step = f"step {event.step}" if event.step is not None else ""
            head = f"{words.time_of_day(event.t_us)}  {step:<12}"
            style = self.palette.of_level(event.level)
            mark = {"warning": "! ", "error": "✗ "}.get(event.level, "  ")
            parts = wrapped(printable(event.text), max(20, width - len(head) - 2), style)
            lines += [
                [
                    Segment(head if i == 0 else " " * len(head), self.palette.dim),
                    Segment(mark if i == 0 else "  ", style),
                    *part,
                ]
                for i, part in enumerate(parts)
            ]
        return lines


class RecipePane(TextPane):
    """The recipe as the run was started with it, defaults filled in."""

    title = "Recipe"

    def source(self, detail: Detail) -> Any:
        """The recipe."""
        return detail.recipe

    def text(self, detail: Detail, width: int) -> list[Line]:
        """The TOML, lightly coloured."""
        return toml_lines(detail.recipe, width, self.palette)


class DetailsPane(TextPane):
    """Results, checkpoints, environment and paths."""

    title = "Details"

    def source(self, detail: Detail) -> Any:
        """All but what changes with every step."""
        run = detail.run
        facts = (run.state, run.ended_us, run.attempts, run.pid, run.message)
        return (facts, detail.stages, detail.checkpoints, detail.environment, detail.trouble)

    def text(self, detail: Detail, width: int) -> list[Line]:
        """Headings, and a name and a value in each line."""
        palette = self.palette
        lines: list[Line] = []
        for heading, facts in _facts(detail):
            if not facts:
                continue
            lines += [[]] if lines else []
            lines.append([Segment(heading, palette.accent)])
            column = min(24, max(len(name) for name, _ in facts) + 2)
            for name, value in facts:
                parts = wrapped(printable(value), max(10, width - column), palette.text)
                label = printable(name)[: column - 1].ljust(column)
                lines.append([Segment(label, palette.dim), *parts[0]])
                lines += [[Segment(" " * column), *part] for part in parts[1:]]
        return lines


def toml_lines(text: str, width: int, palette: Palette) -> list[Line]:
    """A recipe's text, made printable: headings strong, comments pale, keys apart from values."""
    lines: list[Line] = []
    for raw in text.splitlines():
        line = printable(raw.expandtabs(4))
        key, equals, value = line.partition("=")
        if line.lstrip().startswith("#"):
            lines += wrapped(line, width, palette.dim, indent=2)
        elif line.lstrip().startswith("["):
            lines += wrapped(line, width, palette.accent)
        elif equals and len(line) <= width:
            value, mark, comment = value.partition("  #")
            lines.append(
                [
                    Segment(key + equals, palette.dim),
                    Segment(value, palette.text),
                    Segment(mark + comment, palette.dim),
                ]
            )
        else:
            lines += wrapped(line, width, palette.text, indent=4)
    return lines


def _facts(detail: Detail) -> list[tuple[str, list[tuple[str, str]]]]:
    run = detail.run
    life = [
        ("id", run.uid),
        ("state", run.state + (f": {words.cause(run)}" if run.state in ("failed", "died") else "")),
        ("begun", words.moment(run.started_us or run.created_us)),
        *([("ended", words.moment(run.ended_us))] if run.ended_us else []),
        ("host", run.host + (f", process {run.pid}" if run.pid else "")),
        *([("attempts", str(run.attempts))] if run.attempts > 1 else []),
        ("folder", str(run.folder)),
    ]
    results = [
        (f"{stage.name}: {name}" if len(detail.stages) > 1 else name, _value(value))
        for stage in detail.stages
        for name, value in _flat(stage.summary)
    ]
    kept = [
        (
            f"step {checkpoint.step}",
            f"{words.size(checkpoint.size)}{'  best' if checkpoint.best else ''}  {checkpoint.path}",
        )
        for checkpoint in detail.checkpoints
    ]
    trouble = [("could not be read", detail.trouble)] if detail.trouble else []
    return [
        ("Trouble", trouble),
        ("Run", life),
        ("Results", results),
        ("Checkpoints", kept),
        ("Environment", [(name, _value(value)) for name, value in _flat(detail.environment)]),
    ]


def _flat(table: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested tables as dotted names."""
    flat: list[tuple[str, Any]] = []
    for name, value in table.items():
        flat += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return flat


def _value(value: Any) -> str:
    if isinstance(value, float):
        return words.number(value, 4)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
