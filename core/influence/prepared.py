"""Queries made ready: the preconditioned gradient of each, in full or at low rank, waiting for the training rows."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..training.objective import Batch
from ..training.randomness import generator
from .factors import Factors, grouped
from .gradients import chunks, full_gradients
from .passes import Subject
from .planner import Plan, stored_numbers
from .preconditioner import Preconditioner
from .products import wide
from .sides import Side, pass_over
from .tracking import Layer
from .watch import Watch

PHASE = "query gradients"
_POWER = 2
_REBUILT = 2**25
"""Numbers of queries' gradients that are rebuilt from low rank, or widened, at once."""


class Prepared:
    """Preconditioned gradients of queries, layer by layer."""

    def __init__(self, layers: Sequence[Layer], count: int, plan: Plan, kind: torch.dtype, device: torch.device):
        """Room for `count` queries; `kind` is the type of sums."""
        self.count = count
        self.rank = plan.rank
        self.kind = kind
        kept = torch.bfloat16 if plan.numbers == "bfloat16" and kind == torch.float32 else kind
        self._weights: dict[str, Tensor] = {}
        self._offsets: dict[str, Tensor] = {}
        self._left: dict[str, Tensor] = {}
        self._right: dict[str, Tensor] = {}
        for layer in layers:
            if plan.rank is not None and stored_numbers(layer, plan.rank) < layer.size:
                self._left[layer.name] = torch.empty(count, layer.outputs, plan.rank, dtype=kept, device=device)
                self._right[layer.name] = torch.empty(count, plan.rank, layer.width, dtype=kept, device=device)
                continue
            self._weights[layer.name] = torch.empty(count, layer.outputs, layer.inputs, dtype=kept, device=device)
            if layer.bias:
                self._offsets[layer.name] = torch.empty(count, layer.outputs, dtype=kept, device=device)

    def put(self, layer: Layer, places: Sequence[int], found: Tensor) -> None:
        """Keep gradients (places, outputs, width) of a layer."""
        at = torch.tensor(places, device=found.device)
        if layer.name in self._left:
            assert self.rank is not None
            left, right = low_rank(found, self.rank)
            self._left[layer.name][at] = left.to(self._left[layer.name].dtype)
            self._right[layer.name][at] = right.to(self._right[layer.name].dtype)
            return
        kept = self._weights[layer.name]
        kept[at] = found[..., : layer.inputs].to(kept.dtype)
        if layer.bias:
            self._offsets[layer.name][at] = found[..., -1].to(kept.dtype)

    def spans(self, layer: Layer) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        """Queries, their weights (queries, outputs, inputs) and offsets (queries, outputs), some at a time."""
        whole = layer.name in self._weights and self._weights[layer.name].dtype == self.kind
        step = self.count if whole else max(1, _REBUILT // layer.size)
        for start in range(0, self.count, step):
            part = slice(start, min(start + step, self.count))
            yield part, *self.of(layer, part)

    def of(self, layer: Layer, part: slice) -> tuple[Tensor, Tensor | None]:
        """Weights and offsets of some queries, in the type of sums."""
        if layer.name in self._left:
            full = self._left[layer.name][part].to(self.kind) @ self._right[layer.name][part].to(self.kind)
            return full[..., : layer.inputs], full[..., -1] if layer.bias else None
        offsets = self._offsets[layer.name][part].to(self.kind) if layer.bias else None
        return self._weights[layer.name][part].to(self.kind), offsets


def prepare(
    subject: Subject,
    factors: Factors,
    queries: Side,
    plan: Plan,
    damping: float | None,
    memory: int,
    watch: Watch,
    aggregated: bool = False,
) -> Prepared:
    """Work out the preconditioned gradients of queries, all of which must fit the plan.

    Args:
        subject: the model.
        factors: of its curvature.
        queries: whose gradients.
        plan: in what form they wait.
        damping: λ; None for a tenth of each layer's mean eigenvalue.
        memory: bytes that factors may take at once; the queries are passed through once for each group of layers.
        watch: hears how far it is.
        aggregated: sum them up: a single query comes out.

    Raises:
        UsageError: the damping makes a layer singular, or queries do not match the model.
    """
    kind = wide(next(subject.model.parameters()).dtype)
    prepared = Prepared(subject.layers, 1 if aggregated else len(queries.rows), plan, kind, subject.device)
    place = {row: i for i, row in enumerate(queries.rows)}
    for layers in grouped(subject.layers, lambda layer: factor_bytes(factors, layer), memory):
        with watch.profile.phase("reading factors"):
            known = {layer.name: factors.preconditioner(layer, damping, subject.device) for layer in layers}
        if aggregated:
            _sum_up(subject, queries, layers, known, prepared, watch)
            continue
        current: list[int] = []

        def begin(rows: Sequence[int], _batch: Batch, current: list[int] = current) -> None:
            current[:] = [place[row] for row in rows]

        def see(
            layer: Layer, a: Tensor, g: Tensor, _real: Tensor | None,
            known: dict[str, Preconditioner] = known, current: list[int] = current,
        ) -> None:  # fmt: skip
            for part, some_a, some_g in chunks(layer, a, g):
                prepared.put(layer, current[part], known[layer.name].of_rows(some_a, some_g))

        for _ in pass_over(subject, queries, see, watch, PHASE, layers=layers, begin=begin):
            pass
    return prepared


def low_rank(found: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Left (rows, outputs, rank) and right (rows, rank, width) whose product is near each matrix.

    By subspace iteration from a fixed start (Halko et al. 2011, algorithm 4.4), so the same comes out every time.
    """
    start = torch.randn(found.shape[-1], rank, generator=generator(0, "low rank"), dtype=torch.float64)
    basis = torch.linalg.qr(found @ start.to(found)).Q
    for _ in range(_POWER):
        basis = torch.linalg.qr(found @ torch.linalg.qr(found.transpose(1, 2) @ basis).Q).Q
    return basis, basis.transpose(1, 2) @ found


def _sum_up(
    subject: Subject,
    queries: Side,
    layers: Sequence[Layer],
    known: dict[str, Preconditioner],
    prepared: Prepared,
    watch: Watch,
) -> None:
    sums: dict[str, Tensor] = {}

    def see(layer: Layer, a: Tensor, g: Tensor, _real: Tensor | None) -> None:
        for _, some_a, some_g in chunks(layer, a, g):
            found = full_gradients(layer, some_a, some_g).sum(0)
            sums[layer.name] = sums[layer.name] + found if layer.name in sums else found

    for _ in pass_over(subject, queries, see, watch, PHASE, layers=layers):
        pass
    for layer in layers:
        prepared.put(layer, [0], known[layer.name].of_gradient(sums[layer.name][None]))


def factor_bytes(factors: Factors, layer: Layer) -> int:
    """What a layer's preconditioner takes in memory."""
    if factors.strategy == "identity":
        return 1
    bases = 0 if factors.strategy == "diagonal" else layer.width**2 + layer.outputs**2
    return 4 * (layer.size + bases)
