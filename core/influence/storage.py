"""What is kept on disk between phases: safetensors, each file whole or not there, under a key of what it comes from."""

import hashlib
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import MachineError
from ..files import replacing, write_atomically

VERSION = "1"
"""To be raised when the same model and data give other factors or scores than before."""


def folder_for(root: Path, key: Mapping[str, Any]) -> Path:
    """The folder of what is made from `key`, JSON values by name; `key.json` in it shows them.

    Raises:
        MachineError: it cannot be written.
    """
    full = {**key, "version": VERSION}
    written = json.dumps(full, sort_keys=True, indent=1)
    folder = root / hashlib.sha256(written.encode()).hexdigest()[:32]
    if not (folder / "key.json").is_file():
        _writing(folder / "key.json", lambda: write_atomically(folder / "key.json", written.encode()))
    return folder


def save_tensors(file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> None:
    """Write tensors, whole or not at all.

    Raises:
        MachineError: they cannot be written.
    """

    def write() -> None:
        with replacing(file) as unfinished:
            save_file(
                {name: value.contiguous().cpu() for name, value in tensors.items()}, unfinished, dict(facts or {})
            )

    _writing(file, write)


def load_tensors(file: Path, prefix: str = "", device: torch.device | None = None) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, by the rest of their names; others are not read.

    Raises:
        MachineError: the file is not there or damaged.
    """
    try:
        with safe_open(file, "pt", device=str(device or "cpu")) as opened:
            names: list[str] = [name for name in opened.keys() if name.startswith(prefix)]  # noqa: SIM118 - no mapping
            return {name.removeprefix(prefix): opened.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise MachineError(f"cannot read {file}: {error}; delete it, and it will be made again") from None


@contextmanager
def streamed(file: Path, name: str, shape: tuple[int, ...]) -> Generator[NDArray[np.float32]]:
    """A float32 tensor that is written piece by piece into the mapped file; the file is there once the block is done.

    Raises:
        MachineError: it cannot be written.
    """
    size = 4 * int(np.prod(shape, dtype=np.int64))
    described = json.dumps({name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, size]}}).encode()
    described += b" " * (-len(described) % 8)
    try:
        with replacing(file) as unfinished:
            with unfinished.open("wb") as opened:
                opened.write(len(described).to_bytes(8, "little") + described)
                opened.truncate(8 + len(described) + size)
            if not size:
                yield np.empty(shape, np.float32)
                return
            mapped = np.memmap(unfinished, np.float32, "r+", 8 + len(described), shape)
            yield mapped
            mapped.flush()
            del mapped
    except OSError as error:
        raise MachineError(f"cannot write {file}: {error}") from None


def fingerprint_of_weights(model: nn.Module) -> str:
    """Changes when a weight does, in value or in name."""
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        digest.update(f"{name} {weight.dtype} {list(weight.shape)}\0".encode())
        digest.update(memoryview(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()[:32]


def _writing(file: Path, write: Any) -> None:
    try:
        write()
    except (OSError, SafetensorError) as error:
        raise MachineError(f"cannot write {file}: {error}") from None
