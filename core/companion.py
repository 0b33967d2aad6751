"""A process that trains, or looks for influence, beside a run's worker, as one of its crew.

It does its share of each step and tells nothing: it has no lock, no recorder and no log of its own. It ends when the
worker closes its standard input, or dies, which closes it too. If something goes wrong here, one line of JSON on
standard output says what; whatever else is printed goes to the run's log.
"""

import os
import shutil
import sys
import threading
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from .children import work_as_child
from .errors import Stopped
from .history.queries import History
from .home import Home
from .recipe import thaw
from .recipe.schema import TRAIN_STAGES, InfluenceStage, Recipe
from .references import resolved
from .stages.context import StageContext

if TYPE_CHECKING:
    import torch

    from .history.recorder import Level, Recorder
    from .training.distribution import Team


def main(arguments: list[str]) -> int:
    """Work along: HOME UID NUMBER SIZE MEETING DEVICE; returns the exit code."""
    root, uid, number, size, meeting, device = arguments
    threading.Thread(target=_end_with_the_worker, args=(Path(meeting).parent,), daemon=True).start()
    return work_as_child(lambda _: _work(Home(Path(root)), uid, int(number), int(size), meeting, device))


def _end_with_the_worker(folder: Path) -> None:
    """Wait until nobody holds the other end of the pipe, and leave at once, whatever is being done."""
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _work(home: Home, uid: str, number: int, size: int, meeting: str, first: str) -> None:
    import torch

    from .models.loading import quiet
    from .stages import influence, train
    from .training.distribution import Team, device_of, share_cores, store_in

    quiet()
    device = device_of(number, torch.device(first))
    share_cores(size, device)
    team = Team(number, size, store_in(Path(meeting), size), device)
    with closing(History(home)) as history:
        run = history.find(uid)
        recipe = thaw(history.recipe(run.id))
    while True:
        stage = resolved(recipe, team.announced(None), run.folder, home)
        context = _context(recipe, stage.name, run.folder, home, device, team)
        with suppress(Stopped):
            if isinstance(stage, InfluenceStage):
                influence.follow(stage, context, home)
            else:
                assert isinstance(stage, TRAIN_STAGES)
                train.follow(stage, context)


def _context(
    recipe: Recipe, stage: str, run_folder: Path, home: Home, device: "torch.device", team: "Team"
) -> StageContext:
    return _Silent(
        stage_id=0,
        run_folder=run_folder,
        folder=run_folder / stage,
        recorder=cast("Recorder", None),  # the first process's business
        begin=lambda _total, _after: None,
        stop_wanted=lambda: False,
        cache=home.cache,
        seed=recipe.seed,
        device=device,
        team=team,
    )


@dataclass(frozen=True)
class _Silent(StageContext):
    """A stage's place in a process that tells nothing: the first one tells the same."""

    def tell(self, text: str, step: int | None = None, kind: str = "note", level: "Level" = "info") -> None:
        """Say nothing."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
