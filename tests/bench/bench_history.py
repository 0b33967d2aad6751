"""What keeping a history costs: a trainer's calls, the flush, reading curves, listing runs, disk.

Prints one line per figure, with the bound it should stay within. The same points are also kept in a table with one
row per point, the obvious design, to compare with. The figures in microseconds are wall time, to be trusted on a
quiet machine only.

    python tests/bench/bench_history.py
"""

import contextlib
import math
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
from lmwb.core.history import recorder as recorder_module
from lmwb.core.history.database import open_database
from lmwb.core.history.ledger import StagePlan, begin_attempt, begin_stage, create_run
from lmwb.core.history.liveness import this_machine
from lmwb.core.history.queries import History
from lmwb.core.history.recorder import Recorder
from lmwb.core.home import Home
from make_history import make_many, make_trace

MILLION = 1_000_000


def main() -> None:
    recorder_module.FLUSH_SECONDS = 3600.0  # the writing is measured by itself
    show("import of the read side", "ms CPU", 1e3 * import_seconds("import lmwb.core.history.queries"), 60)
    with tempfile.TemporaryDirectory() as folder:
        for n, bound in ((1, 3), (10, 8)):
            median, p99 = call_seconds(Home(Path(folder, f"calls-{n}")), n)
            show(f"Recorder.metrics, {n} scalars: median", "µs", 1e6 * median, bound)
            show(f"Recorder.metrics, {n} scalars: p99", "µs", 1e6 * p99, 15 if n == 1 else 60)
        for metrics in (1, 10):
            ours = flush_seconds(Home(Path(folder, f"flush-{metrics}")), metrics)
            show(f"flush of 1,000 points, {metrics} metrics", "ms CPU", 1e3 * ours, 3)
        show("  one row per point", "ms CPU", 1e3 * NaiveTable(Path(folder, "flush.db")).add_seconds(1000))
        bench_curve(Path(folder))
        bench_list(Home(Path(folder, "list")))
    show(
        "sample of 256 tokens, 8 alternatives", "kB", len(make_trace("Once upon a time", 0.5, 0, 252).to_bytes()) / 1e3
    )


def show(what: str, unit: str, figure: float, bound: float | None = None) -> None:
    limit = "" if bound is None else f"   (at most {bound:g})"
    print(f"{what:<48} {figure:>9.2f} {unit:<7}{limit}", flush=True)


def import_seconds(code: str) -> float:
    """CPU seconds of the import in a fresh process, beyond those of an empty program."""
    return statistics.median(cpu_of(code) for _ in range(7)) - statistics.median(cpu_of("pass") for _ in range(7))


