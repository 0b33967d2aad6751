"""Histories of experiments: runs with members, each through several stages, and what their comparison found."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lmwb.core import tables
from lmwb.core.comparison import compare, outcomes_of
from lmwb.core.history.ledger import StagePlan, begin_attempt, begin_stage, create_run, end_attempt, end_stage
from lmwb.core.history.liveness import take_lock, this_machine
from lmwb.core.history.queries import History
from lmwb.core.history.recorder import Recorder
from make_history import HistoryMaker, Sketch

STRATEGIES: dict[str, tuple[float, int]] = {
    "scratch": (0.804, 1_204_226),
    "full": (0.862, 1_204_226),
    "linear-probe": (0.711, 258),
    "adapters": (0.858, 33_282),
    "lora": (0.851, 4_354),
}
"""Accuracy and trained weights of each."""

STEPS = 400


def add_experiment(
    maker: HistoryMaker,
    name: str = "strategies",
    labels: Sequence[str] = ("seed 0", "seed 1", "seed 2", "seed 3"),
    strategies: Mapping[str, tuple[float, int]] = STRATEGIES,
    over: int = 4,
    going: int = 0,
    uid: str = "",
) -> str:
    """A run with a member for each label; the first `over` have finished, the next `going` are at their second stage.

    Once all have finished, the run itself has compared them and has finished too. Returns its id.
    """
    uid = uid or f"{name}-{len(labels)}{over}{going}xy"
    plans = [StagePlan("compare", "compare")]
    parent = create_run(maker.connection, uid, name, f'name = "{name}"\n', plans, "recipe.toml")
    attempt = begin_attempt(maker.connection, parent, this_machine())
    recorder = Recorder(maker.home, parent, attempt, lambda text: None)
    recorder.progress(None, over, len(labels), "members")
    recorder.close()
    _folder(maker, uid, lock=over < len(labels))
    maker._set_clock(parent, Sketch(name))
    for place, label in enumerate(labels[: over + going]):
        _add_member(maker, parent, uid, name, label, place, strategies, place < over)
    if over == len(labels):
        stage = maker._one("SELECT id FROM stage WHERE run_id = ?", parent)
        begin_stage(maker.connection, stage, 0, attempt, 0)
        end_stage(maker.connection, stage, _comparison(maker, parent))
        end_attempt(maker.connection, attempt, "finished", 0, None, None)
    return uid


def _comparison(maker: HistoryMaker, parent: int) -> dict[str, Any]:
    with contextlib.closing(History(maker.home)) as history:
        return tables.facts(compare(outcomes_of(history, [history.run(parent)])))


def _add_member(
    maker: HistoryMaker,
    parent: int,
    parent_uid: str,
    name: str,
    label: str,
    place: int,
    strategies: Mapping[str, tuple[float, int]],
    over: bool,
) -> None:
    uid = f"{parent_uid}-{place + 1}"
    plans = [StagePlan(each, "train") for each in strategies]
    recipe = f'name = "{name}"\nseed = {place}\n'
    run = create_run(maker.connection, uid, name, recipe, plans, "recipe.toml", parent, label)
    attempt = begin_attempt(maker.connection, run, this_machine())
    rows = maker.connection.execute("SELECT id FROM stage WHERE run_id = ? ORDER BY position", (run,)).fetchall()
    recorder = Recorder(maker.home, run, attempt, lambda text: None)
    for number, (strategy, (accuracy, trained)) in enumerate(strategies.items()):
        if not over and number > 1:
            break
        steps = STEPS if over or number == 0 else STEPS // 2
        stage = rows[number][0]
        begin_stage(maker.connection, stage, STEPS, attempt, 0)
        figures = _record(recorder, stage, steps, accuracy, 10 * number + place)
        recorder.progress(stage, steps, STEPS, "training", 8.1)
        if steps == STEPS:
            end_stage(maker.connection, stage, _summary(figures, strategy, trained, number))
    recorder.close()
    if over:
        end_attempt(maker.connection, attempt, "finished", 0, None, None)
    _folder(maker, uid, lock=not over)
    maker._set_clock(run, Sketch(name))


def _record(recorder: Recorder, stage: int, steps: int, accuracy: float, seed: int) -> dict[str, float]:
    """Curves of training and validation; the last figures of validation."""
    chance = np.random.default_rng(seed)
    offset = float(chance.normal(0, 0.008))
    figures = {"loss": 0.7, "accuracy": 0.5}
    for step in range(1, steps + 1):
        loss = 0.69 * np.exp(-step / 200) + 0.5 * (1 - accuracy) + chance.normal(0, 0.03)
        recorder.metrics(stage, step, {"train/loss": float(loss), "train/lr": 1e-3})
        if step % 50 == 0:
            reached = accuracy + offset - (accuracy - 0.5) * float(np.exp(-step / 90))
            figures = {"loss": float(loss) + 0.05, "accuracy": reached}
            recorder.metrics(stage, step, {f"validation/{name}": value for name, value in figures.items()})
            recorder.event("evaluation", f"validation accuracy {reached:.3f}", stage_id=stage, step=step)
    return figures


def _summary(figures: dict[str, float], strategy: str, trained: int, number: int) -> dict[str, Any]:
    total = max(trained, 1_204_226)
    return {
        "steps": STEPS,
        "result_step": STEPS,
        "parameters": total,
        "trained": trained,
        "trained_percent": 100 * trained / total,
        "seconds": 50.0 + 9 * number,
        "seconds_per_step": (50.0 + 9 * number) / STEPS,
        "peak_bytes": 420_000_000 + 11_000_000 * number,
        "tokens": 1_000_000,
        "bad_steps": 0,
        "model": f"{strategy}/model",
        "validation/before": {"loss": 0.7, "accuracy": 0.5},
        "validation": figures,
        "test": {name: value - 0.003 for name, value in figures.items()},
    }


def _folder(maker: HistoryMaker, uid: str, lock: bool) -> None:
    folder = maker.home.run_folder(uid)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("seed 0: done\nseed 1: full, step 200 of 400\n", encoding="utf-8")
    if lock:
        held = take_lock(folder)
        assert held is not None
        maker.lock_of[uid] = held
