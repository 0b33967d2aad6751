"""How many queries are answered in one pass over the training rows, and in what form their gradients wait meanwhile.

A query's preconditioned gradient has as many numbers as the layers looked at. Where all queries do not fit into the
memory they may have, first their numbers are halved, then they are approximated by matrices of low rank, and only then
the training rows are passed through more than once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError
from .products import Numbers
from .tracking import Layer

LOWEST_RANK = 64
"""Rank 32 was seen to cost 0.016 of rank correlation on a GPT-2, rank 8 0.14."""
_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class Plan:
    """What was planned.

    Attributes:
        total: how many queries there are.
        queries: how many of them wait in memory at once.
        rank: of their approximation; None for none.
        numbers: the type that they wait in.
        bytes: that they take.
    """

    total: int
    queries: int
    rank: int | None
    numbers: Numbers
    bytes: int

    @property
    def passes(self) -> int:
        """Over the training rows."""
        return -(-self.total // self.queries)

    def sentence(self) -> str:
        """The plan in words."""
        form = "in full" if self.rank is None else f"at rank {self.rank}"
        rounds = "one pass" if self.passes == 1 else f"{self.passes} passes of {self.queries:,}"
        return (
            f"queries: {self.total:,}, their gradients {form} in {self.numbers}, {self.bytes / 2**20:,.0f} MiB; "
            f"{rounds} over the training rows"
        )


def plan_queries(
    layers: Sequence[Layer],
    queries: int,
    memory: int,
    rank: int | Literal["full", "auto"] = "auto",
    numbers: Numbers | Literal["auto"] = "auto",
) -> Plan:
    """Plan for so many queries.

    Args:
        layers: that are looked at.
        queries: how many there are.
        memory: bytes that their gradients may take.
        rank: of their approximation; `auto` for as good a one as there is memory for.
        numbers: the type that they wait in; `auto` likewise.

    Raises:
        UsageError: not a single query fits, or the rank is not positive.
    """
    if not queries:
        raise UsageError("there are no queries; give at least one")
    if isinstance(rank, int) and rank < 1:
        raise UsageError(f"rank must be at least 1, and is {rank}")
    ranks = [None, LOWEST_RANK] if rank == "auto" else [None if rank == "full" else rank]
    if _numbers(layers, ranks[-1]) == _numbers(layers, None):  # all layers are too narrow for it to take less
        ranks = [None]
    kinds: list[Numbers] = ["float32", "bfloat16"] if numbers == "auto" else [numbers]
    found: Plan | None = None
    for tried in ranks:
        for kind in kinds:
            each = _numbers(layers, tried) * _BYTES[kind]
            fit = min(queries, memory // each)
            if fit == queries:
                return Plan(queries, queries, tried, kind, each * queries)
            if fit:
                found = Plan(queries, fit, tried, kind, each * fit)
    if found is None:
        least = _numbers(layers, ranks[-1]) * _BYTES[kinds[-1]]
        raise UsageError(f"memory of {memory:,} bytes does not hold one query's gradient; it takes {least:,}")
    return found


def stored_numbers(layer: Layer, rank: int | None) -> int:
    """Numbers that a query's gradient takes in a layer; low rank is not used where it takes no fewer."""
    low = layer.size if rank is None else rank * (layer.outputs + layer.width)
    return min(layer.size, low)


def _numbers(layers: Sequence[Layer], rank: int | None) -> int:
    return sum(stored_numbers(layer, rank) for layer in layers)
