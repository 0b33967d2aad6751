"""Processes that are killed, and processes that write at the same time: what was recorded is there, whole."""

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lmwb.core.history import database, recorder, series
from lmwb.core.history.database import open_database
from lmwb.core.home import Home
from make_history import make_trace
from small_history import FORKED, SmallRun, begin, in_process, reading, recording


class Told:
    """What a recording process has told, in memory that outlives it."""

    def __init__(self) -> None:
        self.newest = FORKED.Value("q", 0, lock=False)
        self.kept = FORKED.Value("q", 0, lock=False)

    def flushes(self, flush: Callable[..., bool]) -> Callable[..., bool]:
        """The flush, which notes up to which step it has kept everything when it is done."""

        def noted(*arguments: Any) -> bool:
            newest = self.newest.value
            done = flush(*arguments)
            if done:
                self.kept.value = newest
            return done

        return noted


def measure_until_killed(run: SmallRun, first_step: int, told: Told) -> None:
    recorder.FLUSH_SECONDS = 0.05
    series.MERGE_AFTER = 8
    series.BLOCK_POINTS = 512
    recorder.Recorder._flush = told.flushes(recorder.Recorder._flush)  # type: ignore[method-assign]
    with recording(run) as open_recorder:
        for step in range(first_step, 2**40):
            if step % 50 == 0:
                open_recorder.event("note", f"at {step}")
                open_recorder.sample(run.stage_id, step, 0, "a", make_trace("a b", 0.5, step, 5))
            open_recorder.metrics(run.stage_id, step, {"loss": step / 2, "norm": -step, "lr": 1.0})
            told.newest.value = step
            if step % 10 == 0:
                time.sleep(0.001)


def kill_and_look(home: Home, rounds: int, seed: int) -> None:
    """Kill a recording process at a random time, look, resume where it got to, and so on."""
    chance = random.Random(seed)
    told = Told()
    run, reached = begin(home), 0
    for _ in range(rounds):
        process = in_process(measure_until_killed, run, reached + 1, told)
        while told.newest.value <= reached:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        reached = look(run)
        assert told.kept.value <= reached <= told.newest.value + 1
        told.newest.value = told.kept.value = reached
        run = run.resumed(reached)


def look(run: SmallRun) -> int:
    """All metrics hold the same steps, without gap or repeat, with the right values, and what was told before a
    point that was kept was kept too; returns the last step.
    """
    with contextlib.closing(open_database(run.home)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    with reading(run.home) as history:
        points = {name: history.points(run.stage_id, name) for name in ("loss", "norm", "lr")}
        texts = [event.text for event in history.events(run.run_id)]
        samples = history.samples(run.stage_id)
        for entry in samples[-2:]:
            np.testing.assert_array_equal(history.sample(entry.id).ids, make_trace("a b", 0.5, entry.step, 5).ids)
    last = len(points["lr"])
    for name, factor in (("loss", 0.5), ("norm", -1.0)):
        np.testing.assert_array_equal(points[name].steps, np.arange(1, last + 1))
        np.testing.assert_array_equal(points[name].values, points[name].steps * factor)
    assert not any(part.damaged for part in points.values())
    due = list(range(50, last + 1, 50))
    assert [entry.step for entry in samples if entry.step <= last] == due
    assert set(texts) >= {f"at {step}" for step in due}
    return last


def test_kill_9_loses_nothing_that_was_flushed(tmp_path):
    kill_and_look(Home(tmp_path), rounds=20, seed=os.getpid())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_9_loses_nothing_that_was_flushed_many_times(tmp_path):
    for seed in range(10):
        kill_and_look(Home(tmp_path / str(seed)), rounds=50, seed=seed)


# -- many writers -----------------------------------------------------------------------------------------


def measure_beside_others(run: SmallRun, steps: int, barrier, complaints) -> None:
    recorder.FLUSH_SECONDS = 0.02
    with contextlib.closing(run.recorder(complaints.put)) as open_recorder:
        barrier.wait()
        for step in range(steps):
            open_recorder.metrics(run.stage_id, step, {f"metric-{i}": step + i for i in range(10)})
            open_recorder.progress(run.stage_id, step, steps)
            if step % 5 == 0:
                time.sleep(0.005)


def write_together(home: Home, writers: int, steps: int) -> None:
    complaints = FORKED.SimpleQueue()
    barrier = FORKED.Barrier(writers + 1)
    runs = [begin(home, uid=f"run-{i}") for i in range(writers)]
    processes = [in_process(measure_beside_others, run, steps, barrier, complaints) for run in runs]
    seen = dict.fromkeys(runs, 0)
    with reading(home) as history:
        barrier.wait()
        while any(process.is_alive() for process in processes):
            assert len(history.runs()) == writers
            for run in runs[:4]:
                n = len(history.points(run.stage_id, "metric-3"))
                assert n >= seen[run]
                seen[run] = n
            time.sleep(0.01)
        assert [process.exitcode for process in processes] == [0] * writers
        assert complaints.empty(), complaints.get()
        for run in runs:
            for i in range(10):
                np.testing.assert_array_equal(
                    history.points(run.stage_id, f"metric-{i}").values, np.arange(steps, dtype=float) + i
                )
    assert max(seen.values()) > 0
    with contextlib.closing(sqlite3.connect(home.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@pytest.mark.parametrize("own_lock", [True, False])  # newer versions of SQLite need none beside their own
def test_sixteen_writers_and_a_reader_get_along(tmp_path, monkeypatch, own_lock):
    monkeypatch.setattr(database, "_WAL_RESET_FIXED", (99,) if own_lock else (3,))
    write_together(Home(tmp_path), writers=16, steps=150)


@pytest.mark.slow
def test_sixty_four_writers_and_a_reader_get_along(tmp_path: Path):
    write_together(Home(tmp_path), writers=64, steps=1000)
