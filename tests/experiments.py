"""Histories of experiments, made by hand: strategies over seeds with known figures."""

import contextlib
import math
from collections.abc import Mapping, Sequence

from lmwb.core.history.database import open_database
from lmwb.core.history.ledger import StagePlan, begin_attempt, begin_stage, create_run, end_attempt, end_stage
from lmwb.core.history.liveness import this_machine
from lmwb.core.history.recorder import Recorder
from lmwb.core.home import Home

STEPS = 60


def make_experiment(
    home: Home,
    accuracies: Mapping[str, Sequence[float | None]],
    uid: str = "exp-abcde",
    seeds: Sequence[int] = (0, 1, 2, 3),
    trained: Mapping[str, int] | None = None,
    curves: bool = False,
    extra: Mapping[str, object] | None = None,
    recipe: str = "",
) -> None:
    """A finished experiment: a stage for each strategy, a member for each seed; None where one failed."""
    with contextlib.closing(open_database(home)) as connection:
        name = uid.rpartition("-")[0]
        parent = create_run(connection, uid, name, recipe or f"name = '{name}'", [])
        end_attempt(connection, begin_attempt(connection, parent, this_machine()), "finished", 0)
        for number, seed in enumerate(seeds):
            own = f"name = '{name}'\nseed = {seed}"
            plans = [StagePlan(stage, "train") for stage in accuracies]
            run_id = create_run(connection, f"{uid}-{number + 1}", name, own, plans, None, parent, f"seed {seed}")
            attempt = begin_attempt(connection, run_id, this_machine())
            home.run_folder(f"{uid}-{number + 1}").mkdir(parents=True)
            rows = connection.execute("SELECT id FROM stage WHERE run_id = ? ORDER BY position", (run_id,)).fetchall()
            failed = False
            for (stage_id,), (stage, values) in zip(map(tuple, rows), accuracies.items(), strict=True):
                accuracy = values[number]
                if accuracy is None:
                    failed = True
                    continue
                begin_stage(connection, stage_id, STEPS, attempt, 0)
                if curves:
                    _record(home, run_id, attempt, stage_id, accuracy, seed)
                summary = {
                    "steps": STEPS,
                    "parameters": 120_000,
                    "trained": (trained or {}).get(stage, 120_000),
                    "seconds": 6.0,
                    "seconds_per_step": 0.1,
                    "peak_bytes": 400_000_000,
                    "validation/before": {"accuracy": 0.5, "loss": 0.7},
                    "validation": {"accuracy": accuracy - 0.01, "loss": 1 - accuracy},
                    "test": {"accuracy": accuracy, "loss": 1 - accuracy},
                    **(extra or {}).get(stage, {}),  # type: ignore[dict-item]
                }
                end_stage(connection, stage_id, summary)
            message = "RuntimeError: out of luck" if failed else None
            end_attempt(connection, attempt, "failed" if failed else "finished", int(failed), message=message)


def _record(home: Home, run_id: int, attempt: int, stage_id: int, accuracy: float, seed: int) -> None:
    with contextlib.closing(Recorder(home, run_id, attempt, warn=print)) as recorder:
        for step in range(1, STEPS + 1):
            wave = math.sin(step * (seed + 2)) / 20
            loss = 0.3 + math.exp(-step / 20) + wave
            rate = 1e-3 * min(step / 6, (STEPS - step) / (STEPS - 6))
            recorder.metrics(stage_id, step, {"train/loss": loss, "train/lr": rate})
            if step % 6 == 0:
                shape = 1 - math.exp(-step / 15)
                figures = {
                    "validation/loss": loss + 0.1,
                    "validation/accuracy": 0.5 + (accuracy - 0.5) * shape + wave / 4,
                }
                recorder.metrics(stage_id, step, figures)
