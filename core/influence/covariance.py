"""First phase: the second moments of inputs and of output gradients, A = E[a aᵀ] and S = E[g gᵀ] over real tokens.

Martens & Grosse 2015 (equation 1 and section 2.3). Sums over parts of the rows and of the layers are kept each in a
file of its own, which is what a killed run goes on from and what several processes share out among themselves.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..training.objective import Objective
from .labels import Labels
from .passes import Subject, walk
from .products import gram, wide
from .storage import save_tensors
from .tracking import Layer
from .watch import Watch

PHASE = "covariance"


class Covariance:
    """Adds up products of inputs and of gradients, layer by layer."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self._last: tuple[Tensor, Tensor] | None = None

    def see(self, layer: Layer, a: Tensor, g: Tensor, real: Tensor | None) -> None:
        """Count a batch; upper halves only."""
        count = g.shape[0] * g.shape[1] if real is None else int(real.sum())
        if layer.kind == "embedding":
            ids = a.flatten() if real is None else a[real]
            self._add(layer, "inputs", torch.bincount(ids, minlength=layer.inputs).to(wide(g.dtype)))
        else:
            self._add(layer, "inputs", self._of_inputs(layer, a, real))
        self._add(layer, "outputs", gram(g.flatten(0, 1)))  # zero where there is padding
        self._add(layer, "count", torch.tensor([count], dtype=torch.int64))

    def _of_inputs(self, layer: Layer, a: Tensor, real: Tensor | None) -> Tensor:
        """Worked out once for layers that see the same inputs one after the other, such as query, key and value."""
        if self._last is not None:
            x, known = self._last
            if x.data_ptr() == a.data_ptr() and x.shape == a.shape and len(known) == layer.width:
                return known
        flat = a.flatten(0, 1) if real is None else a[real]
        known = torch.zeros(layer.width, layer.width, dtype=wide(a.dtype), device=a.device)
        known[: layer.inputs, : layer.inputs] = gram(flat)
        if layer.bias:
            known[: layer.inputs, -1] = flat.sum(0, dtype=known.dtype)
            known[-1, -1] = len(flat)
        self._last = (a, known)
        return known

    def _add(self, layer: Layer, what: str, value: Tensor) -> None:
        name = f"{layer.name}/{what}"
        if name in self.sums:
            self.sums[name] += value
        else:
            self.sums[name] = value.clone()


def fit_covariance(
    subject: Subject,
    objective: Objective,
    rows: Sequence[int],
    layers: Sequence[Layer],
    labels: Labels | None,
    file: Path,
    watch: Watch,
) -> None:
    """Write the sums over some rows for some layers: `<layer>/inputs`, `<layer>/outputs` and `<layer>/count`."""
    covariance = Covariance()
    for _ in walk(subject, objective, rows, covariance.see, watch, PHASE, labels=labels, layers=layers):
        pass
    with watch.profile.phase("writing"):
        save_tensors(file, covariance.sums)
