"""What training rows come to for prepared queries: Σ over layers of ⟨P(G_q), G_i⟩, of rows or of single tokens.

A row's gradient is formed once and multiplied with those of all queries. A token's part of it is g_tᵀ P(G_q) a_t, and
the parts of a row's tokens add up to the row's score.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UsageError
from ..training.objective import Batch, Objective
from ..training.objectives.causal import CausalLM
from .factors import Factors, grouped
from .gradients import chunks, offsets, sliced
from .labels import underlying
from .passes import Subject
from .preconditioner import Preconditioner
from .prepared import Prepared, factor_bytes
from .sides import Side, pass_over
from .tracking import Layer
from .watch import Watch

PHASE = "training gradients"
TOKENS = "scores of tokens"
_IN_CACHE = 2**18
"""Numbers of one product that are made and used up at once when tokens are scored."""


def row_scores(subject: Subject, prepared: Prepared, train: Side, watch: Watch) -> Tensor:
    """(queries, rows) of the training rows, in their order, on the CPU."""
    place = {row: i for i, row in enumerate(train.rows)}
    found = torch.empty(prepared.count, len(train.rows), dtype=prepared.kind)
    scores: list[Tensor] = []

    def begin(rows: Sequence[int], _batch: Batch) -> None:
        scores[:] = [torch.zeros(prepared.count, len(rows), dtype=prepared.kind, device=subject.device)]

    def see(layer: Layer, a: Tensor, g: Tensor, _real: Tensor | None) -> None:
        column = offsets(g).to(prepared.kind) if layer.bias else None
        for queries, weights, query_column in prepared.spans(layer):
            into, flat = scores[0][queries], weights.flatten(1)
            for outputs, found in sliced(layer, a, g):
                columns = slice(outputs.start * layer.inputs, outputs.stop * layer.inputs)  # of the matrix, not copied
                into.addmm_(flat[:, columns], found.flatten(1).to(prepared.kind).T)
            if column is not None and query_column is not None:
                into.addmm_(query_column, column.T)

    for rows in pass_over(subject, train, see, watch, PHASE, begin=begin):
        found[:, [place[row] for row in rows]] = scores[0].cpu()
    return found


def self_scores(
    subject: Subject, factors: Factors, train: Side, damping: float | None, memory: int, watch: Watch
) -> Tensor:
    """score(i, i) of the training rows, (rows,), on the CPU.

    Raises:
        UsageError: the damping makes a layer singular.
    """
    place = {row: i for i, row in enumerate(train.rows)}
    found: Tensor | None = None
    for layers in grouped(subject.layers, lambda layer: factor_bytes(factors, layer), memory):
        known = {layer.name: factors.preconditioner(layer, damping, subject.device) for layer in layers}
        scores: list[Tensor] = []

        def see(
            layer: Layer, a: Tensor, g: Tensor, _real: Tensor | None,
            known: dict[str, Preconditioner] = known, scores: list[Tensor] = scores,
        ) -> None:  # fmt: skip
            part = [known[layer.name].of_self(some_a, some_g) for _, some_a, some_g in chunks(layer, a, g)]
            scores[:] = [torch.cat(part) + (scores[0] if scores else 0)]

        for rows in pass_over(subject, train, see, watch, PHASE, layers=layers):
            if found is None:
                found = torch.zeros(len(train.rows), dtype=scores[0].dtype)
            found[[place[row] for row in rows]] += scores[0].cpu()
            scores.clear()
    return torch.zeros(0) if found is None else found


def token_scores(subject: Subject, prepared: Prepared, train: Side, watch: Watch) -> dict[int, NDArray[np.float64]]:
    """By training row, the score of each of its tokens for every query, (queries, tokens).

    Token t of a language model's row is its input t: what it brings to the prediction of all that follows.

    Raises:
        UsageError: the rows have no tokens, or a layer sees them only together.
    """
    found: dict[int, NDArray[np.float64]] = {}
    taken = _TokenSums(subject, prepared, None)
    for rows in pass_over(subject, train, taken.see, watch, TOKENS, begin=taken.begin):
        for i, (row, length) in enumerate(zip(rows, _real_lengths(train.objective, rows, taken.width), strict=True)):
            found[row] = taken.sums[:, i, :length].cpu().numpy()
    return found


def token_scores_of_pairs(
    subject: Subject, prepared: Prepared, train: Side, pairs: Mapping[int, Sequence[int]], watch: Watch
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """By query's place and training row, the scores of the row's tokens, (tokens,), for some pairs only.

    Args:
        subject: the model.
        prepared: the queries.
        train: the training side; of its rows, those in `pairs` are passed through.
        pairs: by training row, the places of the queries that are asked for.
        watch: hears how far it is.

    Raises:
        UsageError: as `token_scores`.
    """
    found: dict[tuple[int, int], NDArray[np.float64]] = {}
    taken = _TokenSums(subject, prepared, pairs)
    chosen = train.only([row for row in train.rows if row in pairs])
    for rows in pass_over(subject, chosen, taken.see, watch, TOKENS, begin=taken.begin):
        for i, (row, length) in enumerate(zip(rows, _real_lengths(train.objective, rows, taken.width), strict=True)):
            for k, query in enumerate(pairs[row]):
                found[query, row] = taken.sums[k, i, :length].cpu().numpy().copy()
    return found


def layer_of_whole_rows(subject: Subject, objective: Objective) -> str | None:
    """The name of a layer that sees a row's tokens only together, so that their scores cannot be told apart; None if
    there is none. It is found by the objective's longest row, which must have tokens."""
    found: list[str] = []
    width = 1

    def begin(_rows: Sequence[int], batch: Batch) -> None:
        nonlocal width
        width = batch.inputs["input_ids"][0].numel()

    def see(layer: Layer, _a: Tensor, g: Tensor, _real: Tensor | None) -> None:
        if g.shape[1] % width:
            found.append(layer.name)

    longest = Side(objective, [int(objective.lengths.argmax())])
    for _ in pass_over(subject, longest, see, Watch(), PHASE, begin=begin):
        pass
    return found[0] if found else None


