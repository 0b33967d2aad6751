"""What is left of a model after pruning, by matrix and in all."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from .masks import masks_of, original_of
from .placing import layer_of
from .selection import count_of

TABLE = "pruning.csv"
"""The table's name in the stage's folder."""


@dataclass(frozen=True)
class Count:
    """Of one matrix: its weights, and how many are kept."""

    matrix: str
    rows: int
    columns: int
    weights: int
    kept: int


@dataclass(frozen=True)
class Counts:
    """Of a model.

    Attributes:
        matrices: the pruned ones.
        others: weights in the same layers that no mask stands before: offsets and norms.
        model: weights of the whole model.
    """

    matrices: Sequence[Count]
    others: int
    model: int

    @property
    def weights(self) -> int:
        """In the pruned matrices."""
        return sum(each.weights for each in self.matrices)

    @property
    def kept(self) -> int:
        """Kept in the pruned matrices."""
        return sum(each.kept for each in self.matrices)

    def results(self) -> dict[str, float | int]:
        """For a stage's results; shares are from 0 to 1."""
        return {
            "kept": self.kept / self.weights,
            "kept_weights": self.kept,
            "masked_weights": self.weights,
            "kept_of_layers": (self.kept + self.others) / (self.weights + self.others),
            "kept_of_model": (self.model - self.weights + self.kept) / self.model,
        }

    def write(self, folder: Path) -> None:
        """Write the table: a line for each matrix, then the sum, then what the layers hold besides."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / TABLE).open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["matrix", "rows", "columns", "weights", "kept", "share"])
            for each in self.matrices:
                writer.writerow(
                    [each.matrix, each.rows, each.columns, each.weights, each.kept, each.kept / each.weights]
                )
            writer.writerow(["all masked", "", "", self.weights, self.kept, self.kept / self.weights])
            writer.writerow(["others in these layers", "", "", self.others, self.others, 1.0])


def count(model: nn.Module) -> Counts:
    """What the masks of a model keep in evaluation."""
    found = [(name, original_of(module), mask.kept(training=False)) for name, module, mask in masks_of(model)]
    matrices = [_of_matrix(name, weight, kept) for name, weight, kept in found]
    layers = {layer_of(name) for name, _, _ in found}
    others = model_size = 0
    for name, weight in model.named_parameters():
        if ".parametrizations." not in name:
            model_size += weight.numel()
            others += weight.numel() if any(name.startswith(f"{layer}.") for layer in layers) else 0
    return Counts(matrices, others, model_size + sum(each.weights for each in matrices))


def _of_matrix(name: str, weight: Tensor, kept: Tensor) -> Count:
    return Count(name, weight.shape[0], weight.shape[1], weight.numel(), count_of(kept))
