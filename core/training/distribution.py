"""Several processes that train one model: who takes which rows, and how they agree.

Each process has the whole model and takes a share of every step's rows; gradients are added up, so all make the same
update. Whatever is decided is decided by the first process and told to the others: it alone writes. A team of one does
nothing of this, and needs no torch.distributed.
"""

import itertools
import json
import math
import os
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import Store

from ..errors import TrainingError, UsageError

T = TypeVar("T")

PATIENCE = timedelta(hours=1)
"""How long a process waits for another one that lives but does not answer. One that has died is noticed at once."""
_LOOK_SECONDS = 0.02


class Team:
    """The processes that train a model together, as one of them sees it."""

    def __init__(self, rank: int = 0, size: int = 1, store: Store | None = None, device: torch.device | None = None):
        """A team whose processes can tell each other what is to be done; for all else they must `meet`.

        Args:
            rank: which process this is, from 0.
            size: how many there are.
            store: that all of them can reach.
            device: that this one trains on.
        """
        self.rank = rank
        self.size = size
        self._store = store
        self._device = device or torch.device("cpu")
        self._tensors: Any = None
        self._met = size == 1
        self._announced = 0

    def meet(self) -> None:
        """Wait for the other processes and connect with them: sums on a GPU go over NCCL, all else over gloo.

        Raises:
            RuntimeError: they cannot be reached.
        """
        if self._met:
            return
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)
        dist.init_process_group("gloo", store=self._store, rank=self.rank, world_size=self.size, timeout=PATIENCE)
        if self._device.type == "cuda":
            self._tensors = dist.new_group(backend="nccl", timeout=PATIENCE)
        self._met = True

    @property
    def leads(self) -> bool:
        """Whether this is the first process: the one that decides, writes and tells."""
        return self.rank == 0

    # -- rows -------------------------------------------------------------------------------------

    def share(self, micro_batches: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
        """The part of a step's rows that this process takes, in as few and as equal micro-batches as their size allows.

        Neighbours, which are of like length, go to different processes, so that all have about as much to do. There
        may be nothing left for the last processes.
        """
        if self.size == 1:
            return micro_batches
        rows = [row for micro_batch in micro_batches for row in micro_batch][self.rank :: self.size]
        longest = max([1, *map(len, micro_batches)])
        count = math.ceil(len(rows) / longest)
        bounds = [len(rows) * part // count for part in range(count)] + [len(rows)] if count else []
        return [rows[start:end] for start, end in itertools.pairwise(bounds)]

    # -- numbers ----------------------------------------------------------------------------------

    def total(self, *counts: int) -> Sequence[int]:
        """The sum of each count over all processes."""
        if self.size == 1:
            return counts
        sums = torch.tensor(counts, dtype=torch.int64)
        dist.all_reduce(sums)
        return [int(count) for count in sums]

    def add_up(self, values: Tensor) -> Any:
        """Begin to add up a tensor on the training device, in place, over all processes; the answer has a `wait`."""
        return dist.all_reduce(values, group=self._tensors, async_op=True)

    def spread(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors on the training device the first process's values, in place."""
        if self.size > 1:
            for tensor in tensors:
                whole = tensor.detach().contiguous()
                dist.broadcast(whole, 0, group=self._tensors)
                if not tensor.is_contiguous():
                    tensor.detach().copy_(whole)

    def gathered(self, value: T) -> list[T]:
        """What all processes have, in their order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    # -- decisions --------------------------------------------------------------------------------

    def decision(self, wanted: bool) -> bool:
        """What the first process wants."""
        if self.size == 1:
            return wanted
        flag = torch.tensor([int(wanted)])
        dist.broadcast(flag, 0)
        return bool(flag)

    def told(self, value: T) -> T:
        """What the first process has."""
        if self.size == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values, 0)
        return values[0]

    def announced(self, value: Any) -> Any:
        """What the first process has, as plain JSON values; the others wait for it as long as they live."""
        if self._store is None:
            return value
        self._announced += 1
        key = f"announced/{self._announced}"
        if self.leads:
            self._store.set(key, json.dumps(value))
            return value
        while not self._store.check([key]):
            time.sleep(_LOOK_SECONDS)
        return json.loads(self._store.get(key))

    @contextmanager
    def first_first(self) -> Generator[None]:
        """What is inside is done by the first process, and then by the others: they find what it left in caches."""
        if not self.leads:
            self.announced(None)
        yield
        if self.leads:
            self.announced(None)

    def agree(self, what: str, value: object) -> None:
        """See that all processes have the same.

        Raises:
            TrainingError: they do not.
        """
        others = self.gathered(value)
        if any(other != others[0] for other in others):
            raise TrainingError(
                f"the processes do not have the same {what}; see that all read the same files with the same packages"
            )


ALONE = Team()
"""One process."""


def store_in(file: Path, size: int) -> Store:
    """Where the processes of this machine meet; they will talk over its loopback interface, where nobody else listens.

    A file, not a port: it can be opened by its owner only, and whoever reached it could speak as one of the team.
    """
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    return dist.FileStore(str(file), size)  # pyright: ignore[reportPrivateImportUsage]


def team_size(processes: int | str, wish: str) -> int:
    """How many processes a recipe's `processes` means on this machine; `wish` is its `device`.

    Raises:
        UsageError: the device that the recipe names is one, or there are fewer GPUs.
    """
    gpus = torch.cuda.device_count() if wish in ("auto", "cuda") and torch.cuda.is_available() else 0
    size = max(1, gpus) if processes == "gpus" else int(processes)
    if size == 1:
        return size
    if wish not in ("auto", "cpu", "cuda") or (wish == "auto" and not gpus and torch.backends.mps.is_available()):
        raise UsageError(f"processes = {size}: device '{wish}' is one device; say 'cuda', 'cpu', or processes = 1")
    if (gpus or wish == "cuda") and size > gpus:
        raise UsageError(
            f"processes = {size}: each needs a GPU of its own, and this machine has {gpus}; "
            "lower 'processes', or say device = \"cpu\""
        )
    return size


def device_of(rank: int, first: torch.device) -> torch.device:
    """The device of a process of this machine, given the one that the recipe chooses."""
    return torch.device("cuda", rank) if first.type == "cuda" else first


def share_cores(size: int, device: torch.device) -> None:
    """Give each process of a team on a CPU its share of the cores, unless the user has said how many threads."""
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // size))
