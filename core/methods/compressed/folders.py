"""From a model's folder to one file, and back to a folder that `from_pretrained` loads."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import MachineError, UsageError
from ...text import printable
from .. import peft
from . import coding
from .container import TEXT_NAME, Contents, Description, Layout, Stored, Text, read, to_bytes
from .values import DTYPES, WIDTHS, Values, from_stored, stored_type, to_stored, way_of

_DENSE = 0.5
"""With so many values kept, zeros take as few bits among the values as gaps would."""

_LEFT_OUT = ("manifest.json", "progress.json")
"""Of a checkpoint; they speak of files that do not go along."""
_WEIGHTS = ("model*.safetensors", "model*.safetensors.index.json")


@dataclass(frozen=True)
class Compressed:
    """What was written.

    Attributes:
        contents: description and streams.
        zeroed: weights that were not zero and became so by rounding.
        left_out: names of files in the folder that did not go along; foreign text.
    """

    contents: Contents
    zeroed: int
    left_out: tuple[str, ...]


def compress(folder: Path, file: Path, values: Values = "int8") -> Compressed:
    """Write a model's weights, configuration and tokenizer into one file.

    Args:
        folder: in `save_pretrained` layout, with safetensors.
        file: must not exist.
        values: of the matrices; int8 with one scale for each, float16, or exactly as they are.

    Raises:
        UsageError: the folder holds no whole model, a value cannot be stored so, or the file exists.
    """
    if file.exists():
        raise UsageError(f"{printable(str(file))} exists already; choose another name")
    stored: list[Stored] = []
    streams: list[bytes] = []
    zeroed = 0
    for name, weight in _weights(folder):
        try:
            described, own = _packed(name, weight, values)
        except ValueError as error:
            raise UsageError(f"'{printable(name)}' cannot be stored: {error}") from None
        zeroed += int(weight.count_nonzero()) - described.kept
        stored.append(described)
        streams += own
    rounded = any(weight.dtype != weight.was for weight in stored)
    texts, left_out = _texts(folder, rounded)
    packed = {name: coding.deflated(text) for name, text in texts.items()}
    described = [Text(name=name, size=len(text), stream=len(packed[name])) for name, text in texts.items()]
    description = Description(weights=stored, texts=described)
    streams += packed.values()
    data = to_bytes(description, streams)
    unfinished = file.with_name(f".unfinished-{file.name}")
    try:
        unfinished.write_bytes(data)
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)
    overhead = len(data) - sum(map(len, streams))
    return Compressed(Contents(description, streams, overhead), zeroed, left_out)


def decompress(file: Path, folder: Path) -> Contents:
    """Write the model in a file into a new folder, which `from_pretrained` loads.

    Raises:
        UsageError: the file is damaged or none of ours, or the folder exists.
        MachineError: the disk has no room for it.
    """
    if folder.exists():
        raise UsageError(f"{printable(str(folder))} exists already; choose another name")
    unfinished = folder.with_name(f".unfinished-{folder.name}")
    try:
        contents = read(file)
        _check_space(contents.description, folder)
        texts, weights = unpacked(contents)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for name, text in texts.items():
            (unfinished / name).write_bytes(text)
        save_file(weights, unfinished / "model.safetensors", {"format": "pt"})
        unfinished.rename(folder)
    except ValueError as error:
        raise UsageError(f"cannot read {printable(str(file))}: {printable(str(error))}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return contents


def unpacked(contents: Contents) -> tuple[dict[str, bytes], dict[str, Tensor]]:
    """The texts and the weights of a file.

    Raises:
        ValueError: a part of it is damaged.
    """
    left = iter(contents.streams)
    weights = {
        described.name: _unpacked(described, [next(left) for _ in described.streams])
        for described in contents.description.weights
    }
    texts = {text.name: coding.inflated(next(left), text.size) for text in contents.description.texts}
    return texts, weights


# -- one weight -----------------------------------------------------------------------------------


def _packed(name: str, weight: Tensor, values: Values) -> tuple[Stored, list[bytes]]:
    """A weight's description and its streams."""
    was = _type_of(weight)
    way = way_of(weight, values)
    array, scale = to_stored(weight, way)
    kept = int(np.count_nonzero(array))
    layout, gaps, streams = _sparse(array) if kept < _DENSE * array.size else _dense(array)
    described = Stored(
        name=name,
        dtype=was if way == "exact" else "float32",
        was=was,
        shape=list(weight.shape),
        way=way,
        layout=layout,
        scale=scale,
        kept=kept,
        gaps=gaps,
        streams=[len(stream) for stream in streams],
    )
    return described, streams


