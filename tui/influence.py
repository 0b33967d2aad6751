"""Answers to "where does this come from?" without a screen: what a run has found, and what of it one looks at.

Everything is read from the history and the run's folder, in a thread; nothing here needs torch.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..core.errors import LmwbError
from ..core.history.queries import OPEN_STATES, History, Run
from ..core.home import Home
from ..core.influence_report import Answers, Found, Report, ReportedText, read_report
from . import words

if TYPE_CHECKING:
    from ..core.history.blocks import Points
    from ..core.history.queries import Stage
    from .watcher import Detail

KIND = "influence"
_LOSS = "train/loss"


@dataclass(frozen=True)
class Answered:
    """What there is to see of a run that was asked.

    Attributes:
        run: how it is.
        report: what it has found; None as long as there is nothing.
        trouble: why there is nothing, in a sentence; foreign text.
        asked_run: the run whose training was asked; None if it is gone.
        losses: of that training, over its steps; None if they are unknown.
        last_step: where that training ended.
    """

    run: Run
    report: Report | None = None
    trouble: str = ""
    asked_run: Run | None = None
    losses: "Points | None" = field(default=None, compare=False)
    last_step: int | None = None


def influence_stage(stages: "Sequence[Stage]", preferred: str = "") -> str:
    """The name of the stage whose answer a run has: the preferred one, or the last; empty if it has none."""
    names = [stage.name for stage in stages if stage.kind == KIND]
    return preferred if preferred in names else next(reversed(names), "")


def stage_of(detail: "Detail") -> str:
    """The same for what the home screen shows."""
    return influence_stage(detail.stages, detail.stage_name)


def read_answer(home: Home, run_id: int, stage: str = "") -> Answered:
    """Read what a run has found; with the history, and for a thread.

    Args:
        home: where the run is kept.
        run_id: its row id.
        stage: the stage's name; the last one of its kind if empty.

    Raises:
        MachineError: the history cannot be opened.
        sqlite3.Error: it cannot be read.
    """
    with closing(History(home)) as history:
        run = history.run(run_id)
        stages = history.stages(run_id)
        name = influence_stage(stages, stage)
        if not name:
            return Answered(run, trouble=f"Run {run.uid} has no stage that looks for influence.")
        finished = any(each.name == name and each.outcome == "finished" for each in stages)
        if not finished:
            return Answered(run, trouble=_why_nothing(run))
        try:
            report = read_report(run.folder / name)
        except LmwbError as error:
            return Answered(run, trouble=str(error))
        return _with_training(history, Answered(run, report))


def _with_training(history: History, answered: Answered) -> Answered:
    """The same with what is known of the training that was asked; a training that is gone takes nothing away."""
    assert answered.report is not None
    uid, _, name = answered.report.of.partition("/")
    try:
        asked = history.find(uid)
        stage = next((each for each in history.stages(asked.id) if each.name == name), None)
        if stage is None:
            return replace(answered, asked_run=asked)
        losses = history.points(stage.id, _LOSS) if _LOSS in history.metrics(stage.id) else None
    except (LmwbError, ValueError):  # ValueError: a damaged record
        return answered
    return replace(answered, asked_run=asked, losses=losses, last_step=stage.total)


def _why_nothing(run: Run) -> str:
    if run.state in OPEN_STATES:
        return ""
    if run.state == "stopped":
        return "It was stopped before it had an answer; r lets it go on."
    if run.state == "finished":
        return "It has finished without an answer."
    return f"It {run.state}: {words.cause(run)}"


@dataclass(frozen=True)
class Look:
    """What of a report one looks at.

    Attributes:
        report: the report.
        strategy, query, rank, time: places in its strategies, queries, rows, and in the times that the row was seen.
        worst: look at the rows with the lowest scores.
    """

    report: Report
    strategy: int = 0
    query: int = 0
    worst: bool = False
    rank: int = 0
    time: int = 0

    @property
    def strategies(self) -> Sequence[str]:
        """Their names."""
        return tuple(self.report.answers)

    @property
    def queries(self) -> int:
        """How many answers a strategy has; a single one where queries were taken together."""
        return len(self._answers)

    @property
    def found(self) -> Sequence[Found]:
        """The rows."""
        if not self._answers:
            return ()
        answers = self._answers[self.query]
        return answers.worst if self.worst else answers.best

    @property
    def chosen(self) -> Found | None:
        """The selected row."""
        return self.found[self.rank] if self.found else None

    @property
    def row(self) -> ReportedText | None:
        """Its text."""
        return None if self.chosen is None else self.report.rows.get(self.chosen.row)

    @property
    def asked(self) -> ReportedText | None:
        """What is asked about; the first of several queries that were taken together."""
        return self.report.queries[self.query] if self.query < len(self.report.queries) else None

    @property
    def together(self) -> bool:
        """Queries were taken together."""
        return len(self._answers) == 1 < len(self.report.queries)

    @property
    def seen(self) -> tuple[int, int] | None:
        """The step that saw the row, and the row's place in its batch; None if it is not known that one did."""
        return None if self.row is None or not self.row.seen else self.row.seen[self.time]

    @property
    def batch(self) -> Sequence[int] | None:
        """The rows of that step's batch; None if the report does not have it."""
        return None if self.seen is None else self.report.batches.get(self.seen[0])

    def to_strategy(self, by: int) -> "Look":
        """Another strategy, of the same query."""
        strategy = (self.strategy + by) % max(1, len(self.strategies))
        return replace(self, strategy=strategy, rank=0, time=0).held()

    def to_query(self, by: int) -> "Look":
        """Another query."""
        return replace(self, query=(self.query + by) % max(1, self.queries), rank=0, time=0)

    def to_other_end(self) -> "Look":
        """From the best rows to the worst, or back."""
        return replace(self, worst=not self.worst, rank=0, time=0)

    def to_rank(self, by: int) -> "Look":
        """Another row; it stops at the ends."""
        rank = max(0, min(self.rank + by, len(self.found) - 1))
        return self if rank == self.rank else replace(self, rank=rank, time=0)

    def to_time(self, by: int) -> "Look":
        """Another time that the row was seen, the first after the last."""
        count = len(self.row.seen) if self.row is not None else 0
        return replace(self, time=(self.time + by) % max(1, count))

    def held(self) -> "Look":
        """The same within what there is."""
        return replace(self, query=min(self.query, max(0, self.queries - 1)))

    @property
    def _answers(self) -> Sequence[Answers]:
        return self.report.answers[self.strategies[self.strategy]] if self.strategies else ()


class Pace:
    """How much longer a phase of a run will take, by how it went on while one was looking."""

    def __init__(self) -> None:
        self._part: tuple[str, int | None] = "", None
        self._from: tuple[float, int] = 0.0, 0

    def seconds_left(self, run: Run, now: float | None = None) -> float | None:
        """Time to the end of the present part of a phase; None if it cannot be told yet."""
        now = time.monotonic() if now is None else now
        if (run.phase, run.total) != self._part or run.step < self._from[1]:
            self._part, self._from = (run.phase, run.total), (now, run.step)
        seconds, done = now - self._from[0], run.step - self._from[1]
        if run.state != "running" or run.total is None or not done or not seconds:
            return None
        return max(0, run.total - run.step) * seconds / done
