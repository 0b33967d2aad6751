"""What a running stage measures, on its way to the history, without the stage waiting for it.

Every call of `Recorder` appends to memory and returns; one thread writes twice a second. A history that
cannot be written to never stops a run: what could not be written is kept (up to `KEEP_ITEMS`), tried
again, and warned about once.
"""

import json
import math
import sqlite3
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..home import Home
from ..tokens import TokenTrace
from .blocks import BLOCK_POINTS, Points, pack
from .database import now_us, open_database, writing

KEEP_ITEMS = 500_000
"""Writes held in memory, at the most, while the history cannot be written to."""

FLUSH_SECONDS = 0.5
BEAT_SECONDS = 5.0

Level = Literal["info", "warning", "error"]
_Write = Callable[[sqlite3.Connection], None]


@dataclass
class _Progress:
    """Where the run is, rewritten with every beat."""

    stage_id: int | None = None
    step: int = 0
    total: int | None = None
    phase: str = "starting"
    speed: float | None = None


@dataclass
class _Series:
    """What the writer knows of one metric of one stage."""

    metric_id: int
    waiting: int = 0
    n: int = 0
    minimum: float = math.inf
    minimum_step: int = 0
    maximum: float = -math.inf
    new: list[tuple[int, int, float]] = field(default_factory=list[tuple[int, int, float]])


