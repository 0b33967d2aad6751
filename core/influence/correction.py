"""Third phase: what curvature is along each direction, E[(Q_Sᵀ G_i Q_A)²] over rows (George et al. 2018, section 3).

The same without a basis, E[G_i²], is the diagonal strategy's curvature.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..training.objective import Objective
from .gradients import chunks, offsets, sliced, turned_gradients, turned_tokens
from .labels import Labels
from .passes import Subject, walk
from .products import wide
from .storage import save_tensors
from .tracking import Layer
from .watch import Watch

PHASE = "eigenvalue correction"
Basis = Callable[[Layer], tuple[Tensor | None, Tensor] | None]
"""A layer's bases of inputs and outputs; None for no basis."""


class Squares:
    """Adds up the squares of single rows' gradients, layer by layer."""

    def __init__(self, basis: Basis) -> None:
        self.sums: dict[str, Tensor] = {}
        self._basis = basis

    def see(self, layer: Layer, a: Tensor, g: Tensor, _real: Tensor | None) -> None:
        """Count a batch."""
        name = f"{layer.name}/squares"
        if name not in self.sums:
            shape = (layer.outputs, layer.width)
            self.sums[name] = torch.zeros(shape, dtype=wide(g.dtype), device=g.device)
            self.sums[f"{layer.name}/count"] = torch.zeros(1, dtype=torch.int64)
        into, basis = self.sums[name], self._basis(layer)
        turned = None if basis is None else turned_tokens(layer, a, g, *basis)
        if turned is not None or basis is None:
            some_a, some_g = (a, g) if turned is None else turned
            for part, found in sliced(layer, some_a, some_g):
                into[part, : found.shape[-1]] += found.square_().sum(0)
            if basis is None and layer.bias:
                into[:, -1] += offsets(g).square_().sum(0)
        else:
            for _, some_a, some_g in chunks(layer, a, g):
                into += turned_gradients(layer, some_a, some_g, *basis).square_().sum(0)
        self.sums[f"{layer.name}/count"] += len(g)


def fit_squares(
    subject: Subject,
    objective: Objective,
    rows: Sequence[int],
    layers: Sequence[Layer],
    labels: Labels | None,
    basis: Basis,
    file: Path,
    watch: Watch,
) -> None:
    """Write the sums over some rows for some layers: `<layer>/squares` and `<layer>/count`."""
    squares = Squares(basis)
    for _ in walk(subject, objective, rows, squares.see, watch, PHASE, labels=labels, layers=layers):
        pass
    with watch.profile.phase("writing"):
        save_tensors(file, squares.sums)
