"""Starts a run's worker, waits for it, and writes down how it ended.

It stays small (no torch), so that whatever ends the worker, an exception, the kernel's lack of memory or
`kill -9`, leaves somebody to tell. Signals sent to it are passed on to the worker.
"""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from .errors import ExitCode
from .history.database import open_database
from .history.ledger import Outcome, end_attempt, name_worker
from .history.liveness import process_started
from .home import Home

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
"""What asks a worker to write a checkpoint and end."""


def main(arguments: list[str]) -> int:
    """Run one attempt: HOME UID RUN_ID ATTEMPT_ID LOCK_DESCRIPTOR; returns the worker's exit code."""
    root, uid, run_id, attempt_id, lock = arguments
    home = Home(Path(root))
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # the worker inherits it until it can listen
    worker = subprocess.Popen(
        [sys.executable, "-m", "lmwb.core.worker", root, uid, run_id, attempt_id, lock],
        stdin=subprocess.DEVNULL,
        pass_fds=(int(lock),),
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: _pass_on(worker, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    with closing(open_database(home)) as connection:
        name_worker(connection, int(attempt_id), worker.pid, process_started(worker.pid))
        code = worker.wait()
        end_attempt(
            connection,
            int(attempt_id),
            _outcome(code),
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            message=_explanation(code, home.run_folder(uid)),
        )
    os.close(int(lock))
    return code


def _pass_on(worker: "subprocess.Popen[bytes]", number: int) -> None:
    if number != signal.SIGHUP:  # a closed terminal ends nothing
        worker.send_signal(number)


def _outcome(code: int) -> Outcome:
    if code < 0:
        return "killed"
    endings: dict[int, Outcome] = {ExitCode.OK: "finished", ExitCode.RUN_STOPPED: "stopped"}
    return endings.get(code, "failed")


def _explanation(code: int, folder: Path) -> str | None:
    """Why the worker ended, if it could not say so itself; with its last words."""
    if code >= 0:
        return None if code in (ExitCode.OK, ExitCode.RUN_STOPPED) else _last_words(folder)
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    cause = f"killed by {name}"
    if -code == signal.SIGKILL:
        cause += " (by hand, or the machine ran out of memory)"
    words = _last_words(folder)
    return f"{cause}; last words: {words}" if words else cause


def _last_words(folder: Path) -> str | None:
    """The last line of the log."""
    try:
        with (folder / "log.txt").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return None
    return lines[-1].strip()[:300] if lines else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
