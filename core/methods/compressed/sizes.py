"""Where the bytes of a compressed model are."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .container import Contents
from .values import WIDTHS

VECTORS, TEXTS, DESCRIPTION = "vectors", "texts", "description"


@dataclass(frozen=True)
class Part:
    """Matrices that are called alike but for their layers' numbers, or another part of a file.

    Attributes:
        name: with `*` for numbers; `vectors` are biases, norms and the like, `texts` configuration and tokenizer.
        weights: how many there are, zeros included.
        kept: how many are not zero.
        before: bytes as they were stored before.
        positions, values: bytes in the file.
    """

    name: str
    weights: int = 0
    kept: int = 0
    before: int = 0
    positions: int = 0
    values: int = 0

    @property
    def after(self) -> int:
        """Bytes in the file."""
        return self.positions + self.values


def sizes_of(contents: Contents) -> list[Part]:
    """The parts of a file, in its order; their bytes add up to its length."""
    parts: dict[str, Part] = {}
    for weight in contents.description.weights:
        name = _pattern(weight.name) if len(weight.shape) > 1 else VECTORS
        positions = 0 if weight.layout == "dense" else weight.streams[0]
        before = weight.size * WIDTHS[weight.was]
        part = Part(name, weight.size, weight.kept, before, positions, sum(weight.streams) - positions)
        parts[name] = _sum(parts[name], part) if name in parts else part
    matrices = [part for name, part in parts.items() if name != VECTORS]
    texts = contents.description.texts
    return [
        *matrices,
        *([parts[VECTORS]] if VECTORS in parts else []),
        Part(TEXTS, before=sum(text.size for text in texts), values=sum(text.stream for text in texts)),
        Part(DESCRIPTION, values=contents.overhead),
    ]


def total(parts: Sequence[Part]) -> Part:
    """All parts together."""
    whole = Part("together")
    for part in parts:
        whole = _sum(whole, part)
    return whole


def _sum(one: Part, other: Part) -> Part:
    numbers = ("weights", "kept", "before", "positions", "values")
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in numbers})


def _pattern(name: str) -> str:
    return re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", name)
