"""What a stage is given to work with."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..history.recorder import Level, Recorder

if TYPE_CHECKING:
    import torch

    from ..training.distribution import Team


@dataclass(frozen=True)
class StagePlace:
    """A stage's place in the run.

    Attributes:
        stage_id: its row in the history.
        run_folder: the run's folder.
        folder: the stage's own folder within it.
        recorder: takes what is measured.
        begin: to be called with (total steps, step resumed from) once both are known.
        stop_wanted: whether the user asked the run to stop.
    """

    stage_id: int
    run_folder: Path
    folder: Path
    recorder: Recorder
    begin: Callable[[int | None, int], None]
    stop_wanted: Callable[[], bool]

    def tell(self, text: str, step: int | None = None, kind: str = "note", level: Level = "info") -> None:
        """Say something in the log and among the run's events."""
        place = "" if step is None else f"step {step}  "
        with suppress(OSError):  # a full disk must not end the run for want of a log line
            print(f"{time.strftime('%H:%M:%S')}  {place}{text}", flush=True)
        self.recorder.event(kind, text, level, self.stage_id, step)


@dataclass(frozen=True)
class StageContext(StagePlace):
    """What a stage that trains is given besides its place.

    Attributes:
        cache: a folder for what can be made again, shared by all runs.
        seed: of the run.
        device: to compute on.
        team: the processes that train together; None for one.
    """

    cache: Path
    seed: int
    device: "torch.device"
    team: "Team | None" = None
