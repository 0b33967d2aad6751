"""A teacher's answers kept on disk: asked once about each row, before training, then read from a mapped file.

What is kept are logits in float32, before any temperature: of labels all of them; of a language model, at each token
read, all or the k largest and which tokens these are (8 k bytes). An entry is found by what it was made from, the
teacher's files, the rows and the number type, and is only taken if its bytes are those that were written.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import ValueInRecipeError
from ...files import replacing, write_atomically
from ...training.loop import autocast
from ...training.objective import Batch, Objective
from ...training.objectives.causal import CausalLM
from ..active import Place
from .losses import Few
from .places import attended, given, read_of
from .teacher import Teacher

_VERSION = "1"
"""To be raised when the same teacher and rows are kept in another form."""

Arrays = Mapping[str, NDArray[Any]]


class Remembered:
    """The kept answers of a teacher."""

    def __init__(self, arrays: Arrays, starts: NDArray[np.int64] | None):
        """Answers.

        Args:
            arrays: `logits` (places, labels); or `values` and `places`, both (places, k).
            starts: (rows,) the first place of each row; None if each row is one place.
        """
        self._arrays = arrays
        self._starts = starts

    def answers(self, rows: Tensor, compared: Tensor | None, batch: Batch) -> Tensor | Few:
        """The logits of a batch's rows, or of places in the flattened batch, on the batch's device."""
        wanted = rows.cpu().numpy()
        if self._starts is not None:
            assert compared is not None
            row, column = np.divmod(compared.cpu().numpy(), batch.inputs["input_ids"].shape[1])
            wanted = self._starts[wanted[row]] + column
        found = {name: torch.from_numpy(array[wanted]).to(rows.device) for name, array in self._arrays.items()}
        return found["logits"] if "logits" in found else Few(found["values"], found["places"])


def remember(
    teacher: Teacher, identity: str, kind: type[Objective], top: int | None, key: str, place: Place
) -> Remembered:
    """The teacher's answers for all training rows: kept ones, or asked for now.

    Args:
        teacher: is asked.
        identity: of its files.
        kind: of the objective; its rows must be the same each time they are seen.
        top: how many logits to keep at each place; None for all.
        key: the recipe's key, for errors.
        place: with the rows.

    Raises:
        ValueInRecipeError: the disk has no room for them.
    """
    rows = place.train
    starts = None
    if issubclass(kind, CausalLM):
        ends = np.cumsum(read_of(rows, range(len(rows))).numpy())
        starts = np.concatenate([[0], ends[:-1]])
    count = len(rows) if starts is None else int(read_of(rows, range(len(rows))).sum())
    labels = _labels(teacher, kind, place)
    top = None if top is None else min(top, labels)
    made_from = {"teacher": identity, "rows": rows.fingerprint, "top": top, "precision": place.settings.precision}
    digest = hashlib.sha256(json.dumps([_VERSION, sorted(made_from.items(), key=str)]).encode()).hexdigest()
    shapes = _shapes(count, labels, top)
    size = sum(4 * int(np.prod(shape)) for shape in shapes.values())
    what = f"{'all' if top is None else top} logits at {count:,} places, {size / 2**20:,.1f} MiB"
    folder = place.cache / "teachers"
    if (found := _read(folder, digest, shapes)) is not None:
        place.tell(f"teacher: {what}, from the cache")
        return Remembered(found, starts)
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < size:
        raise ValueInRecipeError(
            key, f"the teacher's answers need {size / 2**20:,.0f} MiB, the disk has {free / 2**20:,.0f} MiB free"
        )
    _write(folder, digest, shapes, teacher, kind, starts, place)
    place.tell(f"teacher: {what}, worked out and kept in the cache")
    found = _read(folder, digest, shapes)
    assert found is not None
    return Remembered(found, starts)


def _labels(teacher: Teacher, kind: type[Objective], place: Place) -> int:
    """How many logits there are at a place."""
    batch = place.train.collate([0], 0).to(place.device)
    return _ask(teacher, kind, batch, [0], place).shape[-1]


def _ask(teacher: Teacher, kind: type[Objective], batch: Batch, rows: Sequence[int], place: Place) -> Tensor:
    """(places, labels), rows after each other."""
    wanted = None
    if issubclass(kind, CausalLM):
        found = attended(place.train, kind, batch, rows)
        wanted = None if found is None else found.to(place.device)
    with autocast(place.device, place.settings.precision):
        return teacher.ask(given(batch, kind), wanted).logits.float()


def _shapes(count: int, labels: int, top: int | None) -> dict[str, tuple[int, int]]:
    return {"logits": (count, labels)} if top is None else {"values": (count, top), "places": (count, top)}


def _kind_of(name: str) -> type[np.generic]:
    return np.int32 if name == "places" else np.float32


def _file(folder: Path, digest: str, name: str) -> Path:
    return folder / f"{digest}.{name}"


def _read(folder: Path, digest: str, shapes: Mapping[str, tuple[int, int]]) -> Arrays | None:
    """The kept arrays, mapped; None if they are not there as they were written."""
    found: dict[str, NDArray[Any]] = {}
    try:
        seal = json.loads(_file(folder, digest, "json").read_bytes())
        for name, shape in shapes.items():
            file = _file(folder, digest, name)
            with file.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != seal[name]:
                    return None
            found[name] = np.memmap(file, _kind_of(name), "r", shape=shape)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _write(
    folder: Path,
    digest: str,
    shapes: Mapping[str, tuple[int, int]],
    teacher: Teacher,
    kind: type[Objective],
    starts: NDArray[np.int64] | None,
    place: Place,
) -> None:
    """Ask about all rows, those of like length together."""
    seal: dict[str, str] = {}
    with ExitStack() as files:
        paths = {name: files.enter_context(replacing(_file(folder, digest, name))) for name in shapes}
        arrays = {name: np.memmap(paths[name], _kind_of(name), "w+", shape=shape) for name, shape in shapes.items()}
        order = np.argsort(place.train.lengths, kind="stable").tolist()
        size = place.settings.eval_batch_size
        for rows in (order[i : i + size] for i in range(0, len(order), size)):
            batch = place.train.collate(rows, 0).to(place.device)
            logits = _ask(teacher, kind, batch, rows, place).cpu()
            if starts is None:
                wanted = np.asarray(rows)
            else:
                lengths = read_of(place.train, rows).tolist()
                wanted = np.concatenate([starts[row] + np.arange(n) for row, n in zip(rows, lengths, strict=True)])
            if "logits" in arrays:
                arrays["logits"][wanted] = logits.numpy()
            else:
                largest = logits.topk(shapes["values"][1], dim=-1)
                arrays["values"][wanted], arrays["places"][wanted] = largest.values.numpy(), largest.indices.numpy()
        for name, array in arrays.items():
            array.flush()
            with paths[name].open("rb") as opened:
                seal[name] = hashlib.file_digest(opened, "sha256").hexdigest()
    write_atomically(_file(folder, digest, "json"), json.dumps(seal).encode())
