"""Points packed into bytes: a metric's steps, times and values, without loss.

Delta coding for the integers, byte shuffling for the floats, then zlib: 4 to 8 bytes a point.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_POINTS = 4096
"""Points per block: larger blocks save little more."""


@dataclass(frozen=True)
class Points:
    """Measurements of one metric, in the order in which they were made.

    Attributes:
        steps: (n,) int64, the step that each was measured at.
        times: (n,) int64, microseconds since 1970 (UTC).
        values: (n,) float64, NaN and infinities included.
    """

    steps: NDArray[np.int64]
    times: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)

    def where(self, keep: NDArray[np.bool_]) -> "Points":
        """Only the points marked in `keep`, (n,) bool."""
        return Points(self.steps[keep], self.times[keep], self.values[keep])

    @classmethod
    def joined(cls, parts: "list[Points]") -> "Points":
        """One after the other."""
        if not parts:
            return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
        return cls(
            np.concatenate([part.steps for part in parts]),
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.values for part in parts]),
        )


def pack(points: Points) -> bytes:
    """The points as compressed bytes; `unpack` gives them back exactly."""
    columns = (_deltas(points.steps), _deltas(points.times), points.values.astype("<f8"))
    return zlib.compress(b"".join(_shuffled(column) for column in columns), 1)


def unpack(data: bytes, n: int) -> Points:
    """The `n` points that `pack` made bytes of.

    Raises:
        ValueError: the bytes are damaged.
    """
    try:
        raw = np.frombuffer(zlib.decompress(data), np.uint8)
    except zlib.error as error:
        raise ValueError(f"a block of points is damaged: {error}") from None
    if raw.size != 3 * 8 * n:
        raise ValueError(f"a block of points is damaged: {raw.size} bytes for {n} points")
    steps, times, values = (part.reshape(8, n).T.copy() for part in np.split(raw, 3))
    return Points(
        np.cumsum(steps.view("<i8").ravel(), dtype=np.int64),
        np.cumsum(times.view("<i8").ravel(), dtype=np.int64),
        values.view("<f8").ravel(),
    )


def _deltas(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.diff(numbers, prepend=np.int64(0)).astype("<i8")


def _shuffled(column: NDArray[np.int64] | NDArray[np.float64]) -> bytes:
    """All first bytes, then all second bytes, and so on: like stands beside like."""
    return np.ascontiguousarray(column).view(np.uint8).reshape(-1, 8).T.tobytes()
