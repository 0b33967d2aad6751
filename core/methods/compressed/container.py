"""The file itself: a fixed beginning, a description, and one compressed stream after the other.

    8 bytes   LMWBPACK
    4 bytes   version of this layout, little-endian
    4 bytes   length of the packed description
    8 bytes   length of the unpacked one
    32 bytes  sha256 of all that follows
    ...       the description (JSON, deflated), then the streams in its order

Reading trusts nothing: the checksum finds accidents; sizes are bounded before anything is made, and names checked,
since whoever forges a file forges its checksum, too. Nothing in a file is ever run.
"""

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .coding import deflated, inflated
from .values import WIDTHS, Values, width_of

_MAGIC, _VERSION = b"LMWBPACK", 1
_START = struct.Struct("<8sIIQ32s")
_MOST_DESCRIBED = 64 * 2**20
_MOST_TEXT = 512 * 2**20
_RATIO = 1032
"""Deflate never makes more than so many bytes of one."""

Layout = Literal["dense", "rows", "columns"]
Count = Annotated[int, Field(ge=0, lt=2**48)]
TEXT_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*\.(json|txt|model|spm|jinja)$"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Stored(_Entry):
    """A weight in the file."""

    name: Annotated[str, Field(min_length=1, max_length=512)]
    dtype: str
    """What it comes back in."""
    was: str
    """What it was in before."""
    shape: Annotated[list[Count], Field(max_length=8)]
    way: Values
    layout: Layout
    """All values; or those that are not zero, with gaps counted along rows or along columns."""
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    kept: Count
    """Values that are not zero."""
    gaps: Count = 0
    """Bytes of the gaps before packing."""
    streams: Annotated[list[Count], Field(min_length=1, max_length=9)]
    """Packed lengths: of the gaps, unless it is dense, then of each byte of the values."""

    @property
    def size(self) -> int:
        """How many values the weight has."""
        return math.prod(self.shape)

    @property
    def raw(self) -> list[int]:
        """Lengths of the streams, unpacked."""
        values = self.size if self.layout == "dense" else self.kept
        planes = [values] * width_of(self.way, self.dtype)
        return planes if self.layout == "dense" else [self.gaps, *planes]


class Text(_Entry):
    """A small file that belongs to the model: its configuration, its tokenizer."""

    name: Annotated[str, Field(pattern=TEXT_NAME, max_length=120)]
    size: Count
    stream: Count


class Description(_Entry):
    """What a file holds, in the order of its streams."""

    weights: Annotated[list[Stored], Field(max_length=2**20)]
    texts: Annotated[list[Text], Field(max_length=256)]


@dataclass(frozen=True)
class Contents:
    """A description with its streams; `overhead` is what the file takes besides them, in bytes."""

    description: Description
    streams: Sequence[bytes]
    overhead: int


def to_bytes(description: Description, streams: Sequence[bytes]) -> bytes:
    """The whole file."""
    described = description.model_dump_json().encode()
    packed = deflated(described)
    rest = b"".join((packed, *streams))
    return _START.pack(_MAGIC, _VERSION, len(packed), len(described), hashlib.sha256(rest).digest()) + rest


def read(file: Path) -> Contents:
    """A file's description, checked, and its streams, still packed.

    Raises:
        ValueError: it is damaged or forged, none of ours, or of a later version; says which, without its name.
    """
    data = file.read_bytes()
    if len(data) < _START.size or not data.startswith(_MAGIC):
        raise ValueError("it is no compressed model")
    _, version, packed, described, digest = _START.unpack_from(data)
    if version != _VERSION:
        raise ValueError(f"it has version {version} of the format, this lmwb knows {_VERSION}; a later one may read it")
    body = memoryview(data)[_START.size :]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("it is damaged: its checksum is another")
    if described > _MOST_DESCRIBED:
        raise ValueError("its description is too long")
    try:
        description = Description.model_validate_json(inflated(bytes(body[:packed]), described))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"its description is wrong at {place or 'its beginning'}: {first['msg']}") from None
    _check(description)
    return Contents(description, _cut(body[packed:], description), _START.size + packed)


def _cut(body: memoryview, description: Description) -> list[bytes]:
    lengths = [length for weight in description.weights for length in weight.streams]
    lengths += [text.stream for text in description.texts]
    if sum(lengths) != len(body):
        raise ValueError("its description does not fit its length")
    streams: list[bytes] = []
    for length in lengths:
        streams.append(bytes(body[:length]))
        body = body[length:]
    return streams


def _check(description: Description) -> None:
    """See that what is described can be."""
    weights, texts = description.weights, description.texts
    for names in ([each.name for each in weights], [each.name.lower() for each in texts]):
        if len(set(names)) != len(names):
            raise ValueError("it names something twice")
    if any(text.name.startswith(("model.safetensors", "adapter_")) for text in texts):
        raise ValueError("it has texts that say where other weights are")
    if sum(text.size for text in texts) > _MOST_TEXT:
        raise ValueError("its texts are too long")
    for weight in weights:
        if weight.dtype not in WIDTHS or weight.was not in WIDTHS:
            raise ValueError("it has weights of an unknown type")
        if weight.way != "exact" and weight.dtype != "float32":
            raise ValueError("it has rounded weights that are not float32")
        flat = weight.layout == "columns" and len(weight.shape) != 2
        if flat or weight.name == "__metadata__" or len(weight.raw) != len(weight.streams):
            raise ValueError("a weight is described wrongly")
        if weight.kept > weight.size or weight.gaps > weight.kept + weight.size // 255:
            raise ValueError("a weight has more values than it can have")
        if any(raw > _RATIO * packed for raw, packed in zip(weight.raw, weight.streams, strict=True)):
            raise ValueError("a weight is longer than its part of the file can be")
