"""The rows of the list of runs: what a run is called, how far it is, how it ended. Pure functions."""

import time

from rich.segment import Segment
from rich.style import Style

from ...core.history.queries import OPEN_STATES, Run
from ...core.text import printable
from .. import words
from ..family import Entry, label, only_seeds
from ..theme import STATE_GLYPHS, Palette
from .frame import Line, cut, spread, width_of

_WIDE = 42
"""From this width on, a row says when the run was begun."""


def height(entry: Entry) -> int:
    """How many lines a run takes."""
    return 2 if _has_second_line(entry) else 1


def row(entry: Entry, width: int, palette: Palette, bar: Line, mark: Segment | None) -> list[Line]:
    """A run's one or two lines, `width` cells each.

    Args:
        bar: the row's left edge; its style has the background of the row.
        mark: the sign of a marked run.
    """
    background = Style(bgcolor=bar[0].style.bgcolor) if bar[0].style else Style()
    indent = "  " if entry.member else ""
    left = [Segment(indent), *_name(entry, palette, strong=bar[0].style is not None, mark=mark)]
    candidates = [_figures(entry, width, palette, named) for named in (2, 1, 0)]
    room = width - 3 - width_of(left)
    first = spread(left, next((line for line in candidates if width_of(line) <= room), candidates[-1]), width - 2)
    lines = [[*bar, *_on(first, background), Segment(" ", background)]]
    if _has_second_line(entry):
        second = _second_line(entry, palette, width - 4 - len(indent))
        second = cut([Segment("  " + indent), *second], width - 2)
        lines.append([*bar, *_on(second, background), Segment(" " * (width - 1 - width_of(second)), background)])
    return lines


def _name(entry: Entry, palette: Palette, strong: bool, mark: Segment | None) -> Line:
    """State, fold, mark and name."""
    run = entry.run
    line: Line = [Segment(f"{STATE_GLYPHS[run.state]} ", palette.of_state(run.state))]
    if entry.members:
        line.append(Segment("▾ " if entry.unfolded else "▸ ", palette.dim))
    if mark:
        line += [mark, Segment(" ")]
    name = printable(label(run) if entry.member else run.name)
    line.append(Segment(name, palette.strong if strong else palette.text))
    if entry.suffix:
        line.append(Segment(f" {printable(entry.suffix)}", palette.dim))
    return line


def _figures(entry: Entry, width: int, palette: Palette, named: int) -> Line:
    """The right end of the first line; `named`: how much of a metric's name, 2 all, 1 short, 0 none."""
    run = entry.run
    figures = _result(entry, palette, named)
    if not figures and run.state != "finished":
        figures = [Segment(_progress(entry), palette.text if run.state in OPEN_STATES else palette.dim)]
    if width >= _WIDE and not entry.member:
        begun = time.strftime("%d %b %H:%M", time.localtime(run.created_us / 1e6))
        figures += [Segment(f"   {begun}", palette.dim)]
    return figures


def _result(entry: Entry, palette: Palette, named: int) -> Line:
    """What a finished run has reached; of a run with members their mean, or how many there are."""
    run = entry.run
    if run.state != "finished":
        return []
    if (figure := run.figure) is not None:
        name = ("", f"{words.short_metric(figure.name)} ", f"{figure.name.replace('_', ' ')} ")[named]
        spread_of = words.spread_of(figure.value, figure.deviation)
        return [
            Segment(printable(name), palette.dim),
            Segment(words.number(figure.value), palette.text),
            *([Segment(f" {spread_of}", palette.dim)] if spread_of else []),
        ]
    if entry.members:
        return [Segment(_kinds(entry), palette.dim)]
    if run.loss is None:
        return []
    return [Segment("loss ", palette.dim), Segment(words.number(run.loss), palette.text)]


def _kinds(entry: Entry) -> str:
    """``4 seeds``, ``6 members``."""
    count = max(len(entry.members), (entry.run.total or 0) if entry.run.state in OPEN_STATES else 0)
    noun = "seed" if only_seeds(entry.members) else "member"
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _progress(entry: Entry) -> str:
    run = entry.run
    if entry.members:
        return f"{entry.over}/{max(run.total or 0, len(entry.members))}"
    if run.total is None:
        return str(run.step) if run.step else ""
    return f"{run.step}/{run.total}"


def _has_second_line(entry: Entry) -> bool:
    run = entry.run
    return run.state in OPEN_STATES or run.state in ("failed", "died")


def _second_line(entry: Entry, palette: Palette, width: int) -> Line:
    run = entry.run
    if run.state not in OPEN_STATES:
        told = Segment(printable(words.cause(run)), palette.dim)
        return [Segment(f"{run.state}: ", palette.of_state(run.state)), told]
    if entry.members:
        return _crew(entry, palette)
    return _going(run, palette, width)


def _crew(entry: Entry, palette: Palette) -> Line:
    """What the members of an open run do."""
    bad = sum(run.state in ("failed", "died") for run in entry.members)
    parts = [_kinds(entry)]
    if entry.going:
        parts.append(f"{entry.going} running")
    line: Line = [Segment(" · ".join(parts), palette.dim)]
    return [*line, Segment(f" · {bad} failed", palette.bad)] if bad else line


def _going(run: Run, palette: Palette, width: int) -> Line:
    """What an open run does: loss, speed and time left; without the speed where there is no room for all."""
    pace, left = _pace(run, palette), _left(run, palette)
    if width_of(pace) + width_of(left) + 1 > width:
        pace = pace[:2]
    return spread(pace, left, width)


def _pace(run: Run, palette: Palette) -> Line:
    """Loss and speed, or what the run does instead."""
    if run.state == "elsewhere":
        return [Segment(f"on {printable(run.host)}", palette.dim)]
    if run.state == "starting" or not run.step:
        return [Segment(f"{printable(run.phase) or 'starting'} …", palette.dim)]
    line: Line = []
    if run.loss is not None:
        line = [Segment("loss ", palette.dim), Segment(words.number(run.loss), palette.text)]
    if run.phase not in ("", "training"):
        return [*line, Segment(f"  {printable(run.phase)} …", palette.dim)]
    return [*line, Segment(f"  {words.number(run.speed, 2)}/s", palette.dim)] if run.speed else line


def _left(run: Run, palette: Palette) -> Line:
    if run.seconds_left is None:
        return []
    return [Segment(f"{words.duration(run.seconds_left)} left", palette.dim)]


def _on(line: Line, background: Style) -> Line:
    return [Segment(text, style + background if style else background) for text, style, _ in line]
