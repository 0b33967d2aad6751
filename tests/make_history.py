"""Histories to try the app on: runs in every state, with curves, samples and logs that look real.

Everything is made from a seed and a fixed clock, so that pictures of screens stay the same.
"""

import contextlib
import json
import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lmwb.core.history.database import open_database
from lmwb.core.history.ledger import (
    StagePlan,
    begin_attempt,
    begin_stage,
    create_run,
    describe_environment,
    end_attempt,
    end_stage,
    name_worker,
)
from lmwb.core.history.liveness import take_lock, this_machine
from lmwb.core.history.recorder import Recorder
from lmwb.core.home import Home
from lmwb.core.tokens import TokenTrace

BEGIN_US = 1_760_000_000_000_000  # 2025-10-09 08:53:20 UTC
MINUTE_US = 60_000_000

PROMPTS = ("The with statement", "A generator is", "def fibonacci(n):")
RECIPE = """\
name = "{name}"
description = "Train a small GPT from scratch and watch it learn to speak."
seed = 0
device = "auto"

[[stage]]
kind = "train"
name = "train"
objective = "causal-lm"

[stage.model]
kind = "scratch"
type = "gpt2"

[stage.model.config]
n_layer = 4
n_embd = 128

[stage.train]
steps = {steps}
batch_size = 16
lr = 0.003
schedule = "cosine"

[stage.sample]
prompts = ["The with statement", "A generator is", "def fibonacci(n):"]
"""

_WORDS = (
    " is", " used", " to", " wrap", " the", " execution", " of", " a", " block", " with", " methods", " defined", " by",
    " context", " manager", ",", ".", " function", " which", " returns", " an", " iterator", " value", " None", " and",
    " expression", " evaluated", " object", " name", " class", "\n", " é", " 模型", " 🙂",
)  # fmt: skip


@dataclass
class Sketch:
    """A run to be made.

    Attributes:
        outcome: as in the history; None leaves the attempt open.
        alive: hold the run's lock, as a working process does (until the maker's `close`).
    """

    name: str
    steps: int = 800
    done: int = 800
    outcome: str | None = "finished"
    alive: bool = False
    begun: bool = True
    host: str | None = None
    message: str | None = None
    signal: int | None = None
    exit_code: int | None = None
    seed: int = 0
    spike: bool = False
    samples: bool = True
    prompts: Sequence[str] = PROMPTS
    log: str | None = None
    phase: str = "training"
    speed: float = 8.1
    facts: Mapping[str, Any] = field(
        default_factory=lambda: {
            "python": "3.11.2",
            "torch": "2.9.1",
            "device": "cpu",
            "host": "bench",
            "git": "4f2c1ab",
        }
    )


EVERY_STATE = (
    Sketch("probe · seed 0", 800, 312, "killed", signal=9, message="killed by SIGKILL: out of memory?", seed=7),
    Sketch("strategies", 400, 400, seed=6),
    Sketch("lora · rank 4", 400, 180, "stopped", seed=5, spike=True),
    Sketch("full · seed 0", 600, 600, seed=4),
    Sketch("glove baseline", 600, 40, "failed", exit_code=1, message="train/loss is not finite at step 40", seed=3),
    Sketch("remote sweep", 800, 200, None, host="gpu-box-7", seed=2),
    Sketch("lora · seed 1", 400, 90, None, alive=True, seed=1, speed=0.4),
    Sketch("warming up", 400, 0, None, alive=True, begun=False, samples=False, phase="starting"),
    Sketch("quickstart", 800, 412, None, alive=True, seed=0, speed=8.1),
)


