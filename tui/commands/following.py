"""Following a run from the outside until it ends: a progress bar, plain lines, or events as JSON.

The follower only reads the history, so it can leave at any moment and the run goes on.
"""

import contextlib
import signal
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...core import runs
from ...core.errors import ExitCode, UsageError
from ...core.history.queries import Event, History, Run, Stage
from ...core.home import Home
from ...core.text import printable
from .. import words
from .output import notice, print_json_line, run_facts
from .results import result_rows

if TYPE_CHECKING:
    from rich.progress import TaskID

POLL_SECONDS = 0.25
_LINE_SECONDS = 5.0

ENDINGS = {
    "finished": ExitCode.OK,
    "stopped": ExitCode.RUN_STOPPED,
    "failed": ExitCode.RUN_FAILED,
    "died": ExitCode.RUN_DIED,
    "elsewhere": ExitCode.RUN_DIED,
}
"""The exit status of a follower, by how the run ended."""


@dataclass(frozen=True)
class Look:
    """A run at one moment.

    Attributes:
        run: its state and progress.
        perplexity: the latest on the validation rows.
        events: what was told since the look before.
    """

    run: Run
    perplexity: float | None
    events: Sequence[Event]


class View(Protocol):
    """Shows one look after the other."""

    def show(self, look: Look) -> None:
        """Show what is new."""
        ...

    def end(self, run: Run, history: History) -> None:
        """Show how it ended."""
        ...


def follow(home: Home, uid: str, as_json: bool) -> int:
    """Show a run until it ends; returns the exit status.

    The first Ctrl-C asks the run to stop, the second leaves it alone.
    """
    with closing(History(home)) as history, _interrupts() as interrupts, _view(as_json) as view:
        run, last_event, told = history.find(uid), 0, 0
        if as_json:
            print_json_line({"event": "launched", "id": uid, "run": run_facts(run)})
        while True:
            state_before = run.state
            events = history.events(run.id, last_event)
            last_event = events[-1].id if events else last_event
            metrics = history.metrics(run.stage_id) if run.stage_id is not None else {}
            latest = metrics.get("validation/perplexity")
            view.show(Look(run, latest.value if latest else None, events))
            if state_before in ENDINGS:
                view.end(run, history)
                return _exit_status(run)
            if interrupts.count > 1:
                notice(f"left run {uid} to itself; `lmwb show {uid}` tells how it goes")
                return ExitCode.INTERRUPTED
            if interrupts.count > told and _ask_to_stop(run):
                told = interrupts.count
            interrupts.wait(POLL_SECONDS)
            run = history.run(run.id)


def _exit_status(run: Run) -> ExitCode:
    return ExitCode.USAGE if _recipe_is_wrong(run) else ENDINGS[run.state]


def _recipe_is_wrong(run: Run) -> bool:
    """The run failed at once, on a value that only its worker could see does not fit."""
    return run.state == "failed" and run.exit_code == ExitCode.USAGE


def _ask_to_stop(run: Run) -> bool:
    """Whether the run has been asked; one that is only just starting is asked again later."""
    try:
        runs.stop(run)
    except UsageError:
        return run.state not in ("starting", "running")
    notice("asked the run to write a checkpoint and end; Ctrl-C again leaves it alone")
    return True


class _Interrupts:
    """Counts Ctrl-C."""

    def __init__(self) -> None:
        self.count = 0

    def wait(self, seconds: float) -> None:
        """Sleep, but not through a Ctrl-C."""
        before, deadline = self.count, time.monotonic() + seconds
        while self.count == before and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))

    def add(self, *_: object) -> None:
        """Another one."""
        self.count += 1


@contextlib.contextmanager
def _interrupts() -> Generator[_Interrupts]:
    counter = _Interrupts()
    before = signal.signal(signal.SIGINT, counter.add)
    try:
        yield counter
    finally:
        signal.signal(signal.SIGINT, before)


# -- views ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _view(as_json: bool) -> Generator[View]:
    if as_json:
        yield _Events()
    elif sys.stdout.isatty():
        with _Bar() as bar:
            yield bar
    else:
        yield _Lines()


class _Events:
    """A line of JSON for all that happens."""

    def __init__(self) -> None:
        self._progress: dict[str, Any] = {}

    def show(self, look: Look) -> None:
        """What was told, and the progress if it changed."""
        for event in look.events:
            told = {"level": event.level, "kind": event.kind, "step": event.step, "text": event.text}
            print_json_line({"event": "told", **told})
        run = look.run
        progress = {"state": run.state, "stage": run.stage, "phase": run.phase, "step": run.step, "total": run.total}
        progress |= {"loss": run.loss, "validation_perplexity": look.perplexity}
        if progress != self._progress:
            self._progress = progress
            more = {"steps_per_second": run.speed, "seconds_left": run.seconds_left}
            print_json_line({"event": "progress", **progress, **more})

    def end(self, run: Run, history: History) -> None:
        """The run with its results."""
        results = {stage.name: stage.summary for stage in history.stages(run.id)}
        print_json_line({"event": "ended", "run": run_facts(run), "results": results})


