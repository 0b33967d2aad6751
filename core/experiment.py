"""The work of a run with members: launch them, so many at a time, watch over them, and tell how they ended.

The members are runs of their own, with processes of their own. Whatever ends this process leaves them running; resumed,
it takes up those that still run, leaves those that have finished, and tries the others again.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from . import runs
from .errors import ExitCode, Stopped, UsageError
from .history.queries import OPEN_STATES, History, Run
from .history.recorder import Level, Recorder
from .home import Home
from .recipe import Recipe
from .recipe.members import Member

LOOK_SECONDS = 0.5
_NAMED = 3
"""Members that a sentence names one by one."""


@dataclass(frozen=True)
class Slot:
    """Room for one member at a time; `environment` are the variables that give it its share of the machine."""

    environment: Mapping[str, str]


def make_slots(recipe: Recipe) -> list[Slot]:
    """As many as members may run at the same time: `jobs`, or as many as there are GPUs for, or one.

    On a machine with several GPUs each slot gets one, or as many as a member has `processes`; on a CPU each gets its
    share of the cores.
    """
    gpus = _gpus() if recipe.device in ("auto", "cuda") else []
    if gpus:
        each = len(gpus) // (recipe.jobs or 1) if recipe.processes == "gpus" else recipe.processes
        each = min(max(1, each), len(gpus))
        jobs = recipe.jobs or len(gpus) // each
        taken = [[gpus[(number * each + at) % len(gpus)] for at in range(each)] for number in range(jobs)]
        return [Slot({"CUDA_VISIBLE_DEVICES": ",".join(some)}) for some in taken]
    jobs = recipe.jobs or 1
    if jobs == 1 or recipe.device not in ("auto", "cpu") or "OMP_NUM_THREADS" in os.environ:
        return [Slot({})] * jobs
    each = recipe.processes if isinstance(recipe.processes, int) else 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [Slot({"OMP_NUM_THREADS": str(max(1, cores // jobs // each))})] * jobs


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; another process looks, with torch."""
    code = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    number = int(done.stdout) if done.stdout.strip().isdecimal() else 0
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(each) for each in range(number)])[:number]


