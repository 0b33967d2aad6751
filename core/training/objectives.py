"""What is learned: how rows become a batch, and what its loss is.

The loop knows nothing of it: an objective collates rows, tells how much a batch weighs (the tokens or
examples that its loss is a sum over), and computes that sum.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.rows import Rows

IGNORE = -100
"""Targets that are not learned."""


@dataclass(frozen=True)
class Batch:
    """Rows made ready for a model.

    Attributes:
        inputs: the model's arguments, each (batch, ...).
        targets: what is to be predicted; `IGNORE` where nothing is.
        weight: how many predictions count: what the sum of losses is divided by.
        tokens: how many tokens the model reads, padding left out.
    """

    inputs: Mapping[str, Tensor]
    targets: Tensor
    weight: int
    tokens: int

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        if device.type == "cpu":
            return self
        inputs = {name: value.to(device, non_blocking=True) for name, value in self.inputs.items()}
        return Batch(inputs, self.targets.to(device, non_blocking=True), self.weight, self.tokens)


class Objective(Protocol):
    """What is learned."""

    def collate(self, rows: Sequence[int]) -> Batch:
        """The batch that the rows make, on the CPU."""
        ...

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum of the batch's losses over its `weight` predictions, in nats, as a scalar in float32."""
        ...

    def figures(self, loss_sum: float, weight: int) -> dict[str, float]:
        """What a reader wants to know of an evaluation with these sums."""
        ...


class CausalLM:
    """Predict each token from those before it: cross-entropy, every token counting alike."""

    def __init__(self, rows: Rows):
        """The objective over rows of tokens."""
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def collate(self, rows: Sequence[int]) -> Batch:
        """Inputs (batch, block) and targets shifted by one; short rows are padded at the end.

        Padding needs no mask: it comes after every token that counts, and its targets are ignored.
        """
        pieces = [self._rows.tokens(row) for row in rows]
        longest = max(len(piece) for piece in pieces) - 1
        ids = torch.zeros(len(pieces), longest, dtype=torch.long)
        targets = torch.full((len(pieces), longest), IGNORE, dtype=torch.long)
        for i, piece in enumerate(pieces):
            tokens = torch.from_numpy(piece).long()
            ids[i, : len(piece) - 1] = tokens[:-1]
            targets[i, : len(piece) - 1] = tokens[1:]
        inputs = {"input_ids": ids}
        if self._rows.documents is not None:
            inputs["position_ids"] = self._keep_apart([self._rows.documents[row] for row in rows], targets)
        weight = int((targets != IGNORE).sum())
        return Batch(inputs, targets, weight, sum(len(piece) - 1 for piece in pieces))

    def _keep_apart(self, lengths: Sequence[Sequence[int]], targets: Tensor) -> Tensor:
        """Positions that start anew with each document, from which transformers derives a block-diagonal mask;
        removes the targets that would predict a document's first token."""
        positions = torch.zeros_like(targets)
        for i, documents in enumerate(lengths):
            ends = list(itertools.accumulate(documents))
            targets[i, [end - 1 for end in ends[:-1]]] = IGNORE
            starts = [0, *ends[:-1], ends[-1] - 1]  # what is left is padding, a document of its own
            for start, end in itertools.pairwise([*starts, targets.shape[1]]):
                positions[i, start:end] = torch.arange(end - start)
        return positions

    def loss_sum(self, model: nn.Module, batch: Batch) -> Tensor:
        """Σ −log p(token | tokens before it)."""
        logits = model(**batch.inputs, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1).float(), batch.targets.flatten(), reduction="sum")

    def figures(self, loss_sum: float, weight: int) -> dict[str, float]:
        """Mean loss per token and its exponential."""
        loss = loss_sum / weight
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}
