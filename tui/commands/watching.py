"""A run in one picture that keeps up with it: state, progress, loss curve, last sample."""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ...core.history.queries import OPEN_STATES, History, Run, Stage
from ...core.text import printable
from .. import words
from ..pictures.chart import draw
from ..pictures.colours import series_inks
from ..pictures.ink import Depth, Ink, Line, Segment, colour_depth, rich_text
from ..pictures.series import Series
from ..pictures.tokens import token_lines
from .following import Look, facts
from .report import last_sample
from .results import result_line

_POLL_SECONDS = 1.0
_CURVES = ("train/loss", "validation/loss")
_BOLD, _DIM = Ink(bold=True), Ink(dim=True)


def print_once(history: History, run: Run) -> None:
    """The picture, once, as plain text unless the output is a terminal."""
    depth = colour_depth(terminal=sys.stdout.isatty())
    size = shutil.get_terminal_size()
    for line in picture(history, run, size.columns, size.lines - 1, depth):
        _console().print(rich_text(line), end="\n", soft_wrap=True)


def watch_live(history: History, find: Callable[[], Run]) -> None:
    """The picture, repainted when something has changed, until Ctrl-C."""
    console, depth = _console(), colour_depth()
    seen: tuple[int, tuple[int, int], str] | None = None
    run = find()
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            run = find()
            now = (history.version(), (console.width, console.height), run.state)
            if now != seen:
                seen = now
                lines = picture(history, run, console.width, console.height, depth)
                live.update(Text("\n").join(map(rich_text, lines)), refresh=True)
            time.sleep(_POLL_SECONDS)


def picture(history: History, run: Run, width: int, height: int, depth: Depth) -> list[Line]:
    """At most `height` lines of at most `width` cells."""
    stages = history.stages(run.id)
    stage = next((stage for stage in stages if stage.id == run.stage_id), stages[0])
    lines = _head(history, run, stage, width)
    sample = _sample(history, stage, width, max(3, height // 4), depth)
    room = height - len(lines) - len(sample)
    if room >= 5:
        lines += _chart(history, stage, width, min(room, 20), depth)
    return (lines + sample)[:height]


def _head(history: History, run: Run, stage: Stage, width: int) -> list[Line]:
    latest = history.metrics(stage.id).get("validation/perplexity")
    is_open = run.state in OPEN_STATES
    where = "  ".join(filter(None, (run.stage, run.phase if is_open else "")))
    if run.state in ("failed", "died"):
        where = words.cause(run)
    perplexity = latest.value if latest else None
    told = facts(Look(run, perplexity, ())) if is_open else result_line(stage.summary)
    lines: list[Line] = [
        (
            Segment(_cut(f"{run.name}  {run.uid}", width - 12), _BOLD),
            Segment(f"  {run.state}"),
        ),
        (Segment(_cut(where, width), _DIM),),
        (Segment(_cut(told or "no figures yet", width)),),
    ]
    if run.total and is_open:
        done = round(width * min(1.0, run.step / run.total))
        lines.append((Segment("━" * done), Segment("─" * (width - done), _DIM)))
    return lines


def _chart(history: History, stage: Stage, width: int, height: int, depth: Depth) -> list[Line]:
    curves: list[Series] = []
    for colour, name in enumerate(_CURVES):
        points = history.points(stage.id, name)
        if len(points):
            curves.append(Series(name, points.steps, points.values, colour))  # pyright: ignore[reportArgumentType]
    if not curves:
        return []
    inks = series_inks(depth)
    grid = draw(curves, width, height, title="loss", x_label="step", x_end=stage.total)
    return [tuple(Segment(text, inks[part]) for text, part in grid.runs(row)) for row in range(height)]


def _sample(history: History, stage: Stage, width: int, height: int, depth: Depth) -> list[Line]:
    entry = last_sample(history, stage)
    if entry is None:
        return []
    try:
        layout = token_lines(history.sample(entry.id), width, depth=depth)
    except ValueError as error:
        return [(Segment(_cut(str(error), width), _DIM),)]
    return [(Segment(f"step {entry.step}", _DIM),), *layout.lines[: height - 1]]


def _cut(text: str, width: int) -> str:
    """Foreign text, printable and not wider than so many cells."""
    from rich.cells import set_cell_size

    text = printable(text)
    return set_cell_size(text, width).rstrip() if width > 0 else ""


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)