def _dense(array: NDArray[np.unsignedinteger]) -> tuple[Layout, int, list[bytes]]:
    return "dense", 0, [coding.deflated(plane) for plane in coding.planes_of(array)]


def _sparse(array: NDArray[np.unsignedinteger]) -> tuple[Layout, int, list[bytes]]:
    """Layout, length of the gaps, and streams of a weight with many zeros.

    The gaps of a matrix are counted along its rows or its columns, whichever makes them pack better.
    """
    layout, gaps, streams = _along("rows", array.reshape(-1))
    if array.ndim == 2:
        other = _along("columns", array.T.reshape(-1))
        if len(other[2][0]) < len(streams[0]):
            return other
    return layout, gaps, streams


def _along(layout: Layout, flat: NDArray[np.unsignedinteger]) -> tuple[Layout, int, list[bytes]]:
    positions = np.flatnonzero(flat)
    gaps = coding.gaps_of(positions)
    streams = [gaps.tobytes(), *coding.planes_of(flat[positions])]
    return layout, len(gaps), [coding.deflated(stream) for stream in streams]


def _unpacked(described: Stored, streams: list[bytes]) -> Tensor:
    raw = [coding.inflated(stream, size) for stream, size in zip(streams, described.raw, strict=True)]
    dtype = stored_type(described.way, described.dtype)
    if described.layout == "dense":
        array = coding.joined(raw, dtype)
    else:
        positions = coding.positions_of(np.frombuffer(raw[0], np.uint8), described.kept, described.size)
        array = np.zeros(described.size, dtype)
        array[positions] = coding.joined(raw[1:], dtype)
    if described.layout == "columns" and len(described.shape) == 2:
        array = np.ascontiguousarray(array.reshape(described.shape[::-1]).T)
    return from_stored(array, described.way, described.dtype, described.scale).reshape(described.shape)


def _type_of(weight: Tensor) -> str:
    for name, dtype in DTYPES.items():
        if weight.dtype == dtype:
            return name
    raise ValueError(f"values of type {weight.dtype} are not known here")


# -- the folder -----------------------------------------------------------------------------------


def _weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """All weights of a folder, one after the other."""
    if (folder / peft.CONFIG).is_file():
        raise UsageError(f"{printable(str(folder))} holds an adapter; only whole models can be compressed")
    files = sorted(folder.glob(_WEIGHTS[0]))
    if not files or not (folder / "config.json").is_file():
        raise UsageError(f"{printable(str(folder))} holds no model with config.json and model.safetensors")
    for file in files:
        try:
            with safe_open(file, framework="pt") as weights:
                for name in weights.keys():  # noqa: SIM118 - no dictionary
                    yield name, weights.get_tensor(name)
        except SafetensorError as error:
            raise UsageError(f"{printable(str(file))} is damaged: {printable(str(error))}") from None


def _texts(folder: Path, rounded: bool) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The small files that belong to a model, by name; and the names of all others."""
    texts: dict[str, bytes] = {}
    left_out: list[str] = []
    for path in sorted(folder.iterdir()):
        if any(path.match(pattern) for pattern in _WEIGHTS):
            continue
        if path.is_file() and re.fullmatch(TEXT_NAME, path.name) and path.name not in _LEFT_OUT:
            texts[path.name] = path.read_bytes()
        else:
            left_out.append(path.name)
    if rounded:
        texts["config.json"] = _in_float32(texts["config.json"])
    return texts, tuple(left_out)


def _in_float32(config: bytes) -> bytes:
    """A configuration that says so, since rounded weights come back in float32."""
    fields: dict[str, Any] = json.loads(config)
    for key in ("dtype", "torch_dtype"):
        if key in fields:
            fields[key] = "float32"
    return (json.dumps(fields, indent=2) + "\n").encode()


def _check_space(description: Description, folder: Path) -> None:
    """Refuse what the disk cannot hold before anything is made."""
    need = sum(weight.size * WIDTHS[weight.dtype] for weight in description.weights)
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free
    if need > free:
        raise MachineError(f"the model takes {need / 2**20:,.0f} MiB, the disk has {free / 2**20:,.0f} MiB free")
