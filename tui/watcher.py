"""What the app knows of the history, read beside the screen, never on it.

A `Watcher` is asked again and again what there is to see; it reads only what has changed since, keeps no
transaction open, and gives back the very same object when nothing is new. It runs in one thread of its own.
"""

import os
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.history.queries import OPEN_STATES, Checkpoint, Event, History, Latest, Run, SampleEntry, Stage
from ..core.home import Home
from ..core.text import printable

if TYPE_CHECKING:
    from ..core.history.blocks import Points
    from ..core.tokens import TokenTrace

POLL_SECONDS = 0.5
LIST_SECONDS = 2.0
"""Between two looks at the whole list, and at whether open runs are still alive."""

LOG_BYTES = 200_000
"""How much of the end of a log is shown."""

_CURVE_SHARE = 0.05
"""Share of the time that may be spent on reading one curve again."""


@dataclass(frozen=True)
class Request:
    """What the screen wants to know.

    Attributes:
        run_id: the selected run.
        metrics: names of the metrics whose curves are shown; groups as in ``loss``: all of ``*/loss``.
        step: the sampling step to show; None for the latest.
        prompt: which of the recipe's prompts.
    """

    run_id: int | None = None
    metrics: tuple[str, ...] = ("loss",)
    step: int | None = None
    prompt: int = 0


@dataclass(frozen=True)
class Detail:
    """Everything about the selected run that the screen shows.

    Attributes:
        run: the run.
        stages: its stages.
        metrics: the latest values of the present stage, by metric.
        curves: the points of the metrics that were asked for, by metric.
        samples: which samples there are.
        sample: the one that is shown, and its tokens.
        trace: None if there is none, or `trouble` says why.
        events: all of them.
        log: the end of what the run printed, printable lines.
        recipe: the frozen recipe.
        checkpoints: those on disk.
        environment: what it runs on.
        trouble: what could not be read, in words.
    """

    run: Run
    stages: tuple[Stage, ...] = ()
    metrics: dict[str, Latest] = field(default_factory=dict[str, Latest])
    curves: "dict[str, Points]" = field(default_factory=dict, compare=False)
    samples: tuple[SampleEntry, ...] = ()
    sample: SampleEntry | None = None
    trace: "TokenTrace | None" = field(default=None, compare=False)
    events: tuple[Event, ...] = ()
    log: tuple[str, ...] = ()
    recipe: str = ""
    checkpoints: tuple[Checkpoint, ...] = ()
    environment: dict[str, Any] = field(default_factory=dict[str, Any])
    trouble: str = ""


@dataclass(frozen=True)
class Seen:
    """One look at the history: all runs, newest first, and the selected one in detail."""

    runs: tuple[Run, ...] = ()
    detail: Detail | None = None


