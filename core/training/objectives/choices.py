"""Multiple choice: which of several endings is right."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.choice_rows import ChoiceRows
from ..objective import IGNORE, Batch, Tally, fingerprint_of
from .padding import padded


class MultipleChoice:
    """Cross-entropy of the right one among a question's endings; questions without a label count for nothing."""

    def __init__(self, questions: ChoiceRows, pad: int):
        """The objective over questions; `pad` is the token that fills short endings."""
        self.questions = questions
        self._pad = pad
        self.with_types = True
        """Whether the model is told which tokens belong to the ending."""

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each question, all endings together."""
        return self.questions.rows.lengths.reshape(-1, self.questions.endings).sum(axis=1)

    @property
    def fingerprint(self) -> str:
        """Changes when the questions or their labels do."""
        rows = self.questions.rows
        return fingerprint_of(rows.stream, rows.bounds, self.questions.labels)

    def collate(self, rows: Sequence[int], seed: int) -> Batch:  # noqa: ARG002 - nothing is random here
        """Inputs (batch, endings, longest) and the numbers of the right endings (batch,)."""
        count = self.questions.endings
        chosen = [row * count + ending for row in rows for ending in range(count)]
        flat = padded(self.questions.rows, chosen, self._pad, self.with_types)
        inputs = {name: value.view(len(rows), count, -1) for name, value in flat.items()}
        targets = torch.from_numpy(self.questions.labels[list(rows)])
        targets = targets.masked_fill(targets < 0, IGNORE)
        return Batch(inputs, targets, int((targets != IGNORE).sum()), int(flat["attention_mask"].sum()))

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Scores, (batch, endings)."""
        return model(**batch.inputs).logits

    def loss_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Σ −log p(right ending), p a softmax over a question's scores."""
        return F.cross_entropy(outputs.float(), batch.targets, reduction="sum", ignore_index=IGNORE)

    def tally(self) -> "ChoiceTally":
        """Loss and accuracy."""
        return ChoiceTally()


class ChoiceTally(Tally):
    """Also counts the questions answered rightly."""

    def __init__(self) -> None:
        super().__init__()
        self._right = 0

    def add(self, loss_sum: float, outputs: Tensor, batch: Batch) -> None:
        """Count a batch."""
        super().add(loss_sum, outputs, batch)
        self._right += int((outputs.argmax(-1) == batch.targets).sum())

    def merge(self, other: Tally) -> None:
        """Count what another has counted."""
        assert isinstance(other, ChoiceTally)
        super().merge(other)
        self._right += other._right

    def figures(self) -> dict[str, float]:
        """Mean loss and the share of right answers."""
        found = super().figures()
        return {**found, "accuracy": self._right / self.weight if self.weight else float("nan")}