class Recorder:
    """The write side of one attempt at a run."""

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
        self._points: deque[tuple[int, int, int, Mapping[str, float]]] = deque()
        self._writes: deque[_Write] = deque()
        self._progress = _Progress()
        self._beats = 0
        self._dropped = 0
        self._troubled = False
        self._series: dict[tuple[int, str], _Series] = {}
        self._connection: sqlite3.Connection | None = None
        self._wake = threading.Event()
        self._closing = False
        self._flushing = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def metrics(self, stage_id: int, step: int, values: Mapping[str, float]) -> None:
        """Measurements made at a step; NaN and infinities are kept as they are."""
        if len(self._points) < KEEP_ITEMS:
            self._points.append((stage_id, step, now_us(), values))
        else:
            self._dropped += 1

    def event(
        self, kind: str, text: str, level: Level = "info", stage_id: int | None = None, step: int | None = None
    ) -> None:
        """Something worth telling the user."""
        row = (self._run_id, self._attempt_id, stage_id, now_us(), step, level, kind, text)
        self._later(
            "INSERT INTO event (run_id, attempt_id, stage_id, t_us, step, level, kind, text) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )

    def sample(self, stage_id: int, step: int, prompt_index: int, prompt: str, trace: TokenTrace) -> None:
        """What the model said to one of the recipe's prompts."""
        text = trace.text(trace.prompt_length)
        row = (stage_id, self._attempt_id, step, prompt_index, prompt, text, trace.to_bytes(), now_us())
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
        self, stage_id: int, step: int, total: int | None, phase: str = "training", speed: float | None = None
    ) -> None:
        """Where the run is now; `speed` in steps per second."""
        self._progress = _Progress(stage_id, step, total, phase, speed)

    def flush(self) -> bool:
        """Write what is waiting, now; False if the history would not take it."""
        with self._flushing:
            return self._flush(beat=True)

    def close(self) -> None:
        """Write what is waiting, pack what is loose, and end the thread."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        with self._flushing:
            self._flush(beat=True)
            self._pack_rest()
        if self._connection is not None:
            self._connection.close()

    # -- the thread's side ------------------------------------------------------------------------

    def _later(self, statement: str, row: Sequence[object]) -> None:
        if len(self._writes) < KEEP_ITEMS:
            self._writes.append(lambda connection: connection.execute(statement, row) and None)
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
        points, writes = list(self._points), list(self._writes)
        if not (points or writes or beat):
            return True
        try:
            if self._connection is None:
                self._connection = open_database(self._home)
            with writing(self._connection) as connection:
                for write in writes:
                    write(connection)
                full = self._write_points(connection, points)
                self._write_beat(connection)
        except Exception as error:
            self._series.clear()  # what they count was rolled back
            self._report_trouble(error)
            return False
        for _ in points:
            self._points.popleft()
        for _ in writes:
            self._writes.popleft()
        self._report_recovery()
        for stage_id, name in full:
            self._pack_one(stage_id, name)
        return True

    def _report_trouble(self, error: Exception) -> None:
        if not self._troubled:
            self._troubled = True
            self._warn(f"the history cannot be written to ({error}); the run goes on and tries again")

    def _report_recovery(self) -> None:
        if self._troubled:
            self._troubled = False
            lost = f"; {self._dropped} measurements were lost" if self._dropped else "; nothing was lost"
            self._warn(f"the history can be written to again{lost}")

    def _write_points(
        self, connection: sqlite3.Connection, points: Sequence[tuple[int, int, int, Mapping[str, float]]]
    ) -> list[tuple[int, str]]:
        """Insert the points and refresh the latest values; returns the series that fill a block."""
        for stage_id, step, t_us, values in points:
            for name, value in values.items():
                series = self._series.get((stage_id, name)) or self._open_series(connection, stage_id, name)
                series.new.append((step, t_us, float(value)))
        full: list[tuple[int, str]] = []
        for (stage_id, name), series in self._series.items():
            if not series.new:
                continue
            connection.executemany(
                "INSERT INTO point (stage_id, metric_id, attempt_id, step, t_us, value) VALUES (?, ?, ?, ?, ?, ?)",
                [(stage_id, series.metric_id, self._attempt_id, *point) for point in series.new],
            )
            self._write_latest(connection, stage_id, series)
            series.waiting += len(series.new)
            series.new = []
            if series.waiting >= BLOCK_POINTS:
                full.append((stage_id, name))
        return full

    def _open_series(self, connection: sqlite3.Connection, stage_id: int, name: str) -> _Series:
        connection.execute("INSERT OR IGNORE INTO metric (name) VALUES (?)", (name,))
        metric_id = int(connection.execute("SELECT id FROM metric WHERE name = ?", (name,)).fetchone()[0])
        series = self._series[stage_id, name] = _Series(metric_id)
        key = (stage_id, metric_id, self._attempt_id)
        series.waiting = connection.execute(
            "SELECT count(*) FROM point WHERE stage_id = ? AND metric_id = ? AND attempt_id = ?", key
        ).fetchone()[0]
        row = connection.execute(
            "SELECT minimum, minimum_step, maximum, n FROM latest WHERE stage_id = ? AND metric_id = ?", key[:2]
        ).fetchone()
        if row is not None:
            series.n, series.minimum_step = row["n"], row["minimum_step"]
            series.minimum = math.inf if row["minimum"] is None else row["minimum"]
            series.maximum = -math.inf if row["maximum"] is None else row["maximum"]
        return series

    def _write_latest(self, connection: sqlite3.Connection, stage_id: int, series: _Series) -> None:
        for step, _, value in series.new:
            if value < series.minimum:
                series.minimum, series.minimum_step = value, step
            series.maximum = max(series.maximum, value) if not math.isnan(value) else series.maximum
        series.n += len(series.new)
        step, _, value = series.new[-1]
        connection.execute(
            "INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(stage_id, series.metric_id, step, value),
                *(None if math.isinf(series.minimum) else series.minimum, series.minimum_step),
                *(None if math.isinf(series.maximum) else series.maximum, series.n),
            ),
        )

    def _write_beat(self, connection: sqlite3.Connection) -> None:
        self._beats += 1
        now = self._progress
        connection.execute(
            "INSERT OR REPLACE INTO beat (attempt_id, sequence, stage_id, step, total, phase, speed) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._attempt_id, self._beats, now.stage_id, now.step, now.total, now.phase, now.speed),
        )

    def _pack_rest(self) -> None:
        for (stage_id, name), series in self._series.items():
            if series.waiting:
                self._pack_one(stage_id, name)

    def _pack_one(self, stage_id: int, name: str) -> None:
        """Move one series' loose points into blocks."""
        assert self._connection is not None
        series = self._series[stage_id, name]
        key = (stage_id, series.metric_id, self._attempt_id)
        try:
            with writing(self._connection) as connection:
                pack_points(connection, *key)
            series.waiting = 0
        except sqlite3.Error as error:
            self._report_trouble(error)


def pack_points(connection: sqlite3.Connection, stage_id: int, metric_id: int, attempt_id: int) -> None:
    """Move the loose points of one series into blocks, within the caller's transaction."""
    key = (stage_id, metric_id, attempt_id)
    rows = connection.execute(
        "SELECT step, t_us, value FROM point WHERE stage_id = ? AND metric_id = ? AND attempt_id = ? ORDER BY id", key
    ).fetchall()
    for start in range(0, len(rows), BLOCK_POINTS):
        steps, times, values = zip(*rows[start : start + BLOCK_POINTS], strict=True)
        points = Points(
            np.array(steps, np.int64),
            np.array(times, np.int64),
            np.array([math.nan if value is None else value for value in values], np.float64),
        )
        data = pack(points)
        connection.execute(
            "INSERT INTO block (stage_id, metric_id, attempt_id, n, step_first, step_last, data, crc) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*key, len(points), steps[0], steps[-1], data, zlib.crc32(data)),
        )
    connection.execute("DELETE FROM point WHERE stage_id = ? AND metric_id = ? AND attempt_id = ?", key)
