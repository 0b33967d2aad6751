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
from .curve_reader import CurveReader

if TYPE_CHECKING:
    from ..core.history.blocks import Points
    from ..core.tokens import TokenTrace

POLL_SECONDS = 0.5
LIST_SECONDS = 2.0
"""Between two looks at the whole list, and at whether open runs are still alive."""

LOG_BYTES = 200_000
"""How much of the end of a log is shown."""

MOST_OTHERS = 24
"""Runs whose curves are drawn beside the selected one's."""


@dataclass(frozen=True)
class Request:
    """What the screen wants to know.

    Attributes:
        run_id: the selected run.
        metrics: names of the metrics whose curves are shown; groups as in ``loss``: all of ``*/loss``.
        step: the sampling step to show; None for the latest.
        prompt: which of the recipe's prompts.
        stage: name of the stage to show; None for the present one, or the last.
        others: row ids of runs whose curves are wanted too.
    """

    run_id: int | None = None
    metrics: tuple[str, ...] = ("loss",)
    step: int | None = None
    prompt: int = 0
    stage: str | None = None
    others: tuple[int, ...] = ()


@dataclass(frozen=True)
class Detail:
    """Everything about the selected run that the screen shows.

    Attributes:
        run: the run.
        stages: its stages.
        stage: the one that is shown; None if it has none, as a run with members.
        stage_names: the names to choose from: its own, or its members'.
        stage_name: the one that was chosen.
        metrics: the latest values of the shown stage, by metric; of a run with members those of a member.
        curves: the points of the metrics that were asked for, by metric.
        others: the same for other runs, by row id.
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
    stage: Stage | None = None
    stage_names: tuple[str, ...] = ()
    stage_name: str = ""
    metrics: dict[str, Latest] = field(default_factory=dict[str, Latest])
    curves: "dict[str, Points]" = field(default_factory=dict, compare=False)
    others: "dict[int, dict[str, Points]]" = field(default_factory=dict, compare=False)
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
        self._curves = CurveReader()
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
        read = self._read(history, runs, run, request, known)
        detail = replace(read, log=log)
        same = (
            detail.curves is known.curves
            and detail.others is known.others
            and detail.trace is known.trace
            and detail == known
        )
        return known if same else detail

    def _read(self, history: History, runs: tuple[Run, ...], run: Run, request: Request, known: Detail) -> Detail:
        """The parts of a detail that come from the history."""
        stages = tuple(history.stages(run.id))
        events = known.events + tuple(history.events(run.id, known.events[-1].id if known.events else 0))
        detail = replace(known, run=run, stages=stages, events=events, environment=history.environment(run.id))
        others = [other for other in runs if other.id in request.others][:MOST_OTHERS]
        stages_of = {other.id: tuple(history.stages(other.id)) for other in others}
        stage = chosen_stage(stages, request.stage, run)
        names = trained(stages) or next((names for each in stages_of.values() if (names := trained(each))), ())
        name = stage.name if stage else present_name(names, request.stage, others)
        detail = replace(detail, stage=stage, stage_names=names, stage_name=name)
        metrics = history.metrics(stage.id) if stage else {}
        samples = tuple(history.samples(stage.id)) if stage else ()
        sample = chosen_sample(samples, request)
        curves, beside, trace, trouble = known.curves, known.others, None, ""
        try:
            curves = self._curves.read(history, stage.id, metrics, request.metrics) if stage else {}
            beside, measured = self._beside(history, others, stages_of, request, name)
            metrics = metrics or measured
            trace = self._trace(history, sample)
        except ValueError as error:  # a damaged block or sample; the rest is still worth seeing
            trouble = str(error)
        return replace(
            detail,
            metrics=metrics,
            curves=known.curves if same_curves(curves, known.curves) else curves,
            others=known.others if same_others(beside, known.others) else beside,
            samples=samples,
            sample=sample,
            trace=trace,
            checkpoints=tuple(history.checkpoints(run, stage.id)) if stage else (),
            trouble=trouble,
        )

    def _beside(
        self,
        history: History,
        others: list[Run],
        stages_of: dict[int, tuple[Stage, ...]],
        request: Request,
        name: str,
    ) -> "tuple[dict[int, dict[str, Points]], dict[str, Latest]]":
        """The curves of other runs, from the stage of the same name where they have it; and what one measured."""
        beside: dict[int, dict[str, Points]] = {}
        measured: dict[str, Latest] = {}
        for other in others:
            stage = chosen_stage(stages_of[other.id], name, other)
            if stage is None:
                continue
            metrics = history.metrics(stage.id)
            measured = measured or metrics
            beside[other.id] = self._curves.read(history, stage.id, metrics, request.metrics)
        self._curves.forget_the_rest()
        return beside, measured

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


def trained(stages: tuple[Stage, ...]) -> tuple[str, ...]:
    """The names of the stages that have curves: all but comparisons."""
    return tuple(stage.name for stage in stages if stage.kind != "compare")


def chosen_stage(stages: tuple[Stage, ...], name: str | None, run: Run) -> Stage | None:
    """The stage of that name; else the one that the run works on, or worked on last."""
    training = [stage for stage in stages if stage.kind != "compare"]
    named = [stage for stage in training if stage.name == name]
    present = [stage for stage in training if stage.id == run.stage_id]
    begun = training[-1:] if run.stage_id is not None else training[:1]
    return next(iter(named or present or begun), None)


def present_name(names: tuple[str, ...], name: str | None, members: list[Run]) -> str:
    """The chosen stage of a run that only has members: what one of them works on, or else the last."""
    if name in names:
        return str(name)
    going = [member.stage for member in members if member.state in OPEN_STATES and member.stage in names]
    return going[0] if going else (names or ("",))[-1]


def same_curves(a: "dict[str, Points]", b: "dict[str, Points]") -> bool:
    """They consist of the very same objects."""
    return a.keys() == b.keys() and all(a[name] is b[name] for name in a)


def same_others(a: "dict[int, dict[str, Points]]", b: "dict[int, dict[str, Points]]") -> bool:
    """They consist of the very same objects."""
    return a.keys() == b.keys() and all(same_curves(a[run_id], b[run_id]) for run_id in a)
