"""What a running stage measures, on its way to the history, without the stage waiting for it.

Every call of `Recorder` appends to memory and returns; one thread writes twice a second. A history that
cannot be written to never stops a run: what could not be written is kept (up to `KEEP_ITEMS`), tried
again, and warned about once.
"""

import contextlib
import json
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..home import Home
from ..tokens import TokenTrace
from .database import now_us, open_database, storable, writing
from .series import Measured, SeriesWriter

KEEP_ITEMS = 500_000
"""Writes held in memory, at the most, while the history cannot be written to."""

FLUSH_SECONDS = 0.5
BEAT_SECONDS = 5.0

Level = Literal["info", "warning", "error"]

_UNFIT = (
    sqlite3.IntegrityError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What a statement raises because of its values: trying again would not help."""


@dataclass(frozen=True)
class _Progress:
    """Where the run is, rewritten with every beat."""

    stage_id: int | None = None
    step: int = 0
    total: int | None = None
    phase: str = "starting"
    speed: float | None = None


class Recorder:
    """The write side of one attempt at a run. Its methods may be called from any thread."""

    def __init__(self, home: Home, run_id: int, attempt_id: int, warn: Callable[[str], None]):
        """Start the writing thread.

        Args:
            home: whose history to write to.
            run_id: the run's row id.
            attempt_id: the attempt's row id.
            warn: told, once, when the history cannot be written to, and when it can be again.
        """
        self._home = home
        self._run_id = run_id
        self._attempt_id = attempt_id
        self._warn = warn
        self._points: deque[Measured] = deque()
        self._writes: deque[tuple[str, Sequence[object]]] = deque()
        self._progress = _Progress()
        self._beats = 0
        self._dropped = 0
        self._troubled = False
        self._refused = False
        self._series = SeriesWriter(attempt_id)
        self._connection: sqlite3.Connection | None = None
        self.also: Callable[[int, int, Mapping[str, float]], None] | None = None
        """Is given every measurement too: the stage's row id, the step, the values."""
        self._wake = threading.Event()
        self._closing = False
        self._flushing = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def metrics(self, stage_id: int, step: int, values: Mapping[str, float]) -> None:
        """Measurements made at a step; NaN and infinities are kept as they are."""
        if self.also is not None:
            self.also(stage_id, step, values)
        if len(self._points) < KEEP_ITEMS:
            self._points.append((stage_id, step, time.time_ns(), dict(values)))
        else:
            self._dropped += 1

    def event(
        self, kind: str, text: str, level: Level = "info", stage_id: int | None = None, step: int | None = None
    ) -> None:
        """Something worth telling the user."""
        row = (self._run_id, self._attempt_id, stage_id, now_us(), step, level, kind, storable(text))
        self._later(
            "INSERT INTO event (run_id, attempt_id, stage_id, t_us, step, level, kind, text) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )

    def sample(self, stage_id: int, step: int, prompt_index: int, prompt: str, trace: TokenTrace) -> None:
        """What the model said to one of the recipe's prompts."""
        text = trace.text(trace.prompt_length)
        row = (stage_id, self._attempt_id, step, prompt_index, storable(prompt), text, trace.to_bytes(), now_us())
        self._later(
            "INSERT INTO sample (stage_id, attempt_id, step, prompt_index, prompt, text, tokens, t_us) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )

    def checkpoint(
        self, stage_id: int, step: int, path: str, size: int, best: bool, metrics: Mapping[str, float]
    ) -> None:
        """A whole checkpoint is on disk, at `path` relative to the run's folder."""
        row = (stage_id, self._attempt_id, step, path, size, int(best), json.dumps(metrics), now_us())
        self._later(
            "INSERT INTO checkpoint (stage_id, attempt_id, step, path, bytes, best, metrics, created_us) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )

    def checkpoint_deleted(self, stage_id: int, path: str) -> None:
        """A checkpoint was removed to keep as many as the recipe asks for."""
        self._later("UPDATE checkpoint SET deleted_us = ? WHERE stage_id = ? AND path = ?", (now_us(), stage_id, path))

    def progress(
        self, stage_id: int | None, step: int, total: int | None, phase: str = "training", speed: float | None = None
    ) -> None:
        """Where the run is now; `speed` in steps per second. Without a stage, the steps are members of the run."""
        self._progress = _Progress(stage_id, step, total, phase, speed)

    def flush(self) -> bool:
        """Write what is waiting, now; False if the history would not take it."""
        with self._flushing:
            return self._flush(beat=True)

    def close(self) -> None:
        """Write what is waiting, merge what is loose, and end the thread."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        with self._flushing:
            written = self._flush(beat=True)
            while written and self._merge_rest():
                pass
            if lost := len(self._points) + len(self._writes):
                self._say(f"the history could not be written to until the end; {lost} measurements were lost")
                self._points.clear()
                self._writes.clear()
            self._disconnect()

    # -- the thread's side ------------------------------------------------------------------------

    def _later(self, statement: str, row: Sequence[object]) -> None:
        if len(self._writes) < KEEP_ITEMS:
            self._writes.append((statement, row))
        else:
            self._dropped += 1

    def _work(self) -> None:
        beat_at = 0.0
        while not self._closing:
            self._wake.wait(FLUSH_SECONDS)
            beat = time.monotonic() >= beat_at
            if beat:
                beat_at = time.monotonic() + BEAT_SECONDS
            with self._flushing:
                self._flush(beat)

    def _flush(self, beat: bool) -> bool:
        """One transaction with all that is waiting; what fails stays waiting."""
        points = list(self._points)  # first, so that what was told before a point is kept if the point is
        writes = list(self._writes)
        if not (points or writes or beat):
            return True
        try:
            if self._connection is None:
                self._connection = open_database(self._home)
            with writing(self._connection) as connection:
                refused = self._write_all(connection, writes)
                refused += self._series.write(connection, points)
                self._series.merge(connection)
                self._write_beat(connection)
        except Exception as error:
            self._start_over(error)
            return False
        for _ in points:
            self._points.popleft()
        for _ in writes:
            self._writes.popleft()
        self._report(refused)
        return True

    def _write_all(self, connection: sqlite3.Connection, writes: Sequence[tuple[str, Sequence[object]]]) -> list[str]:
        """Carry out the statements; returns what the history would never take, in words."""
        refused: list[str] = []
        for statement, row in writes:
            try:
                connection.execute(statement, row)
            except _UNFIT as error:
                refused.append(f"{statement.partition('(')[0].strip()}: {error}")
        return refused

    def _write_beat(self, connection: sqlite3.Connection) -> None:
        self._beats += 1
        now = self._progress
        connection.execute(
            "INSERT OR REPLACE INTO beat (attempt_id, sequence, stage_id, step, total, phase, speed) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._attempt_id, self._beats, now.stage_id, now.step, now.total, now.phase, now.speed),
        )

    def _merge_rest(self) -> bool:
        """Merge the small blocks of some series; whether more remain."""
        assert self._connection is not None
        try:
            with writing(self._connection) as connection:
                return self._series.merge(connection, ending=True)
        except Exception:  # they can be read as they are
            return False

    def _start_over(self, error: Exception) -> None:
        """After a failure: forget what was rolled back, and open the history anew for the next try."""
        self._series.forget()
        self._disconnect()
        if not self._troubled:
            self._troubled = True
            self._say(f"the history cannot be written to ({error}); the run goes on and tries again")

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _report(self, refused: Sequence[str]) -> None:
        """After a success: tell that a trouble is over, and the first time that something was no measurement."""
        if self._troubled:
            self._troubled = False
            lost = f"{self._dropped} measurements were lost" if self._dropped else "nothing was lost"
            self._say(f"the history can be written to again; {lost}")
        if refused and not self._refused:
            self._refused = True
            self._say(f"the history cannot hold {refused[0]}; it is left out, and so is whatever follows of the kind")

    def _say(self, text: str) -> None:
        """Warn; a warning that cannot be printed, on a full disk for one, must not end the thread."""
        with contextlib.suppress(Exception):
            self._warn(text)