class Experiment:
    """One attempt at all members."""

    def __init__(
        self,
        home: Home,
        parent: Run,
        members: list[Member],
        slots: list[Slot],
        recorder: Recorder,
        stop_wanted: Callable[[], bool],
    ):
        """`parent` is the run whose members they are, `recorder` its own."""
        self._home = home
        self._parent = parent
        self._members = {member.label: (number, member) for number, member in enumerate(members, 1)}
        self._free = list(slots)
        self._recorder = recorder
        self._stop_wanted = stop_wanted
        self._running: dict[str, Slot | None] = {}
        self._waiting: list[str] = []
        self._asked: set[str] = set()
        self._began = time.monotonic()
        self._ended_here = 0

    def run(self) -> str | None:
        """Work until every member is through; returns what is wrong with those that have not finished, if any.

        Raises:
            Stopped: the user asked for it; no member runs any more.
        """
        with closing(History(self._home)) as history:
            self._take_up(history)
            while self._running or self._waiting:
                if self._stop_wanted():
                    self._waiting.clear()
                    self._ask_to_stop(history)
                else:
                    self._fill_slots(history)
                self._report(history)
                time.sleep(LOOK_SECONDS)
                self._gather(history)
            self._report(history)
            if self._stop_wanted():
                through = sum(run.state == "finished" for run in self._known(history).values())
                self._tell(f"stopped as asked; {through} of {len(self._members)} members have finished")
                raise Stopped
            return self._unfinished(history)

    # -- members ----------------------------------------------------------------------------------

    def _known(self, history: History) -> dict[str, Run]:
        """The members that have been launched, by label."""
        return {run.member or "": run for run in history.members(self._parent.id)}

    def _take_up(self, history: History) -> None:
        """See which members are done, which still run, and which are to be launched."""
        known = self._known(history)
        for label in self._members:
            state = known[label].state if label in known else None
            if state in OPEN_STATES:
                self._running[label] = self._free.pop(0) if self._free else None
            elif state != "finished":
                self._waiting.append(label)
        finished = len(self._members) - len(self._running) - len(self._waiting)
        parts = [f"{len(self._members)} members"]
        parts += [f"{finished} have finished"] if finished else []
        parts += [f"{len(self._running)} still run"] if self._running else []
        self._tell(", ".join(parts))

    def _fill_slots(self, history: History) -> None:
        while self._free and self._waiting:
            slot, label = self._free.pop(0), self._waiting.pop(0)
            self._running[label] = slot
            number, member = self._members[label]
            known = self._known(history).get(label)
            try:
                if known is None:
                    run = runs.launch_member(self._home, self._parent, number, member, slot.environment)
                else:
                    run = runs.resume(self._home, known, slot.environment)
            except UsageError as error:  # somebody else has just begun it
                self._tell(f"{label}: {error}", "warning")
                continue
            self._tell(f"{label}: {'begins' if known is None else 'goes on'} as {run.uid}")

    def _gather(self, history: History) -> None:
        """Take note of members that have ended."""
        known = self._known(history)
        for label in list(self._running):
            run = known.get(label)
            if run is not None and run.state in OPEN_STATES and run.state != "elsewhere":
                continue
            slot = self._running.pop(label)
            if slot is not None:
                self._free.append(slot)
            self._ended_here += 1
            self._tell(*_ending(label, run))

    def _ask_to_stop(self, history: History) -> None:
        """Ask every member that runs, once; one that is only just starting is asked again later."""
        known = self._known(history)
        for label in self._running:
            if label in self._asked or label not in known:
                continue
            try:
                runs.stop(known[label])
                self._asked.add(label)
            except UsageError:
                continue

    # -- telling ----------------------------------------------------------------------------------

    def _report(self, history: History) -> None:
        """How many members are through, and what the others do."""
        known = self._known(history)
        working = [_doing(label, known[label]) for label in self._running if label in known]
        through = len(self._members) - len(self._running) - len(self._waiting)
        phase = ", ".join(working[:_NAMED]) + (f" and {len(working) - _NAMED} more" if len(working) > _NAMED else "")
        speed = self._ended_here / (time.monotonic() - self._began) if self._ended_here else None
        self._recorder.progress(
            None, through, len(self._members), phase or ("starting" if self._waiting else "comparing"), speed
        )

    def _tell(self, text: str, level: Level = "info") -> None:
        print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)
        self._recorder.event("member", text, level)

    def _unfinished(self, history: History) -> str | None:
        """A sentence about the members that have not finished.

        Raises:
            UsageError: the recipe does not fit: every member says the same.
        """
        known = self._known(history)
        bad = {label: known.get(label) for label in self._members}
        bad = {label: run for label, run in bad.items() if run is None or run.state != "finished"}
        if not bad:
            return None
        messages = {run.message for run in bad.values() if run and run.exit_code == ExitCode.USAGE}
        wrong = len(bad) == len(self._members) and all(run and run.exit_code == ExitCode.USAGE for run in bad.values())
        if wrong and len(messages) == 1:
            raise UsageError(messages.pop() or "")
        told = "; ".join(_ending(label, run)[0] for label, run in list(bad.items())[:_NAMED])
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        verb = "have" if len(bad) > 1 else "has"
        return f"{len(bad)} of {len(self._members)} members {verb} not finished: {told}{more}"


def _doing(label: str, run: Run) -> str:
    """What a member does now: ``seed 1: lora 120/400``."""
    steps = f" {run.step}/{run.total}" if run.total is not None else f" {run.phase}" if run.phase else ""
    return f"{label}: {run.stage or run.state}{steps}"


def _ending(label: str, run: Run | None) -> tuple[str, Level]:
    """How a member ended, and how bad that is."""
    if run is None:
        return f"{label} was never launched", "warning"
    if run.state == "finished":
        return f"{label} has finished", "info"
    if run.state == "elsewhere":
        return f"{label} runs on {run.host}", "warning"
    why = f": {run.message}" if run.message and run.state in ("failed", "died") else ""
    return f"{label} has {run.state}{why}", "warning"
