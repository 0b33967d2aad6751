"""Scores for blocks, rows, columns and heads: weights that are kept or pruned together (Lagunas et al. 2021).

Where a whole row of a matrix goes, nn_pruning masks its bias, too. Here biases stay: what a row without weights
leaves is a constant, which `shrink` adds to the next bias exactly.
"""

import math
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ValueInRecipeError
from ..names import find_layers
from ..structured.anatomy import layers_of
from .placing import is_transposed
from .shapes import EachWeight, Grain


class Blocks:
    """One score for each block of a matrix; the last blocks may be smaller."""

    def __init__(self, rows: int | None, columns: int | None, transposed: bool):
        """Blocks of so many outputs by so many inputs, None for all; `transposed` if stored as (in, out)."""
        self._block = (columns, rows) if transposed else (rows, columns)

    def shape(self, weight: Tensor) -> tuple[int, ...]:
        """How many blocks there are, as the matrix is stored."""
        return tuple(math.ceil(size / step) for size, step in zip(weight.shape, self._steps(weight), strict=True))

    def spread(self, kept: Tensor, weight: Tensor) -> Tensor:
        """Each block's value at each of its weights."""
        for axis, step in enumerate(self._steps(weight)):
            kept = kept.repeat_interleave(step, axis).narrow(axis, 0, weight.shape[axis])
        return kept

    def gather(self, gradient: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002
        """The sum over each block."""
        rows, columns = self.shape(gradient)
        high, wide = self._steps(gradient)
        whole = F.pad(gradient, (0, columns * wide - gradient.shape[1], 0, rows * high - gradient.shape[0]))
        return whole.view(rows, high, columns, wide).sum((1, 3))

    def _steps(self, weight: Tensor) -> tuple[int, int]:
        high, wide = self._block
        return high or weight.shape[0], wide or weight.shape[1]


def grains_of(
    number: int, units: Mapping[str, str], matrices: Mapping[str, nn.Module], model: nn.Module
) -> dict[str, Grain]:
    """What one score stands for in each of the layers to prune.

    Args:
        number: of the method in the recipe, for errors.
        units: by pattern of names: `weights`, `rows` (all weights of an output), `columns` (of an input), `heads`, or
            such as `32x32`; the last that matches counts.
        matrices: the layers, by name.
        model: that they are in.

    Raises:
        ValueInRecipeError: a pattern means none of them, or a layer has no heads.
    """
    key = f"method.{number}.units"
    chosen = dict.fromkeys(matrices, "weights")
    for pattern, unit in units.items():
        chosen |= dict.fromkeys(find_layers(key, pattern, matrices, lambda _: None, "pruned layer"), unit)
    grains: dict[str, Grain] = {}
    for name, module in matrices.items():
        grain = _grain(chosen[name], module, model)
        if grain is None:
            text = f"'{name}' is no part of an attention whose heads are known; those of BERT's and GPT-2's kin are"
            raise ValueInRecipeError(key, text)
        grains[name] = grain
    return grains


def _grain(unit: str, module: nn.Module, model: nn.Module) -> Grain | None:
    """One score's share of a layer; None for heads that it does not have."""
    transposed = is_transposed(module)
    if unit == "weights":
        return EachWeight()
    if unit == "rows":
        return Blocks(1, None, transposed)
    if unit == "columns":
        return Blocks(None, 1, transposed)
    if unit == "heads":
        return _heads(module, transposed, model)
    rows, _, columns = unit.partition("x")
    return Blocks(int(rows), int(columns), transposed)


def _heads(module: nn.Module, transposed: bool, model: nn.Module) -> Blocks | None:
    """The outputs of each head where a layer leads to heads, the inputs where it leads from them."""
    for layer in layers_of(model):
        if any(module is each for each in layer.projections):
            return Blocks(layer.head_size, None, transposed)
        if module is layer.output:
            return Blocks(None, layer.head_size, transposed)
    return None