class Watcher:
    """Reads the history for one screen. Its methods are called from one thread only."""

    def __init__(self, home: Home):
        self._home = home
        self._history: History | None = None
        self._seen = Seen()
        self._request = Request()
        self._version = -1
        self._list_at = 0.0
        self._list_version = -2
        self._curve_at: dict[tuple[int, str], tuple[int, float]] = {}
        self._traces: OrderedDict[int, TokenTrace] = OrderedDict()
        self._log_mark: tuple[int, int, int] | None = None

    def look(self, request: Request, at_once: bool = False) -> Seen:
        """What there is to see now; the same object as before if nothing is new.

        Args:
            request: what is wanted.
            at_once: look at the list too, however short ago that was.

        Raises:
            MachineError: the history cannot be opened.
            sqlite3.Error: it cannot be read.
        """
        if self._history is None:
            self._history = History(self._home)
        version = self._history.version()
        runs = self._runs(version, at_once)
        fresh = version != self._version or request != self._request or runs is not self._seen.runs
        detail = self._detail(self._history, runs, request, fresh)
        self._version, self._request = version, request
        if runs is not self._seen.runs or detail is not self._seen.detail:
            self._seen = Seen(runs, detail)
        return self._seen

    def close(self) -> None:
        """Let go of the history."""
        if self._history is not None:
            self._history.close()

    # -- the list ---------------------------------------------------------------------------------

    def _runs(self, version: int, at_once: bool) -> tuple[Run, ...]:
        """All runs; the same tuple if they are as they were."""
        assert self._history is not None
        known = self._seen.runs
        now = time.monotonic()
        if not at_once and now - self._list_at < LIST_SECONDS and self._list_version != -2:
            return known
        self._list_at = now
        if version == self._list_version:
            runs = tuple(self._history.run(run.id) if run.state in OPEN_STATES else run for run in known)
        else:
            self._list_version = version
            runs = tuple(self._history.runs())
        return known if runs == known else runs

    # -- the selected run -------------------------------------------------------------------------

    def _detail(self, history: History, runs: tuple[Run, ...], request: Request, fresh: bool) -> Detail | None:
        run = next((run for run in runs if run.id == request.run_id), None)
        if run is None:
            return None
        known = self._seen.detail
        if known is None or known.run.id != run.id:
            known = Detail(run, recipe=history.recipe(run.id))
            self._log_mark = None
            fresh = True
        log = self._log(run.folder / "log.txt", known.log)
        if not fresh:
            return known if log is known.log else replace(known, log=log)
        read = self._read(history, run, request, known)
        detail = replace(read, log=log)
        same = detail.curves is known.curves and detail.trace is known.trace and detail == known
        return known if same else detail

    def _read(self, history: History, run: Run, request: Request, known: Detail) -> Detail:
        """The parts of a detail that come from the history."""
        stages = tuple(history.stages(run.id))
        stage_id = run.stage_id if run.stage_id is not None else (stages[0].id if stages else None)
        events = known.events + tuple(history.events(run.id, known.events[-1].id if known.events else 0))
        detail = replace(known, run=run, stages=stages, events=events, environment=history.environment(run.id))
        if stage_id is None:
            return detail
        metrics = history.metrics(stage_id)
        samples = tuple(history.samples(stage_id))
        sample = chosen_sample(samples, request)
        curves, trace, trouble = known.curves, None, ""
        try:
            curves = self._curves(history, stage_id, metrics, request, known.curves)
            trace = self._trace(history, sample)
        except ValueError as error:  # a damaged block or sample; the rest is still worth seeing
            trouble = str(error)
        return replace(
            detail,
            metrics=metrics,
            curves=curves,
            samples=samples,
            sample=sample,
            trace=trace,
            checkpoints=tuple(history.checkpoints(run, stage_id)),
            trouble=trouble,
        )

    def _curves(
        self,
        history: History,
        stage_id: int,
        metrics: dict[str, Latest],
        request: Request,
        known: "dict[str, Points]",
    ) -> "dict[str, Points]":
        """The curves that were asked for; those that have not grown are not read again."""
        wanted = [name for name in metrics if name.rpartition("/")[2] in request.metrics]
        curves: dict[str, Points] = {}
        for name in wanted:
            key = (stage_id, name)
            n, not_before = self._curve_at.get(key, (-1, 0.0))
            if name in known and (n == metrics[name].n or time.monotonic() < not_before):
                curves[name] = known[name]
                continue
            start = time.monotonic()
            curves[name] = history.points(stage_id, name)
            end = time.monotonic()
            self._curve_at[key] = (metrics[name].n, end + (end - start) / _CURVE_SHARE)
        same = curves.keys() == known.keys() and all(curves[name] is known[name] for name in curves)
        return known if same else curves

    def _trace(self, history: History, sample: SampleEntry | None) -> "TokenTrace | None":
        if sample is None:
            return None
        if sample.id not in self._traces:
            self._traces[sample.id] = history.sample(sample.id)
            if len(self._traces) > 100:
                self._traces.popitem(last=False)
        return self._traces[sample.id]

    def _log(self, path: Path, known: tuple[str, ...]) -> tuple[str, ...]:
        """The end of the log as printable lines; the same tuple if the file is as it was."""
        try:
            status = os.stat(path)  # noqa: PTH116 - in a hot path
        except OSError:
            return known if not known else ()
        mark = (status.st_ino, status.st_size, status.st_mtime_ns)
        if mark == self._log_mark:
            return known
        self._log_mark = mark
        with path.open("rb") as file:
            file.seek(max(0, status.st_size - LOG_BYTES))
            text = file.read(LOG_BYTES).decode("utf-8", "replace")
        lines = text.splitlines()
        if status.st_size > LOG_BYTES:
            lines[0] = "… (earlier lines are in the file)"
        return tuple(printable(line.expandtabs(4)) for line in lines)


def chosen_sample(samples: tuple[SampleEntry, ...], request: Request) -> SampleEntry | None:
    """The sample of the wanted prompt at the wanted step, or at the last one before it."""
    of_prompt = [sample for sample in samples if sample.prompt_index == request.prompt] or list(samples)
    until = [sample for sample in of_prompt if request.step is None or sample.step <= request.step]
    return (until or of_prompt or [None])[-1]
