"""The write side of curves: points become small blocks as they arrive, and small blocks become full ones.

Everything here happens within the caller's transaction. A block of `BLOCK_POINTS` points is full and never
touched again, so that a reader who has read it need not read it again; the smaller blocks of a series, always
younger than its full ones, are merged from time to time.
"""

import math
import sqlite3
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .blocks import BLOCK_POINTS, RECORD, Points, checksum, pack, unpack

MERGE_AFTER = 256
"""Small blocks of one series before they are merged, full or not: what a reader has to read again each time."""

MERGE_LEAST = 8
"""Series of fewer points are left as they are in the end: merging them would save nothing."""

MERGES = 64
"""Series merged in one transaction, at the most: other writers are waiting."""

Measured = tuple[int, int, int, Mapping[str, float]]
"""Stage, step, time in nanoseconds since 1970, and the values by metric."""


@dataclass
class _Series:
    """What the writer knows of one metric of one stage.

    Attributes:
        blocks: small blocks since the last merge.
        points: those in all its small blocks.
        n, minimum, minimum_step, maximum: over everything measured; the extremes of finite values.
        new: records that are not in the history yet, and their steps and values.
    """

    metric_id: int
    blocks: int = 0
    points: int = 0
    n: int = 0
    minimum: float = math.inf
    minimum_step: int = 0
    maximum: float = -math.inf
    records: list[bytes] = field(default_factory=list[bytes])
    new: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])

    def is_ripe(self, ending: bool) -> bool:
        """Whether its small blocks should be merged now."""
        if ending:
            return self.blocks > 0 and self.points > MERGE_LEAST
        return self.points >= BLOCK_POINTS or self.blocks >= MERGE_AFTER


class SeriesWriter:
    """Writes the curves of one attempt at a run."""

    def __init__(self, attempt_id: int):
        self._attempt_id = attempt_id
        self._series: dict[tuple[int, str], _Series] = {}

    def write(self, connection: sqlite3.Connection, measured: Iterable[Measured]) -> list[str]:
        """Insert the points and refresh the latest values; returns what was no number, in words."""
        refused: list[str] = []
        for stage_id, step, t_ns, values in measured:
            for name, value in values.items():
                try:
                    number = float(value)
                    record = RECORD.pack(step, t_ns // 1000, number)
                except (TypeError, ValueError, OverflowError, struct.error):
                    refused.append(f"{name} = {value!r:.50} at step {step!r:.50}")
                    continue
                series = self._series.get((stage_id, name)) or self._open(connection, stage_id, name)
                series.records.append(record)
                series.new.append((step, number))
        grown = [(stage_id, series) for (stage_id, _), series in self._series.items() if series.new]
        self._write_blocks(connection, grown)
        connection.executemany(
            "INSERT OR REPLACE INTO latest (stage_id, metric_id, step, value, minimum, minimum_step, maximum, n) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(stage_id, *_latest(series)) for stage_id, series in grown],
        )
        return refused

    def merge(self, connection: sqlite3.Connection, ending: bool = False) -> bool:
        """Merge the small blocks of some of the series that need it; whether there are more of them."""
        ripe = [(stage_id, series) for (stage_id, _), series in self._series.items() if series.is_ripe(ending)]
        for stage_id, series in ripe[:MERGES]:
            series.points = _merge(connection, (stage_id, series.metric_id, self._attempt_id))
            series.blocks = 0
        return len(ripe) > MERGES

    def forget(self) -> None:
        """What was written has been rolled back: look at the history again before writing on."""
        self._series.clear()

    def _open(self, connection: sqlite3.Connection, stage_id: int, name: str) -> _Series:
        stored = name.encode("utf-8", "backslashreplace").decode()
        connection.execute("INSERT OR IGNORE INTO metric (name) VALUES (?)", (stored,))
        metric_id = int(connection.execute("SELECT id FROM metric WHERE name = ?", (stored,)).fetchone()[0])
        series = self._series[stage_id, name] = _Series(metric_id)
        series.blocks, series.points = connection.execute(
            "SELECT count(*), coalesce(sum(n), 0) FROM block "
            "WHERE stage_id = ? AND metric_id = ? AND attempt_id = ? AND n < ?",
            (stage_id, metric_id, self._attempt_id, BLOCK_POINTS),
        ).fetchone()
        row = connection.execute(
            "SELECT minimum, minimum_step, maximum, n FROM latest WHERE stage_id = ? AND metric_id = ?",
            (stage_id, metric_id),
        ).fetchone()
        if row is not None:
            series.n, series.minimum_step = row["n"], row["minimum_step"]
            series.minimum = math.inf if row["minimum"] is None else row["minimum"]
            series.maximum = -math.inf if row["maximum"] is None else row["maximum"]
        return series

    def _write_blocks(self, connection: sqlite3.Connection, grown: Iterable[tuple[int, _Series]]) -> None:
        rows: list[tuple[object, ...]] = []
        for stage_id, series in grown:
            key = (stage_id, series.metric_id, self._attempt_id)
            for start in range(0, len(series.new), BLOCK_POINTS - 1):
                new = series.new[start : start + BLOCK_POINTS - 1]
                data = b"".join(series.records[start : start + BLOCK_POINTS - 1])
                rows.append((*key, len(new), new[0][0], new[-1][0], data, checksum(data, len(new))))
                series.blocks += 1
            series.points += len(series.new)
        _insert(connection, rows)


def _latest(series: _Series) -> tuple[object, ...]:
    """Take what is new into account; the row of `latest`, less its stage."""
    for step, value in series.new:
        if -math.inf < value < series.minimum:
            series.minimum, series.minimum_step = value, step
        if series.maximum < value < math.inf:
            series.maximum = value
    series.n += len(series.new)
    step, value = series.new[-1]
    series.new, series.records = [], []
    minimum = None if series.minimum == math.inf else series.minimum
    maximum = None if series.maximum == -math.inf else series.maximum
    return (series.metric_id, step, value, minimum, series.minimum_step, maximum, series.n)


def _merge(connection: sqlite3.Connection, key: tuple[int, int, int]) -> int:
    """Make full blocks of one series' small ones, and one small block of the rest; returns how many that holds.

    A damaged block stays as it is, so that readers can tell what is missing.
    """
    rows = connection.execute(
        "SELECT id, n, data, crc FROM block "
        "WHERE stage_id = ? AND metric_id = ? AND attempt_id = ? AND n < ? ORDER BY id",
        (*key, BLOCK_POINTS),
    ).fetchall()
    parts: list[Points] = []
    merged: list[tuple[int]] = []
    for block_id, n, data, crc in rows:
        try:
            parts.append(unpack(data, n, crc))
        except ValueError:
            continue
        merged.append((block_id,))
    connection.executemany("DELETE FROM block WHERE id = ?", merged)
    points = Points.joined(parts)
    new: list[tuple[object, ...]] = []
    for start in range(0, len(points), BLOCK_POINTS):
        part = points.where(slice(start, start + BLOCK_POINTS))
        data = pack(part)
        new.append((*key, len(part), int(part.steps[0]), int(part.steps[-1]), data, checksum(data, len(part))))
    _insert(connection, new)
    return len(points) % BLOCK_POINTS


def _insert(connection: sqlite3.Connection, rows: Iterable[tuple[object, ...]]) -> None:
    connection.executemany(
        "INSERT INTO block (stage_id, metric_id, attempt_id, n, step_first, step_last, data, crc) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
