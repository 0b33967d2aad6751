"""Processes that work for another one: how they are started, and what is said when one ends before its time.

A child lives as long as its standard input is open: whoever started it closes it, or dies, which closes it too.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .errors import ExitCode, LmwbError
from .supervisor import STOP_SIGNALS

_SPINS = "1000"
"""Turns that an idle thread waits awake; libgomp's own 300,000 are some milliseconds."""


class ProcessEnded(LmwbError):
    """A process beside the worker has ended before its time; `signal` is what killed it, if it was killed."""

    def __init__(self, message: str, code: int, signal: int | None = None):
        super().__init__(message)
        self.exit_code = ExitCode(code) if code in set(ExitCode) else ExitCode.BUG
        self.signal = signal


def process_environment() -> dict[str, str]:
    """The environment for a process that computes, without what would let the current folder stand in for modules.

    Idle threads of torch on a CPU soon sleep: by default they keep their cores busy for milliseconds, and processes
    that share the cores slow each other tenfold.
    """
    ours = {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    if "OMP_WAIT_POLICY" not in os.environ:
        ours["GOMP_SPINCOUNT"] = os.environ.get("GOMP_SPINCOUNT", _SPINS)
    return {**os.environ, **ours}


def start_child(module: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a module as a process with pipes to its standard input and output; signals to stop are not for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # they are for the worker to heed
    try:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work_as_child(work: Callable[[Callable[[dict[str, Any]], None]], None]) -> int:
    """Do a child's work; returns its exit code.

    `work` is given what reports a line of JSON on standard output; whatever else is printed goes to standard error, and
    so to the run's log. An error is reported as the last line.
    """
    file = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print belongs to the log

    def report(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=file, flush=True)

    try:
        work(report)
    except LmwbError as error:
        report({"error": str(error), "code": int(error.exit_code)})
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        report({"error": f"{type(error).__name__}: {error}", "code": int(ExitCode.BUG)})
        return ExitCode.BUG
    return ExitCode.OK


def why_ended(name: str, report: str, code: int) -> ProcessEnded:
    """What to say of a process that has ended before its time.

    Args:
        name: what it is called.
        report: what it wrote on standard output; its last line may be an error.
        code: its exit code, or the negative number of the signal that killed it.
    """
    if code < 0:
        known = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        cause = f"{name} was killed by {known}"
        if -code == signal.SIGKILL:
            cause += " (by hand, or the machine ran out of memory)"
        return ProcessEnded(cause, ExitCode.RUN_DIED, -code)
    with suppress(ValueError, KeyError, IndexError):
        told: dict[str, Any] = json.loads(report.strip().splitlines()[-1])
        return ProcessEnded(f"{name}: {told['error']}", int(told["code"]))
    return ProcessEnded(f"{name} ended with exit code {code}", ExitCode.RUN_DIED)
