"""What an objective is: how rows become a batch, what its loss is, and what a reader wants to know of it.

The loop knows none of them: an objective collates rows, tells how much a batch weighs (the tokens or examples that
its loss is a sum over), lets the model speak, and computes that sum.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
    """Rows, and what is learned from them."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row, (rows,): rows of like length make good batches."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the rows do."""
        ...

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def collate(self, rows: Sequence[int], seed: int) -> Batch:
        """The batch that the rows make, on the CPU.

        Whatever is random in a row is a function of the seed and the row's number alone, so that no figure depends on
        which rows share a batch.
        """
        ...

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the model says of the batch: logits or scores."""
        ...

    def loss_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The sum of the batch's losses over its `weight` predictions, in nats, as a scalar in float32."""
        ...

    def tally(self) -> "Tally":
        """A fresh account for an evaluation."""
        ...


class Tally:
    """Adds up an evaluation batch by batch and divides once, so that padding and batch size leave no trace."""

    def __init__(self) -> None:
        self.loss_sum = 0.0
        self.weight = 0

    def add(self, loss_sum: float, outputs: Tensor, batch: Batch) -> None:  # noqa: ARG002 - for those that count more
        """Count a batch."""
        self.loss_sum += loss_sum
        self.weight += batch.weight

    def merge(self, other: "Tally") -> None:
        """Count what another account of the same kind has counted; each kind that counts more must merge it too."""
        self.loss_sum += other.loss_sum
        self.weight += other.weight

    def figures(self) -> dict[str, float]:
        """What a reader wants to know; `loss` is always there."""
        return {"loss": self.loss_sum / self.weight if self.weight else math.nan}


class PerplexityTally(Tally):
    """Also the exponential of the loss."""

    def figures(self) -> dict[str, float]:
        """Mean loss per token and its exponential."""
        loss = super().figures()["loss"]
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}


def fingerprint_of(*arrays: NDArray[Any]) -> str:
    """A short hash of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
