"""Is a run alive? The answer is worked out by whoever looks, never stored.

A worker holds a file lock for as long as it lives, whatever kills it; a machine's boot has an id. From the
two follows, on the same machine, the truth at any moment. From another machine only the worker's beat can
be seen: it is alive while the beat's number grows, by the observer's own clock.
"""

import fcntl
import functools
import os
import platform
import time
from pathlib import Path

from ..errors import MachineError
from .ledger import Identity

LOCK_NAME = "run.lock"
_TRIES = 10


@functools.cache
def this_machine() -> Identity:
    """The identity of the machine and boot that this process runs on."""
    return Identity(platform.node() or "localhost", _read("/etc/machine-id"), _boot_id())


def process_started(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None if there is no such process.

    Together with the pid it names a process for good: pids are used again.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def take_lock(run_folder: Path) -> int | None:
    """Lock a run for this process; the descriptor to hold, or None if somebody works on it already.

    Raises:
        MachineError: the run's folder cannot be written to.
    """
    try:
        descriptor = os.open(run_folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise MachineError(f"cannot lock the run's folder {run_folder}: {error.strerror}") from None
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError:  # held by a worker, or for an instant by somebody who looks whether one holds it
            time.sleep(0.005)
    os.close(descriptor)
    return None


def keep_from_children(descriptor: int) -> None:
    """See to it that no child of this process holds the lock too: it would keep the run alive after our end."""
    held = [descriptor]

    def let_go() -> None:
        while held:  # once: in a child's child the number may stand for another file
            os.close(held.pop())

    os.set_inheritable(descriptor, False)
    os.register_at_fork(after_in_child=let_go)


def lock_is_held(run_folder: Path) -> bool:
    """Whether a process holds the run's lock now."""
    try:
        descriptor = os.open(run_folder / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # not allowed to look, or out of descriptors: nobody is declared dead for that
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _boot_id() -> str:
    known = _read("/proc/sys/kernel/random/boot_id")
    if known:
        return known
    import psutil

    return str(int(psutil.boot_time()))


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
