"""Event files that TensorBoard reads, beside the history; needs the package tensorboard.

Each stage's measurements go into the folder `tensorboard` in its own folder, a file for each attempt. A resumed attempt
begins with a mark that lets TensorBoard forget the points that it makes again.
"""

import importlib
import importlib.util
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RecipeError

FOLDER = "tensorboard"


def check_installed(origins: Mapping[str, str]) -> None:
    """Look whether event files can be written.

    Args:
        origins: where the values of the recipe that wants them come from.

    Raises:
        RecipeError: the package is missing.
    """
    if importlib.util.find_spec("tensorboard") is None:
        where = origins.get("log.tensorboard", "log.tensorboard")
        sentence = "event files need the package tensorboard; `pip install tensorboard`, or leave 'tensorboard' out"
        raise RecipeError([f"{where}: {sentence}"])


class EventFiles:
    """Takes a recorder's measurements and writes them as scalars."""

    def __init__(self) -> None:
        """Nothing is written before a stage opens its file."""
        self._writer: Any = None

    def open(self, stage_folder: Path, after: int) -> None:
        """A stage begins, or goes on after a step."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.close()
        self._writer = EventFileWriter(str(stage_folder / FOLDER))
        if after:
            start = _event_pb2().SessionLog(status=_event_pb2().SessionLog.START)
            self._write(after + 1, session_log=start)

    def add(self, _stage_id: int, step: int, values: Mapping[str, float]) -> None:
        """Measurements made at a step."""
        if self._writer is not None:
            summary_pb2: Any = importlib.import_module("tensorboard.compat.proto.summary_pb2")
            scalars = [summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
            self._write(step, summary=summary_pb2.Summary(value=scalars))

    def close(self) -> None:
        """Write what is waiting."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, step: int, **content: Any) -> None:
        self._writer.add_event(_event_pb2().Event(wall_time=time.time(), step=step, **content))


def _event_pb2() -> Any:
    """TensorBoard's messages; they are generated, and type checkers see nothing of them."""
    return importlib.import_module("tensorboard.compat.proto.event_pb2")