class _Lines:
    """Plain lines, for files and pipes."""

    def __init__(self) -> None:
        self._shown = ""
        self._next = 0.0

    def show(self, look: Look) -> None:
        """What was told; now and then, the progress."""
        for event in look.events:
            self._print(event_line(event))
        line = f"{_place(look.run)}  {facts(look)}".rstrip()
        if line != self._shown and time.monotonic() >= self._next and look.run.state == "running":
            self._shown, self._next = line, time.monotonic() + _LINE_SECONDS
            self._print(line)

    def end(self, run: Run, history: History) -> None:
        """How it ended, and where everything is."""
        for line in ending(run, history):
            self._print(line)

    def _print(self, line: str) -> None:
        print(printable(line), flush=True)


class _Bar:
    """A progress bar below what is told."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._console = Console(highlight=False, markup=False, emoji=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[facts]}", markup=False),
            console=self._console,
            auto_refresh=False,
            expand=True,
        )
        self._task: TaskID = self._progress.add_task("starting", total=None, facts="")

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, look: Look) -> None:
        """Move the bar; print what was told above it."""
        for event in look.events:
            style = {"warning": "yellow", "error": "red"}.get(event.level, "")
            self._console.print(printable(event_line(event)), style=style)
        told = printable(facts(look))
        self._progress.update(
            self._task, description=_place(look.run), total=look.run.total, completed=look.run.step, facts=told
        )
        self._progress.refresh()

    def end(self, run: Run, history: History) -> None:
        """How it ended, and where everything is."""
        self._progress.stop()
        for line in ending(run, history):
            self._console.print(printable(line), soft_wrap=True)


# -- words ----------------------------------------------------------------------------------------


def event_line(event: Event) -> str:
    """An event as one line; not made printable."""
    step = f"step {event.step}  " if event.step is not None else ""
    level = f"{event.level}: " if event.level != "info" else ""
    return f"{words.time_of_day(event.t_us)}  {step}{level}{event.text}"


def facts(look: Look) -> str:
    """How far, how well, how fast: ``412/800  loss 2.31  perplexity 10.2  8.1 steps/s  3 min left``."""
    run = look.run
    parts = [f"{run.step}/{run.total}" if run.total is not None else ""]
    if run.loss is not None:
        parts.append(f"loss {words.number(run.loss)}")
    if look.perplexity is not None:
        parts.append(f"perplexity {words.number(look.perplexity)}")
    if run.speed:
        parts.append(words.speed(run.speed))
    if run.seconds_left is not None:
        parts.append(f"{words.duration(run.seconds_left)} left")
    return "  ".join(filter(None, parts))


def ending(run: Run, history: History) -> Iterator[str]:
    """How a run ended, its results, where its files are, and what to try next; not made printable."""
    lasted = f" in {words.duration((run.ended_us - run.started_us) / 1e6)}" if run.started_us and run.ended_us else ""
    yield f"{run.uid} has {run.state}{lasted}" if run.state != "elsewhere" else f"{run.uid} runs on {run.host}"
    if run.state in ("failed", "died") and words.cause(run):
        yield f"  why     {words.cause(run)}"
    for stage in history.stages(run.id):
        if stage.outcome is None:
            continue
        if stage.kind == "compare":
            yield from _compared(run, stage)
            continue
        yield f"  {stage.name}"
        for name, told in result_rows(stage.summary):
            yield f"    {name:<10} {told}"
        if "model" in stage.summary:
            yield f"    model      {run.folder / str(stage.summary['model'])}"
    yield f"  folder  {run.folder}"
    kinds = {stage.kind for stage in history.stages(run.id)}
    if run.state == "finished" and "compare" in kinds:
        yield f"next: lmwb compare {run.uid} · lmwb show {run.uid} · lmwb"
    elif run.state == "finished" and "influence" in kinds:
        yield f"next: lmwb inspect {run.uid} · lmwb show {run.uid} · lmwb"
    elif run.state == "finished":
        yield f"next: lmwb show {run.uid} · lmwb sample {run.uid} · lmwb"
    elif _recipe_is_wrong(run):
        yield "next: mend the recipe, see what it would do with `lmwb check`, and run it again"
    else:
        yield f"next: lmwb resume {run.uid} · lmwb logs {run.uid} · lmwb show {run.uid}"


def _compared(run: Run, stage: Stage) -> Iterator[str]:
    """What a comparison found, and where it is written."""
    yield f"  {stage.name}: {stage.summary['metric']}"
    for row in stage.summary["rows"]:
        deviation = "" if row["deviation"] is None else f" ± {words.number(row['deviation'])}"
        yield f"    {row['label']:<20} {words.number(row['mean'])}{deviation}  n = {row['n']}"
    yield f"  tables  {run.folder / stage.name}"


def _place(run: Run) -> str:
    """What the run does now."""
    return printable("  ".join(filter(None, (run.stage, run.phase))) or run.state)