class HistoryMaker:
    """Fills a home, and keeps some of its runs alive until it is closed."""

    def __init__(self, home: Home):
        self.home = home
        self.locks: list[int] = []
        self.lock_of: dict[str, int] = {}
        self.connection = open_database(home)
        self._t_us = BEGIN_US

    def __enter__(self) -> "HistoryMaker":
        return self

    def __exit__(self, *_: object) -> None:
        for lock in self.lock_of.values():
            os.close(lock)
        self.connection.close()

    def add(self, sketch: Sketch) -> str:
        """Make a run; returns its uid."""
        uid = f"{zlib.crc32(sketch.name.encode('utf-8', 'surrogatepass')):08x}-{self._t_us // MINUTE_US % 100000:05d}"
        folder = self.home.run_folder(uid)
        folder.mkdir(parents=True)
        recipe = RECIPE.format(name=sketch.name, steps=sketch.steps)
        run_id = create_run(self.connection, uid, sketch.name, recipe, [StagePlan("train", "train")], "recipe.toml")
        attempt_id = begin_attempt(self.connection, run_id, this_machine())
        stage_id = self._one("SELECT id FROM stage WHERE run_id = ?", run_id)
        if sketch.begun:
            name_worker(self.connection, attempt_id, 99_999_999, 1)  # no process has this number
            describe_environment(self.connection, attempt_id, sketch.facts, None)
            begin_stage(self.connection, stage_id, sketch.steps, attempt_id, 0)
            self._record(sketch, run_id, attempt_id, stage_id)
        if sketch.outcome == "finished":
            end_stage(self.connection, stage_id, {"validation": {"loss": 2.413, "perplexity": 11.17}})
        if sketch.outcome:
            end_attempt(
                self.connection,
                attempt_id,
                sketch.outcome,
                sketch.exit_code,
                sketch.signal,
                sketch.message,  # type: ignore[arg-type]
            )
        if sketch.alive:
            lock = take_lock(folder)
            assert lock is not None
            self.lock_of[uid] = lock
        self._set_clock(run_id, sketch)
        log = sketch.log if sketch.log is not None else _log(sketch)
        (folder / "log.txt").write_text(log, encoding="utf-8", errors="surrogateescape")
        return uid

    def kill(self, uid: str) -> None:
        """The run's process is gone from now on."""
        os.close(self.lock_of.pop(uid))

    def log(self, uid: str, step: int, values: Mapping[str, float]) -> None:
        """One more measurement of a run."""
        run_id = self._one("SELECT id FROM run WHERE uid = ?", uid)
        stage_id = self._one("SELECT id FROM stage WHERE run_id = ?", run_id)
        recorder = Recorder(self.home, run_id, self._one("SELECT id FROM attempt WHERE run_id = ?", run_id), print)
        row = self.connection.execute("SELECT total, speed FROM beat WHERE stage_id = ?", (stage_id,)).fetchone()
        recorder.metrics(stage_id, step, values)
        recorder.progress(stage_id, step, row["total"], "training", row["speed"])
        recorder.close()

    def _record(self, sketch: Sketch, run_id: int, attempt_id: int, stage_id: int) -> None:
        recorder = Recorder(self.home, run_id, attempt_id, lambda text: None)
        curve = _curve(sketch)
        for step in range(1, sketch.done + 1):
            recorder.metrics(stage_id, step, {name: float(values[step - 1]) for name, values in curve.items()})
        every = max(1, sketch.steps // 8)
        for step in range(every, sketch.done + 1, every):
            loss = 2.3 + 1.9 * np.exp(-step / 150)
            recorder.metrics(stage_id, step, {"validation/loss": loss, "validation/perplexity": float(np.exp(loss))})
            recorder.event("evaluation", f"validation perplexity {np.exp(loss):.1f}", stage_id=stage_id, step=step)
            best = step + every > sketch.done
            recorder.checkpoint(stage_id, step, f"train/checkpoints/step-{step:06d}", 3_400_000, best, {"loss": loss})
            for index, prompt in enumerate(sketch.prompts if sketch.samples else ()):
                recorder.sample(
                    stage_id, step, index, prompt, make_trace(prompt, step / sketch.steps, 100 * step + index)
                )
        if sketch.outcome in ("failed", "killed"):
            recorder.event("trouble", sketch.message or "ended", "error", stage_id, sketch.done)
        recorder.progress(stage_id, sketch.done, sketch.steps, sketch.phase, sketch.speed)
        recorder.close()

    def _set_clock(self, run_id: int, sketch: Sketch) -> None:
        """Put the run at a time that is the same whenever it is made."""
        begin, end = self._t_us, self._t_us + 5 * MINUTE_US
        self._t_us += 7 * MINUTE_US
        run = self.connection.execute
        run("UPDATE run SET created_us = ? WHERE id = ?", (begin, run_id))
        run("UPDATE attempt SET started_us = ? WHERE run_id = ?", (begin, run_id))
        run("UPDATE attempt SET ended_us = ? WHERE run_id = ? AND ended_us IS NOT NULL", (end, run_id))
        run("UPDATE event SET t_us = ? + 1000000 * coalesce(step, 0) WHERE run_id = ?", (begin, run_id))
        if sketch.host:
            run("UPDATE attempt SET host = ?, boot = 'elsewhere' WHERE run_id = ?", (sketch.host, run_id))

    def _one(self, statement: str, *values: object) -> Any:
        return self.connection.execute(statement, values).fetchone()[0]


def make_every_state(home: Home) -> HistoryMaker:
    """A home with a run in each state; close it to let them die."""
    maker = HistoryMaker(home)
    for sketch in EVERY_STATE:
        maker.add(sketch)
    return maker


def make_many(home: Home, n: int) -> None:
    """A home with n finished runs, cheaply: the last one has curves, the others their latest values only."""
    with HistoryMaker(home) as maker:
        maker.add(Sketch("first", 200, 200))
        with maker.connection:
            maker.connection.execute("BEGIN")
            _clone(maker.connection, n - 2)
            maker.connection.execute("COMMIT")
        maker.add(Sketch("last", 800, 800, seed=9))


def _clone(connection: sqlite3.Connection, n: int) -> None:
    here = this_machine()
    for i in range(n):
        at = BEGIN_US - i * MINUTE_US
        run = connection.execute(
            "INSERT INTO run (uid, name, created_us, recipe_toml, recipe_hash) VALUES (?, ?, ?, '', '')",
            (f"clone-{i:05d}", f"sweep lr={1e-4 * (1 + i % 40):.4g} seed={i // 40}", at),
        ).lastrowid
        stage = connection.execute(
            "INSERT INTO stage (run_id, position, name, kind, total) VALUES (?, 0, 'train', 'train', 800)", (run,)
        ).lastrowid
        attempt = connection.execute(
            "INSERT INTO attempt (run_id, sequence, host, boot, started_us, ended_us, outcome) "
            "VALUES (?, 0, ?, ?, ?, ?, ?)",
            (run, here.host, here.boot, at, at + MINUTE_US, ("finished", "stopped", "finished", "failed")[i % 4]),
        ).lastrowid
        connection.execute("INSERT INTO beat VALUES (?, 1, ?, 800, 800, 'training', 8.0)", (attempt, stage))
        connection.execute("INSERT INTO latest VALUES (?, 1, 800, ?, 2.1, 790, 4.2, 800)", (stage, 2.1 + i % 90 / 50))


def make_trace(prompt: str, progress: float, seed: int, length: int = 60) -> TokenTrace:
    """A text whose tokens get likelier as the training goes on."""
    chance = np.random.default_rng(seed)
    table = [word.encode() for word in _WORDS]
    start = [piece.encode("utf-8", "surrogateescape") for piece in _pieces(prompt)]
    pieces = dict(enumerate(table)) | {100 + i: piece for i, piece in enumerate(start)}
    ids = [100 + i for i in range(len(start))] + list(chance.integers(0, len(table), length))
    n, k = len(ids), 8
    probability = np.clip(chance.beta(0.6 + 3 * progress, 1.6, n), 1e-4, 0.99).astype(np.float32)
    rank = np.where(probability > 0.4, 1, chance.integers(1, 40, n)).astype(np.uint32)
    alternatives = np.stack([chance.permutation(len(table))[:k] for _ in range(n)]).astype(np.uint32)
    alternative_p = -np.sort(-chance.dirichlet(np.full(k, 0.7), n), axis=1).astype(np.float32) * 0.95 + 1e-4
    logprob = np.log(probability)
    logprob[0], rank[0] = np.nan, 0
    return TokenTrace(
        ids=np.array(ids, np.uint32),
        prompt_length=len(start),
        logprob=logprob,
        rank=rank,
        entropy=(4 * (1 - probability)).astype(np.float32),
        alternative_ids=alternatives,
        alternative_logprob=np.log(alternative_p),
        pieces=pieces,
    )


def _pieces(text: str) -> list[str]:
    words = text.split(" ")
    return [words[0], *(" " + word for word in words[1:])]


def _curve(sketch: Sketch) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(sketch.seed)
    step = np.arange(1, sketch.done + 1)
    loss = 2.2 + 2.1 * np.exp(-step / 140) + chance.normal(0, 0.05, sketch.done) * (1 + 2 * np.exp(-step / 100))
    if sketch.spike and sketch.done > 120:
        loss[100:104] = [np.nan, 6.0, np.inf, 4.0]
    warm = np.minimum(1, step / (0.05 * sketch.steps))
    return {
        "train/loss": loss,
        "train/lr": 3e-3 * warm * (0.525 + 0.475 * np.cos(np.pi * step / sketch.steps)),
        "train/gradient_norm": 0.4 + 0.8 * np.exp(-step / 60) + np.abs(chance.normal(0, 0.08, sketch.done)),
        "train/tokens_per_second": 16_500 + chance.normal(0, 300, sketch.done),
    }


def _log(sketch: Sketch) -> str:
    if not sketch.begun:
        return "loading the data …\n"
    lines = [
        "data: 311 documents, 1 204 for validation; 1 dropped: shorter than a block",
        "model: gpt2 from scratch, 1.06 M weights, on cpu",
        "probe: every weight gets a gradient; train mode equals eval mode",
    ]
    every = max(1, sketch.steps // 8)
    for step in range(every, sketch.done + 1, every):
        loss = 2.3 + 1.9 * np.exp(-step / 150)
        lines.append(
            f"step {step:>5}/{sketch.steps}   loss {loss + 0.03:.3f}   validation loss {loss:.3f}   checkpoint kept"
        )
    return "\n".join([*lines, *([sketch.message] if sketch.message else [])]) + "\n"


@contextlib.contextmanager
def live_run(home: Home, name: str = "live", per_second: float = 8.0, steps: int = 100_000) -> Iterator[str]:
    """A run that goes on while the context lasts, measured by the real recorder; gives its uid."""
    with HistoryMaker(home) as maker:
        uid = maker.add(Sketch(name, steps, 300, None, alive=True))
        run_id = maker._one("SELECT id FROM run WHERE uid = ?", uid)
        stage_id = maker._one("SELECT id FROM stage WHERE run_id = ?", run_id)
        attempt_id = maker._one("SELECT id FROM attempt WHERE run_id = ?", run_id)
        over = threading.Event()

        def work() -> None:
            recorder = Recorder(home, run_id, attempt_id, lambda text: None)
            chance = np.random.default_rng(1)
            step = 300
            while not over.wait(1 / per_second):
                step += 1
                loss = 2.2 + 2.1 * np.exp(-step / 140) + chance.normal(0, 0.05)
                values = {
                    "train/loss": loss,
                    "train/lr": 3e-3,
                    "train/gradient_norm": 0.4 + abs(chance.normal(0, 0.08)),
                }
                recorder.metrics(stage_id, step, values)
                recorder.progress(stage_id, step, steps, "training", per_second)
            recorder.close()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield uid
        finally:
            over.set()
            thread.join()


if __name__ == "__main__":  # python make_history.py FOLDER: a home to look at, alive until Ctrl-C
    import sys
    import time

    target = Home(Path(sys.argv[1]))
    with make_every_state(target), live_run(target, per_second=float(os.environ.get("RATE", "8"))):
        print(json.dumps({"home": str(target.root)}), flush=True)
        while True:
            time.sleep(3600)
