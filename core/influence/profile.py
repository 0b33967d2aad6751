"""Where the time went: for each phase how often, how long, and the most memory."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

_MIB = 2**20


@dataclass(frozen=True)
class Phase:
    """What a phase came to.

    Attributes:
        name: of the phase.
        calls: how often it was entered.
        seconds: all of them together.
        peak_bytes: the most memory at the end of a call: what torch holds on a GPU, or else what the process holds.
    """

    name: str
    calls: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def mean(self) -> float:
        """Seconds per call."""
        return self.seconds / self.calls if self.calls else 0.0


class Profile:
    """Adds up phases; on a GPU it waits for the device at each end, so that the time is that of the phase."""

    def __init__(self, device: torch.device | None = None):
        """An empty account of what happens on a device."""
        self._device = device or torch.device("cpu")
        self._phases: dict[str, Phase] = {}
        self._process = psutil.Process()

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """The block is a call of the phase; phases must not be nested, or their time counts twice."""
        self._wait()
        began = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            seconds = time.perf_counter() - began
            was = self._phases.get(name, Phase(name))
            peak = max(was.peak_bytes, self._memory())
            self._phases[name] = Phase(name, was.calls + 1, was.seconds + seconds, peak)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """In the order of their first calls."""
        return tuple(self._phases.values())

    @property
    def seconds(self) -> float:
        """Of all phases together."""
        return sum(phase.seconds for phase in self.phases)

    def table(self) -> str:
        """The phases as lines of text."""
        total = self.seconds or 1.0
        lines = [f"{'phase':34} {'calls':>7} {'mean s':>10} {'total s':>10} {'share':>6} {'peak MiB':>9}"]
        for phase in self.phases:
            lines.append(
                f"{phase.name:34} {phase.calls:7,} {phase.mean:10.4f} {phase.seconds:10.2f} "
                f"{phase.seconds / total:6.1%} {phase.peak_bytes / _MIB:9,.0f}"
            )
        return "\n".join(lines)

    def rows(self) -> list[dict[str, str | int | float]]:
        """The phases for a history or a table: phase, calls, mean, total, share, peak_bytes."""
        total = self.seconds or 1.0
        return [
            {
                "phase": phase.name,
                "calls": phase.calls,
                "mean": phase.mean,
                "total": phase.seconds,
                "share": phase.seconds / total,
                "peak_bytes": phase.peak_bytes,
            }
            for phase in self.phases
        ]

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _memory(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return self._process.memory_info().rss