class _TokenSums:
    """Adds up a batch's scores of tokens, (queries, rows, tokens): of all queries, or of each row's own."""

    def __init__(self, subject: Subject, prepared: Prepared, pairs: Mapping[int, Sequence[int]] | None):
        self._subject, self._prepared, self._pairs = subject, prepared, pairs
        self._rows: Sequence[int] = ()
        self.width = 0
        self.sums: Tensor

    def begin(self, rows: Sequence[int], batch: Batch) -> None:
        """A batch comes."""
        ids = batch.inputs.get("input_ids")
        if ids is None:
            raise UsageError("these rows have no tokens; ask for the scores of rows")
        self._rows, self.width = rows, ids[0].numel()
        count = self._prepared.count if self._pairs is None else max(len(self._pairs[row]) for row in rows)
        self.sums = torch.zeros(
            count, *ids.shape[:1], self.width, dtype=self._prepared.kind, device=self._subject.device
        )

    def see(self, layer: Layer, a: Tensor, g: Tensor, _real: Tensor | None) -> None:
        """Count a layer."""
        if g.shape[1] % self.width:
            raise UsageError(
                f"layer '{layer.name}' sees a row's tokens only together, so their scores cannot be told apart; leave "
                "it out of `layers`, or ask for the scores of rows"
            )
        if self._pairs is None:
            for queries, weights, column in self._prepared.spans(layer):
                part = _per_token(layer, weights, column, a.flatten(0, 1), g.flatten(0, 1))
                self.sums[queries] += self._apart(part.unflatten(1, g.shape[:2]))
            return
        for i, row in enumerate(self._rows):
            for k, query in enumerate(self._pairs[row]):
                weights, column = self._prepared.of(layer, slice(query, query + 1))
                part = _per_token(layer, weights, column, a[i], g[i])
                self.sums[k, i] += self._apart(part[:, None])[0, 0]

    def _apart(self, scores: Tensor) -> Tensor:
        """(queries, rows, tokens), summed over the uses of a layer that a model uses more than once."""
        return scores.unflatten(2, (-1, self.width)).sum(2)


def _per_token(layer: Layer, weights: Tensor, column: Tensor | None, a: Tensor, g: Tensor) -> Tensor:
    """g_tᵀ (W a_t + w), (queries, tokens).

    Args:
        layer: whose.
        weights: W, (queries, outputs, inputs).
        column: w, (queries, outputs).
        a: (tokens, inputs), or ids (tokens,).
        g: (tokens, outputs).
    """
    found = torch.empty(len(weights), len(g), dtype=weights.dtype, device=g.device)
    kind = weights.dtype
    if layer.kind == "embedding":
        for query, weight in enumerate(weights):
            found[query] = (weight[:, a].T * g).sum(1)
        return found
    narrow = min(layer.inputs, layer.outputs)
    step = max(1, _IN_CACHE // narrow)
    for start in range(0, len(g), step):
        part = slice(start, start + step)
        some_a, some_g = a[part].to(kind), g[part].to(kind)
        for query, weight in enumerate(weights):
            if layer.inputs < layer.outputs:
                found[query, part] = (some_g @ weight).mul_(some_a).sum(1)
            else:
                found[query, part] = (some_a @ weight.T).mul_(some_g).sum(1)
    if column is not None:
        found += column @ g.to(kind).T
    return found


def _real_lengths(objective: Objective, rows: Sequence[int], width: int) -> list[int]:
    """How many tokens of each row the model reads."""
    kind = underlying(objective)
    fewer = 1 if isinstance(kind, CausalLM) else 0
    lengths = objective.lengths
    return [min(width, int(lengths[row]) - fewer) for row in rows]
