"""The read side of curves: blocks become arrays, and what was read once is kept.

Full blocks never change, so a curve that grows is read on from the last full block; a curve of a million
points costs no more to follow than its newest few thousand.
"""

import sqlite3
from collections import OrderedDict

import numpy as np

from .blocks import BLOCK_POINTS, Points, unpack

KEEP_POINTS = 4_000_000
"""Points kept in memory, at the most, beside the curve that was asked for last: 24 bytes each."""


class Curves:
    """The points of any attempt's metrics, as far as they were read, and the rest when asked for."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, int, int], _Curve] = OrderedDict()

    def read(self, connection: sqlite3.Connection, stage_id: int, metric_id: int, attempt_id: int) -> Points:
        """All points of one series, in the order in which they were measured; arrays that cannot be written to.

        Blocks that are damaged are left out and counted.
        """
        key = (stage_id, metric_id, attempt_id)
        curve = self._known.setdefault(key, _Curve())
        self._known.move_to_end(key)
        rows = connection.execute(
            "SELECT id, n, data, crc FROM block "
            "WHERE stage_id = ? AND metric_id = ? AND attempt_id = ? AND id > ? ORDER BY id",
            (*key, curve.last_full),
        ).fetchall()
        points = curve.take(rows)
        while sum(curve.capacity for curve in self._known.values()) > KEEP_POINTS and len(self._known) > 1:
            self._known.popitem(last=False)
        return points


class _Curve:
    """One series. What lies in front of `settled` came from full blocks and is final.

    Attributes:
        last_full: row id of the last full block that was read.
    """

    def __init__(self) -> None:
        self.last_full = 0
        self._settled = 0
        self._damaged = 0
        self._steps = np.empty(0, np.int64)
        self._times = np.empty(0, np.int64)
        self._values = np.empty(0, np.float64)

    @property
    def capacity(self) -> int:
        """Points that there is room for."""
        return len(self._steps)

    def take(self, rows: list[sqlite3.Row]) -> Points:
        """Add the blocks that follow the last full one; returns all points, views of what is kept here."""
        end, damaged = self._settled, self._damaged
        self._make_room(end + sum(row["n"] for row in rows))
        for block_id, n, data, crc in rows:
            try:
                points = unpack(data, n, crc)
            except ValueError:
                damaged += n
            else:
                self._steps[end : end + n] = points.steps
                self._times[end : end + n] = points.times
                self._values[end : end + n] = points.values
                end += n
            if n >= BLOCK_POINTS:
                self.last_full, self._settled, self._damaged = block_id, end, damaged
        points = Points(self._steps[:end], self._times[:end], self._values[:end], damaged)
        for view in (points.steps, points.times, points.values):
            view.flags.writeable = False
        return points

    def _make_room(self, n: int) -> None:
        """Room for n points; what is handed out already stays where it is."""
        if n > self.capacity:
            room = max(n, self.capacity * 3 // 2)
            steps, times, values = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.float64)
            steps[: self._settled] = self._steps[: self._settled]
            times[: self._settled] = self._times[: self._settled]
            values[: self._settled] = self._values[: self._settled]
            self._steps, self._times, self._values = steps, times, values
