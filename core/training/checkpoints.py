"""Checkpoints that are whole or not there.

A checkpoint is a folder: the model in `save_pretrained` layout, its tokenizer, the training state, and a
manifest with the size and sha256 of every file. It is written under another name, synced to the disk and
renamed, so a crash at any moment leaves the checkpoints before it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..recipe.schema import Train

MANIFEST = "manifest.json"
STATE = "training_state.pt"
FACTS = "progress.json"
UNFINISHED = ".unfinished-"


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk: its folder, the step after which it was made, its size in bytes."""

    folder: Path
    step: int
    size: int


def save(
    folder: Path, step: int, write_model: Callable[[Path], None], state: object, facts: Mapping[str, Any]
) -> Saved:
    """Write the checkpoint of a step.

    Args:
        folder: where the stage's checkpoints are.
        step: the step it belongs to.
        write_model: writes the model (and tokenizer) into the folder it is given.
        state: tensors and plain values that training needs to go on.
        facts: JSON values that training needs to go on.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    name = f"step-{step:06d}"
    unfinished = folder / (UNFINISHED + name)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        write_model(unfinished)
        torch.save(state, unfinished / STATE)
        (unfinished / FACTS).write_text(json.dumps({"step": step, **facts}))
        size = _seal(unfinished)
        target = folder / name
        if target.exists():  # of an attempt that was resumed from before this step
            shutil.rmtree(target)
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _sync(folder)
    return Saved(target, step, size)


def newest(folder: Path, tell: Callable[[str], None]) -> Saved | None:
    """The newest checkpoint that is whole; damaged ones are told of and passed over."""
    for candidate in reversed(by_step(folder).values()):
        trouble = damage(candidate)
        if trouble is None:
            return saved_at(candidate)
        tell(f"checkpoint {candidate.name} is damaged ({trouble}); trying the one before it")
    return None


def by_step(folder: Path) -> dict[int, Path]:
    """The checkpoints of a folder by their step, in that order, damaged ones among them."""
    return dict(sorted((int(path.name.removeprefix("step-")), path) for path in folder.glob("step-*")))


def saved_at(folder: Path) -> Saved:
    """The checkpoint in a folder."""
    return Saved(folder, facts_of(folder)["step"], _size(folder))


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint; None if it is whole."""
    try:
        manifest: dict[str, dict[str, Any]] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return "its manifest cannot be read"
    for name, expected in manifest.items():
        try:
            if _describe(folder / name) != expected:
                return f"{name} has changed"
        except OSError:
            return f"{name} is missing"
    return None


def facts_of(folder: Path) -> dict[str, Any]:
    """The JSON values that `save` was given, and the step."""
    return json.loads((folder / FACTS).read_text())


def state_of(folder: Path) -> Any:
    """The state that `save` was given; tensors and plain values only, no code is run."""
    return torch.load(folder / STATE, map_location="cpu", weights_only=True)


def expected_bytes(stored: int, trained: int, settings: Train) -> int:
    """About what one checkpoint takes on disk: weights in float32, and the optimiser's memory of those trained."""
    memory = {"adamw": 2, "sgd": int(settings.momentum > 0)}[settings.optimizer]
    return 4 * (stored + trained * memory)


def prune(folder: Path, keep: int, best: int | None) -> Sequence[Path]:
    """Remove all but the newest `keep` checkpoints and the one of step `best`; returns what was removed."""
    removed = [candidate for step, candidate in list(by_step(folder).items())[:-keep] if step != best]
    for candidate in removed:
        shutil.rmtree(candidate, ignore_errors=True)
    return removed


def _seal(folder: Path) -> int:
    """Sync every file, write the manifest; returns the checkpoint's size in bytes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {str(path.relative_to(folder)): _describe(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    for path in [*files, folder / MANIFEST, folder]:
        _sync(path)
    return _size(folder)


def _describe(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
