"""The processes that train beside a run's worker: started by it, watched by it, and gone when it is gone.

The worker is the first of the team. The others are told over a pipe that they live as long as it does, and report over
another one why they ended. A process of the team that dies ends the run.
"""

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .children import ProcessEnded, start_child, why_ended
from .errors import LmwbError, Stopped
from .home import Home

if TYPE_CHECKING:
    import torch

    from .training.distribution import Team

_GRACE_SECONDS = 20.0
"""How long the worker may go on after another process has ended: most likely it hears of it by itself. If it waits
for that process on a GPU, it never does."""
_HEAR_SECONDS = 3.0
"""How long the end of another process may take to be seen, when a sum with it has failed."""
_FAREWELL_SECONDS = 5.0
"""How long processes may take to end after the worker's word that all is done."""


@dataclass
class _Member:
    number: int
    process: "subprocess.Popen[str]"


class Crew:
    """The other processes of a run's team; started when there is the first thing to share."""

    def __init__(
        self, home: Home, uid: str, size: int, device: "torch.device", give_up: Callable[[ProcessEnded], None]
    ):
        """A crew of `size` processes, the worker included.

        Args:
            home: where the run is kept.
            uid: the run's.
            size: 1 for the worker alone.
            device: the worker's.
            give_up: ends the worker, which cannot end by itself; called from a thread.
        """
        self._home, self._uid, self._size, self._device = home, uid, size, device
        self._give_up = give_up
        self._team: Team | None = None
        self._members: list[_Member] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._ended: ProcessEnded | None = None
        self._noticed = threading.Event()
        self._at_work = threading.Event()

    @contextmanager
    def at_work(self, position: int) -> "Generator[Team | None]":
        """The team, while all its processes do the stage at a position of the recipe; None if there is one process.

        Raises:
            ProcessEnded: another process has ended before its time.
        """
        if self._size == 1:
            yield None
            return
        if self._ended is not None:
            raise self._ended
        self._at_work.set()
        try:
            if self._team is None:
                self._team = self._start_all()
            self._team.announced(position)
            yield self._team
        except Exception as error:
            if isinstance(error, LmwbError | Stopped):
                raise
            if isinstance(error, RuntimeError):  # most likely a sum in which the other one was missing
                self._noticed.wait(_HEAR_SECONDS)
            if self._ended is None:
                raise
            raise self._ended from error
        finally:
            self._at_work.clear()

    def close(self) -> None:
        """Let the other processes go."""
        for member in self._members:
            with suppress(OSError):
                if member.process.stdin is not None:
                    member.process.stdin.close()
        deadline = time.monotonic() + _FAREWELL_SECONDS
        for member in self._members:
            try:
                member.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                member.process.kill()
                member.process.wait()
        if self._folder is not None:
            self._folder.cleanup()

    # -- beginning --------------------------------------------------------------------------------

    def _start_all(self) -> "Team":
        """Start the others; they need a while until they can be met."""
        from .training.distribution import Team, store_in

        self._folder = tempfile.TemporaryDirectory(prefix="lmwb-", ignore_cleanup_errors=True)
        meeting = Path(self._folder.name) / "meeting"
        for number in range(1, self._size):
            member = self._start(number, meeting)
            self._members.append(member)
            threading.Thread(target=self._watch, args=(member,), daemon=True).start()
        return Team(0, self._size, store_in(meeting, self._size), self._device)

    def _start(self, number: int, meeting: Path) -> _Member:
        arguments = (str(self._home.root), self._uid, str(number), str(self._size), str(meeting), str(self._device))
        return _Member(number, start_child("lmwb.core.companion", *arguments))

    # -- watching ---------------------------------------------------------------------------------

    def _watch(self, member: _Member) -> None:
        """Wait for a process to end; if that is before its time, see that the worker ends too."""
        assert member.process.stdout is not None
        report = member.process.stdout.read()
        code = member.process.wait()
        if not self._at_work.is_set() and code == 0:
            return
        if self._ended is None:
            self._ended = why_ended(f"process {member.number + 1} of {self._size}", report, code)
        self._noticed.set()
        time.sleep(_GRACE_SECONDS)
        if self._at_work.is_set():
            self._give_up(self._ended)
