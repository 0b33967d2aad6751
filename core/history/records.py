"""What readers of the history are given: runs, stages, events and the like, as plain records."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["starting", "running", "finished", "stopped", "failed", "died", "elsewhere"]
"""Where a run stands. ``elsewhere``: it was begun on another machine and has not ended."""

OPEN_STATES: tuple[State, ...] = ("starting", "running", "elsewhere")


@dataclass(frozen=True)
class Figure:
    """What a finished run has reached: the one figure that says most.

    Attributes:
        name: of the metric, such as ``accuracy``.
        value: of the run, or the mean over its members.
        deviation: the standard deviation over members; None for a run without, or with one only.
    """

    name: str
    value: float
    deviation: float | None = None


@dataclass(frozen=True)
class Run:
    """One run, as lists show it.

    Attributes:
        id: the history's row id.
        uid: what people type; also the folder's name.
        name: the recipe's name, as the user wrote it: foreign text.
        state: worked out at the time of reading.
        created_us, started_us, ended_us: microseconds since 1970 (UTC); None where it has not happened.
        message: why it ended, if not well.
        exit_code, signal: of its process, where known.
        host: where it runs or ran.
        pid: of its worker.
        attempts: how often it was begun or resumed.
        stage_id, stage: what it works on, or worked on last.
        phase: what it does there.
        step, total: optimiser steps done, and in all.
        speed: steps per second.
        loss: the latest training loss.
        attempt_id: its latest attempt.
        folder: where its files are.
        parent_id: the row id of the run that it is a member of; None for a run that somebody started by itself.
        member: which member it is, in words: ``seed 1``, ``lr 0.0003 · seed 1``; foreign text.
        figure: what it has reached, once its last stage that trains has finished.
    """

    id: int
    uid: str
    name: str
    state: State
    created_us: int
    started_us: int | None
    ended_us: int | None
    message: str | None
    exit_code: int | None
    signal: int | None
    host: str
    pid: int | None
    attempts: int
    stage_id: int | None
    stage: str
    phase: str
    step: int
    total: int | None
    speed: float | None
    loss: float | None
    attempt_id: int | None
    folder: Path
    parent_id: int | None = None
    member: str | None = None
    figure: Figure | None = None

    @property
    def seconds_left(self) -> float | None:
        """Time to the end of the stage at the present speed; None if unknown or over."""
        if self.state != "running" or not self.speed or self.total is None:
            return None
        return max(0, self.total - self.step) / self.speed


@dataclass(frozen=True)
class Stage:
    """One stage of a run; `summary` holds its results once it has finished."""

    id: int
    name: str
    kind: str
    total: int | None
    outcome: str | None
    summary: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """Something the worker told: `level` is info, warning or error."""

    id: int
    t_us: int
    step: int | None
    level: str
    kind: str
    text: str


@dataclass(frozen=True)
class SampleEntry:
    """That a sample exists: at which step, for which of the recipe's prompts."""

    id: int
    step: int
    prompt_index: int
    prompt: str


@dataclass(frozen=True)
class Latest:
    """A metric's last value, and the extremes of its finite values (NaN if there are none).

    All `n` measurements count, those that a resumed attempt made again included.
    """

    step: int
    value: float
    minimum: float
    minimum_step: int
    maximum: float
    n: int


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint; `path` is absolute."""

    step: int
    path: Path
    size: int
    best: bool
    metrics: dict[str, float]
    created_us: int
