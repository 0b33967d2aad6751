"""Labels of whole rows: classes by cross-entropy, scores by squared error."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.encoded import EncodedRows
from ...evaluation.metrics import CLASS_FIGURES, Confusion, Scores
from ..objective import Batch, Tally, fingerprint_of
from .padding import padded


class _Labelled:
    """Rows of tokens with a label each; unlabelled rows have zeros, and only `forward` is of use."""

    def __init__(self, rows: EncodedRows, labels: NDArray[np.int64] | NDArray[np.float32], pad: int):
        """The objective over rows (rows,) and labels (rows,); `pad` is the token that fills short rows."""
        self.rows = rows
        self.labels = labels
        self._pad = pad
        self.with_types = True
        """Whether the model is told which of a pair's texts a token belongs to."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return self.rows.lengths

    @property
    def fingerprint(self) -> str:
        """Changes when the rows or their labels do."""
        return fingerprint_of(self.rows.stream, self.rows.bounds, self.labels)

    def collate(self, rows: Sequence[int], seed: int) -> Batch:  # noqa: ARG002 - nothing is random here
        """Inputs (batch, longest row) and labels (batch,)."""
        inputs = padded(self.rows, rows, self._pad, self.with_types)
        return Batch(inputs, torch.from_numpy(self.labels[list(rows)]), len(rows), int(inputs["attention_mask"].sum()))

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits, (batch, classes), or scores, (batch, 1)."""
        return model(**batch.inputs).logits


class Classification(_Labelled):
    """Cross-entropy of each row's class."""

    def __init__(
        self,
        rows: EncodedRows,
        labels: NDArray[np.int64],
        pad: int,
        classes: int,
        figures: Sequence[str] = ("accuracy",),
    ):
        """Classes are numbered from 0; `figures` are names in `CLASS_FIGURES`."""
        super().__init__(rows, labels, pad)
        self._classes = classes
        self._figures = figures

    def loss_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Σ −log p(class | text)."""
        return F.cross_entropy(outputs.float(), batch.targets, reduction="sum")

    def tally(self) -> "ClassTally":
        """Loss and the figures asked for."""
        return ClassTally(self._classes, self._figures)


class Regression(_Labelled):
    """Squared error of each row's score."""

    def loss_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Σ (score − truth)²."""
        return F.mse_loss(outputs.float().squeeze(-1), batch.targets, reduction="sum")

    def tally(self) -> "ScoreTally":
        """Mean squared error and both correlations."""
        return ScoreTally()


class ClassTally(Tally):
    """Also counts which class was taken for which."""

    def __init__(self, classes: int, figures: Sequence[str]):
        """An empty account."""
        super().__init__()
        self._confusion = Confusion(classes)
        self._figures = figures

    def add(self, loss_sum: float, outputs: Tensor, batch: Batch) -> None:
        """Count a batch."""
        super().add(loss_sum, outputs, batch)
        self._confusion.add(outputs.argmax(-1).cpu().numpy(), batch.targets.cpu().numpy())

    def merge(self, other: Tally) -> None:
        """Count what another has counted."""
        assert isinstance(other, ClassTally)
        super().merge(other)
        self._confusion.counts += other._confusion.counts

    def figures(self) -> dict[str, float]:
        """Mean loss and what the task asks for."""
        return super().figures() | {name: CLASS_FIGURES[name](self._confusion) for name in self._figures}


class ScoreTally(Tally):
    """Also keeps the scores, for correlations."""

    def __init__(self) -> None:
        super().__init__()
        self._scores = Scores()

    def add(self, loss_sum: float, outputs: Tensor, batch: Batch) -> None:
        """Count a batch."""
        super().add(loss_sum, outputs, batch)
        self._scores.add(outputs.double().squeeze(-1).cpu().numpy(), batch.targets.cpu().numpy())

    def merge(self, other: Tally) -> None:
        """Take another's scores too."""
        assert isinstance(other, ScoreTally)
        super().merge(other)
        self._scores.merge(other._scores)

    def figures(self) -> dict[str, float]:
        """Mean squared error, which is the loss, and correlations with the truth."""
        found = super().figures()
        return {
            **found,
            "mse": found["loss"],
            "pearson": self._scores.pearson(),
            "spearman": self._scores.spearman(),
        }