def cpu_of(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextlib.contextmanager
def recording(home: Home) -> Iterator[tuple[Recorder, int]]:
    """A recorder with a run to record; gives it and the stage's row id."""
    with contextlib.closing(open_database(home)) as connection:
        run_id = create_run(connection, "bench-22222", "bench", "", [StagePlan("train", "train")])
        attempt_id = begin_attempt(connection, run_id, this_machine())
        stage_id = connection.execute("SELECT id FROM stage WHERE run_id = ?", (run_id,)).fetchone()[0]
        begin_stage(connection, stage_id, MILLION, attempt_id, 0)
    recorder = Recorder(home, run_id, attempt_id, warn=print)
    time.sleep(0.2)  # the thread's first beat
    try:
        yield recorder, stage_id
    finally:
        recorder.close()


def call_seconds(home: Home, n: int) -> tuple[float, float]:
    """Median and 99th percentile of one call with n scalars."""
    names = [f"train/metric_{i}" for i in range(n)]
    took: list[int] = []
    with recording(home) as (recorder, stage_id):
        for step in range(50_000):
            values = dict.fromkeys(names, step * 0.5)
            begin = time.perf_counter_ns()
            recorder.metrics(stage_id, step, values)
            took.append(time.perf_counter_ns() - begin)
    return statistics.median(took) / 1e9, float(np.percentile(took, 99)) / 1e9


def flush_seconds(home: Home, metrics: int) -> float:
    """CPU seconds of a flush of 1,000 points, the packing of full blocks included."""
    names = [f"train/metric_{i}" for i in range(metrics)]
    took: list[float] = []
    with recording(home) as (recorder, stage_id):
        for step in range(30_000 // metrics):
            recorder.metrics(stage_id, step, {name: math.sin(step) for name in names})
            if (step + 1) % (1000 // metrics) == 0:
                begin = time.thread_time()
                recorder.flush()
                took.append(time.thread_time() - begin)
    return statistics.mean(took[2:])


def bench_curve(folder: Path) -> None:
    """A metric with a million points: its size, and the time to read it, whole and when it has grown."""
    home, naive = Home(folder / "curve"), NaiveTable(folder / "curve.db")
    values = curve(MILLION)
    naive.add(values)
    with recording(home) as (recorder, stage_id), contextlib.closing(History(home)) as history:
        for start in range(0, MILLION, 10_000):
            for step in range(start, start + 10_000):
                recorder.metrics(stage_id, step, {"train/loss": values[step]})
            recorder.flush()
        with contextlib.closing(open_database(home)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        show("disk, one metric of float32", "B/point", home.database.stat().st_size / MILLION, 9)
        show("  one row per point", "B/point", naive.path.stat().st_size / MILLION)
        naive_read = naive.read_seconds()
        first = best(lambda: read(home, stage_id), 5, time.process_time)
        show("reading 1,000,000 points", "ms CPU", 1e3 * first, 60)
        show("  one row per point", "ms CPU", 1e3 * naive_read)
        show("  times faster", "x", naive_read / first, None)
        history.points(stage_id, "train/loss")
        took: list[float] = []
        for start in range(MILLION, MILLION + 5000, 100):
            for step in range(start, start + 100):
                recorder.metrics(stage_id, step, {"train/loss": 1.0})
            recorder.flush()
            begin = time.thread_time()
            n = len(history.points(stage_id, "train/loss"))
            took.append(time.thread_time() - begin)
            assert n == start + 100
        show("reading them again with 100 more", "ms CPU", 1e3 * statistics.median(took), 5)


def read(home: Home, stage_id: int) -> None:
    with contextlib.closing(History(home)) as history:
        assert len(history.points(stage_id, "train/loss")) == MILLION


def bench_list(home: Home) -> None:
    make_many(home, 1000)
    with contextlib.closing(History(home)) as history:
        assert len(history.runs()) == 1000
        show("list of 1,000 runs", "ms CPU", 1e3 * best(history.runs, 5, time.process_time), 100)


def best(work: Callable[[], object], times: int, clock: Callable[[], float] = time.perf_counter) -> float:
    took: list[float] = []
    for _ in range(times):
        begin = clock()
        work()
        took.append(clock() - begin)
    return min(took)


def curve(n: int) -> list[float]:
    chance = np.random.default_rng(0)
    loss = 2.2 + 2.1 * np.exp(-np.arange(n) / n * 7) + chance.normal(0, 0.05, n)
    return loss.astype(np.float32).astype(float).tolist()


class NaiveTable:
    """One row per point."""

    def __init__(self, path: Path):
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = NORMAL")
        self.connection.execute(
            "CREATE TABLE point (run INTEGER, metric INTEGER, step INTEGER, t_us INTEGER, value REAL, "
            "PRIMARY KEY (run, metric, step)) WITHOUT ROWID"
        )

    def add(self, values: list[float]) -> None:
        now = time.time_ns() // 1000
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(
            "INSERT INTO point VALUES (1, 1, ?, ?, ?)", [(step, now + step, value) for step, value in enumerate(values)]
        )
        self.connection.execute("COMMIT")

    def add_seconds(self, n: int) -> float:
        values = curve(n)
        begin = time.thread_time()
        self.add(values)
        return time.thread_time() - begin

    def read_seconds(self) -> float:
        def whole() -> None:
            rows = self.connection.execute(
                "SELECT step, t_us, value FROM point WHERE run = 1 AND metric = 1 ORDER BY step"
            ).fetchall()
            steps, times, values = zip(*rows, strict=True)
            np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64)

        return best(whole, 2, time.process_time)


if __name__ == "__main__":
    main()
