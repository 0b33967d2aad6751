"""What one score stands for: a single weight, or several that are kept or pruned together.

A mask knows its matrix only through a `Grain`. To prune blocks, rows, columns or heads, write a class with these three
functions, give it a place in the recipe's table, and hand it to `Mask`: selection, regularisers, schedule, storage
and counts then work on it as they are.
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
