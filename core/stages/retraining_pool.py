"""Many retrainings, several at a time: each process reads the material once, and then trains one after the other."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..children import start_child, why_ended, work_as_child
from ..errors import ExitCode, Stopped
from ..home import Home
from ..recipe.schema import STUDIES, AnyInfluence, tag_of
from ..text import duration
from ..training.distribution import share_cores
from .asked import read_queries
from .context import StageContext
from .retraining import Retrainer, Retraining
from .studied import read_training

_LOOK_SECONDS = 0.2
_TOLD = 20
"""How often progress is told in the log."""


def retrain_all(
    wanted: Sequence[Retraining],
    retrainer: Retrainer,
    stage: AnyInfluence,
    context: StageContext,
    home: Home,
    jobs: int,
) -> NDArray[np.float64]:
    """What the queries lose after each training, (trainings, queries) in nats; those done before are not done again.

    Raises:
        LmwbError: a training cannot be done; the others that have ended are kept.
        Stopped: the user asked for it; what has ended is kept.
    """
    missing = [number for number, each in enumerate(wanted) if retrainer.kept(each) is None]
    pool = _Pool(wanted, missing, context)
    if jobs == 1 or len(missing) < 2:
        pool.work_alone(retrainer)
    else:
        pool.work(stage, home, min(jobs, len(missing)))
    return np.stack([retrainer.done(each) for each in wanted])


class _Pool:
    """The retrainings that are not done yet."""

    def __init__(self, wanted: Sequence[Retraining], missing: Sequence[int], context: StageContext):
        self._wanted, self._waiting, self._context = wanted, deque(missing), context
        self._before = len(wanted) - len(missing)
        self._through = 0
        self._began = time.monotonic()
        if self._before:
            context.tell(f"{self._before} of {len(wanted)} trainings were done before")

    def work_alone(self, retrainer: Retrainer) -> None:
        """One after the other, in this process."""
        self._report()
        while self._waiting:
            retrainer.done(self._wanted[self._waiting.popleft()], self._look)
            self._note_one()

    def work(self, stage: AnyInfluence, home: Home, jobs: int) -> None:
        """Several at a time, each in a process of its own."""
        self._report()
        heard: queue.Queue[tuple[int, str | None]] = queue.Queue()
        with self._children(stage, home, jobs, heard) as children:
            busy: dict[int, int] = {}
            for number, child in enumerate(children):
                busy[number] = self._give(child)
            while busy:
                self._look()
                try:
                    number, line = heard.get(timeout=_LOOK_SECONDS)
                except queue.Empty:
                    continue
                told = {} if line is None else json.loads(line)
                if "done" not in told:
                    code = children[number].wait()
                    of = self._wanted[busy[number]]
                    name = f"training {busy[number] + 1} of {len(self._wanted)} (seed {of.seed})"
                    raise why_ended(name, line or "", code)
                del busy[number]
                self._note_one()
                if self._waiting:
                    busy[number] = self._give(children[number])

    def _give(self, child: "subprocess.Popen[str]") -> int:
        """Let a process do the next training; returns its number."""
        number = self._waiting.popleft()
        wanted = self._wanted[number]
        _say(child, {"number": number, "rows": [int(row) for row in wanted.rows], "seed": wanted.seed})
        return number

    @contextmanager
    def _children(
        self, stage: AnyInfluence, home: Home, jobs: int, heard: "queue.Queue[tuple[int, str | None]]"
    ) -> Generator[list["subprocess.Popen[str]"]]:
        """The processes; none of them is left at the end."""
        children: list[subprocess.Popen[str]] = []
        try:
            for number in range(jobs):
                child = start_child("lmwb.core.stages.retraining_pool")
                children.append(child)
                threading.Thread(target=_listen, args=(number, child, heard), daemon=True).start()
                told = stage.model_dump(mode="json", by_alias=True)
                device = str(_device(number, self._context.device))
                question = {"home": str(home.root), "stage": told, "device": device, "jobs": jobs}
                _say(child, {**question, "cache": str(self._context.cache)})
            yield children
        finally:
            for child in children:
                child.kill()  # what a training comes to is written whole or not at all
                child.wait()

    def _look(self) -> None:
        if self._context.stop_wanted():
            done = self._before + self._through
            self._context.tell(
                f"stopped as asked; {done} of {len(self._wanted)} trainings are done and kept", kind="stopped"
            )
            raise Stopped

    def _note_one(self) -> None:
        self._through += 1
        self._report()
        missing = len(self._wanted) - self._before
        if self._through % max(1, missing // _TOLD) == 0 or self._through == missing:
            each = (time.monotonic() - self._began) / self._through
            left = f", about {duration(each * (missing - self._through))} left" if self._through < missing else ""
            self._context.tell(f"trained {self._before + self._through} of {len(self._wanted)}{left}")

    def _report(self) -> None:
        speed = self._through / (time.monotonic() - self._began) if self._through else None
        done = self._before + self._through
        self._context.recorder.progress(self._context.stage_id, done, len(self._wanted), "retraining", speed)


def _device(number: int, device: torch.device) -> torch.device:
    """Each process's own GPU, as far as there are enough; one that the recipe names is everybody's."""
    if str(device) != "cuda":
        return device
    return torch.device("cuda", number % torch.cuda.device_count())


def _say(child: "subprocess.Popen[str]", line: dict[str, Any]) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(json.dumps(line) + "\n")
        child.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended, which is heard from its other pipe


def _listen(number: int, child: "subprocess.Popen[str]", heard: "queue.Queue[tuple[int, str | None]]") -> None:
    """Pass on what a process says, and at last that it says no more."""
    assert child.stdout is not None
    for line in child.stdout:
        heard.put((number, line))
    heard.put((number, None))


# -- the other side -------------------------------------------------------------------------------


def main() -> int:
    """Train what is asked for, line by line, until nobody is left who asks; returns the exit code."""
    asked: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_hear, args=(asked,), daemon=True).start()
    return work_as_child(lambda report: _work(asked, report))


def _hear(asked: "queue.Queue[str | None]") -> None:
    """Hand on what is asked; once the other end is gone, so is this process, whatever it does."""
    for line in sys.stdin:
        asked.put(line)
    os._exit(ExitCode.OK)


def _work(asked: "queue.Queue[str | None]", report: Callable[[dict[str, Any]], None]) -> None:
    from ..models.loading import quiet

    quiet()
    question = json.loads(asked.get() or "")
    device = torch.device(question["device"])
    share_cores(question["jobs"], device)
    kind = next(each for each in STUDIES if tag_of(each) == question["stage"]["kind"])
    stage = kind.model_validate_json(json.dumps(question["stage"]))
    studied = read_training(stage.of, Home(Path(question["home"])), Path(question["cache"]), lambda _: None)
    retrainer = Retrainer(studied, read_queries(stage, studied)[0], device)
    while (line := asked.get()) is not None:
        wanted = json.loads(line)
        retrainer.done(Retraining(wanted["rows"], wanted["seed"]))
        report({"done": wanted["number"]})


if __name__ == "__main__":
    sys.exit(main())
