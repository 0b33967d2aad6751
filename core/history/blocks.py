"""Points packed into bytes: a metric's steps, times and values, without loss.

A block of a few points is their records one after the other; a larger one is packed by columns: delta coding
for the integers, bytes of one place beside each other, zlib: 4 to 8 bytes a point. A checksum goes with each.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_POINTS = 4096
"""Points of a full block: larger ones save little more."""

RECORD = struct.Struct("<qqd")
"""One point as it is: step, time, value."""

_COLUMN = struct.Struct("<qB")


@dataclass(frozen=True)
class Points:
    """Measurements of one metric, in the order in which they were made.

    Attributes:
        steps: (n,) int64, the step that each was measured at.
        times: (n,) int64, microseconds since 1970 (UTC).
        values: (n,) float64, NaN and infinities included.
        damaged: how many more there were that cannot be read any more.
    """

    steps: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    damaged: int = 0

    def __len__(self) -> int:
        return len(self.steps)

    def where(self, keep: NDArray[np.bool_] | NDArray[np.intp] | slice) -> "Points":
        """Only the points that `keep` marks, (n,) bool, or names: indices or a slice."""
        return Points(self.steps[keep], self.times[keep], self.values[keep], self.damaged)

    @classmethod
    def joined(cls, parts: "Sequence[Points]") -> "Points":
        """One after the other."""
        if not parts:
            return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
        return cls(
            np.concatenate([part.steps for part in parts]),
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.values for part in parts]),
            sum(part.damaged for part in parts),
        )


def pack(points: Points) -> bytes:
    """The points as bytes, compressed where that makes them fewer; `unpack` gives them back exactly."""
    columns = (_column(points.steps, True), _column(points.times, True), _column(points.values.view(np.int64), False))
    packed = zlib.compress(b"".join(columns), 1)
    if len(packed) < RECORD.size * len(points):
        return packed
    return np.column_stack((points.steps, points.times, points.values.view(np.int64))).astype("<i8").tobytes()


def checksum(data: bytes, n: int) -> int:
    """What `unpack` wants to see again of a block's bytes and its number of points."""
    return zlib.crc32(data, n)


def unpack(data: bytes, n: int, crc: int) -> Points:
    """The `n` points in a block: packed, or records one after the other, which its length tells.

    Raises:
        ValueError: the bytes are damaged.
    """
    if checksum(data, n) != crc:
        raise ValueError("a block of points is damaged: its checksum is wrong")
    if len(data) == RECORD.size * n:
        steps, times, values = np.frombuffer(data, "<i8").reshape(n, 3).T
        return Points(steps, times, values.view("<f8"))
    try:
        raw = memoryview(zlib.decompress(data))
        steps, raw = _numbers(raw, n, True)
        times, raw = _numbers(raw, n, True)
        values, raw = _numbers(raw, n, False)
    except (zlib.error, ValueError, IndexError, struct.error) as error:
        raise ValueError(f"a block of points is damaged: {error}") from None
    if raw.nbytes:
        raise ValueError(f"a block of points is damaged: {raw.nbytes} bytes too many")
    return Points(steps, times, values.view(np.float64))


def _column(numbers: NDArray[np.int64], by_delta: bool) -> bytes:
    """The first number, which byte places are used at all, and the bytes of each: like stands beside like."""
    first = int(numbers[0]) if by_delta else 0
    rest = np.diff(numbers, prepend=numbers[:1]) if by_delta else numbers
    places = rest.astype("<i8").view(np.uint8).reshape(-1, 8).T
    used = places.any(axis=1)
    return _COLUMN.pack(first, int(np.packbits(used)[0])) + places[used].tobytes()


def _numbers(raw: memoryview, n: int, by_delta: bool) -> tuple[NDArray[np.int64], memoryview]:
    """The inverse of `_column`, and the bytes that follow it."""
    first, used = _COLUMN.unpack_from(raw)
    position = _COLUMN.size
    places = np.zeros((n, 8), np.uint8)
    for place in range(8):
        if used & 0x80 >> place:
            places[:, place] = np.frombuffer(raw, np.uint8, n, position)
            position += n
    numbers = places.view("<i8").ravel().astype(np.int64, copy=False)
    if by_delta:
        np.cumsum(numbers, out=numbers)
        numbers += first
    return numbers, raw[position:]
