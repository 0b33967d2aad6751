"""Reading curves as often as is worth it: those that have not grown are kept, long ones are read less often."""

import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..core.history.queries import History, Latest

if TYPE_CHECKING:
    from ..core.history.blocks import Points

_SHARE = 0.05
"""Share of the time that may be spent on reading one curve again."""


class CurveReader:
    """Keeps what it has read of the stages that were asked for last."""

    def __init__(self) -> None:
        self._points: dict[tuple[int, str], Points] = {}
        self._read_at: dict[tuple[int, str], tuple[int, float]] = {}
        self._asked: set[int] = set()

    def read(
        self, history: History, stage_id: int, metrics: dict[str, Latest], wanted: Collection[str]
    ) -> "dict[str, Points]":
        """The points of a stage's metrics by name; the same objects as before where nothing is new.

        Args:
            history: where to read.
            stage_id: of which stage.
            metrics: what the stage has measured.
            wanted: groups of metrics: ``loss`` for ``train/loss``, ``validation/loss`` and so on.

        Raises:
            ValueError: a record is damaged.
        """
        self._asked.add(stage_id)
        names = [name for name in metrics if name.rpartition("/")[2] in wanted]
        return {name: self._one(history, (stage_id, name), metrics[name].n) for name in names}

    def forget_the_rest(self) -> None:
        """Let go of the stages that have not been asked for since this was last called."""
        for kept in (self._points, self._read_at):
            for key in [key for key in kept if key[0] not in self._asked]:
                del kept[key]
        self._asked.clear()

    def _one(self, history: History, key: tuple[int, str], n: int) -> "Points":
        n_read, not_before = self._read_at.get(key, (-1, 0.0))
        start = time.monotonic()
        if key in self._points and (n_read == n or start < not_before):
            return self._points[key]
        self._points[key] = history.points(*key)
        end = time.monotonic()
        self._read_at[key] = (n, end + (end - start) / _SHARE)
        return self._points[key]
