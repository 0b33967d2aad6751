"""What one score stands for: a single weight, or several that are kept or pruned together.

A mask knows its matrix only through a `Grain`: selection, regularisers, schedule, storage and counts work on any.
Blocks, rows, columns and heads stand in `units.py`.
"""

from typing import Protocol

from torch import Tensor


class Grain(Protocol):
    """How scores lie over a matrix."""

    def shape(self, weight: Tensor) -> tuple[int, ...]:
        """The shape of the scores for a matrix, as its layer stores it: (out, in), for GPT-2's Conv1D (in, out)."""
        ...

    def spread(self, kept: Tensor, weight: Tensor) -> Tensor:
        """From one value for each score to one for each weight; the scores' own tensor if the shapes are one."""
        ...

    def gather(self, gradient: Tensor, scores: Tensor) -> Tensor:
        """Sum what belongs to each weight to what belongs to each score, in the scores' shape."""
        ...


class EachWeight:
    """One score for each weight, as published."""

    def shape(self, weight: Tensor) -> tuple[int, ...]:
        """The matrix's own."""
        return tuple(weight.shape)

    def spread(self, kept: Tensor, weight: Tensor) -> Tensor:  # noqa: ARG002
        """Nothing to do."""
        return kept

    def gather(self, gradient: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        """Nothing to do."""
        return gradient
