"""A run with nothing in it, to record into: what the tests of the history start from."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lmwb.core.history.database import open_database
from lmwb.core.history.ledger import StagePlan, begin_attempt, begin_stage, create_run
from lmwb.core.history.liveness import this_machine
from lmwb.core.history.queries import History
from lmwb.core.history.recorder import Recorder
from lmwb.core.home import Home

FORKED = multiprocessing.get_context("fork")  # new processes that need not import everything again


@dataclass(frozen=True)
class SmallRun:
    """A run's row ids; `attempt_id` is its latest attempt."""

    home: Home
    run_id: int
    attempt_id: int
    stage_ids: tuple[int, ...]

    @property
    def stage_id(self) -> int:
        return self.stage_ids[0]

    def resumed(self, step: int | None, stage: int = 0) -> "SmallRun":
        """The run with one more attempt, from the step; with None the attempt has not begun its work."""
        with contextlib.closing(open_database(self.home)) as connection:
            attempt_id = begin_attempt(connection, self.run_id, this_machine())
            if step is not None:
                begin_stage(connection, self.stage_ids[stage], 1000, attempt_id, step)
        return SmallRun(self.home, self.run_id, attempt_id, self.stage_ids)

    def recorder(self, warn: Callable[[str], None] | None = None) -> Recorder:
        return Recorder(self.home, self.run_id, self.attempt_id, warn or (lambda text: None))


def begin(home: Home, uid: str = "small-22222", name: str = "small", stages: int = 1) -> SmallRun:
    with contextlib.closing(open_database(home)) as connection:
        plans = [StagePlan(f"stage-{i}", "train") for i in range(stages)]
        run_id = create_run(connection, uid, name, 'name = "small"', plans)
        attempt_id = begin_attempt(connection, run_id, this_machine())
        rows = connection.execute("SELECT id FROM stage WHERE run_id = ? ORDER BY position", (run_id,))
        stage_ids = tuple(row[0] for row in rows)
        begin_stage(connection, stage_ids[0], 1000, attempt_id, 0)
    home.run_folder(uid).mkdir(parents=True, exist_ok=True)
    return SmallRun(home, run_id, attempt_id, stage_ids)


@contextlib.contextmanager
def recording(run: SmallRun) -> Iterator[Recorder]:
    with contextlib.closing(run.recorder()) as open_recorder:
        yield open_recorder


def record(run: SmallRun, steps: range, stage: int = 0, sign: float = 1.0) -> None:
    """One attempt's measurements of ``loss``: at each step, the step times the sign."""
    with recording(run) as open_recorder:
        for step in steps:
            open_recorder.metrics(run.stage_ids[stage], step, {"loss": sign * step})


@contextlib.contextmanager
def reading(home: Home) -> Iterator[History]:
    with contextlib.closing(History(home)) as history:
        yield history


def curve(home: Home, stage_id: int, metric: str = "loss") -> dict[int, float]:
    """The metric's values by step, as a reader finds them who has not looked before."""
    with reading(home) as history:
        points = history.points(stage_id, metric)
    assert points.damaged == 0
    assert len(set(points.steps.tolist())) == len(points), "a step is there twice"
    return dict(zip(points.steps.tolist(), points.values.tolist(), strict=True))


def in_process(work: Callable[..., None], *arguments: Any) -> Any:
    """Do the work in a process of its own, which has been started; its exit code tells whether it went well."""
    process = FORKED.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process
