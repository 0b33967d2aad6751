"""Causal language modelling: predict each token from those before it."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.crops import Crops
from ...data.rows import Rows
from ..objective import IGNORE, Batch, PerplexityTally


class CausalLM:
    """Cross-entropy of each token given those before it in its document, every token counting alike."""

    def __init__(self, rows: Rows | Crops):
        """The objective over rows of tokens."""
        self.rows = rows
        self._documents = rows.documents if isinstance(rows, Rows) else None
        self._learned = rows.learned if isinstance(rows, Rows) else None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return self.rows.lengths

    @property
    def fingerprint(self) -> str:
        """Changes when the rows do."""
        return self.rows.fingerprint

    def collate(self, rows: Sequence[int], seed: int) -> Batch:  # noqa: ARG002 - nothing is random here
        """Inputs (batch, block) and targets shifted by one; short rows are padded at the end.

        Padding needs no mask: it comes after every token that counts, and its targets are ignored.
        """
        pieces = [self.rows.tokens(row) for row in rows]
        longest = max(len(piece) for piece in pieces) - 1
        ids = torch.zeros(len(pieces), longest, dtype=torch.long)
        targets = torch.full((len(pieces), longest), IGNORE, dtype=torch.long)
        for i, (row, piece) in enumerate(zip(rows, pieces, strict=True)):
            tokens = torch.from_numpy(piece).long()
            ids[i, : len(piece) - 1] = tokens[:-1]
            targets[i, : len(piece) - 1] = tokens[1:]
            if self._learned is not None and isinstance(self.rows, Rows):
                learned = torch.from_numpy(self._learned[slice(*self.rows.bounds[row])])
                targets[i, : len(piece) - 1][~learned[1:]] = IGNORE
        inputs = {"input_ids": ids}
        if self._documents is not None:
            inputs["position_ids"] = self._keep_apart([self._documents[row] for row in rows], targets)
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

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits, (batch, block, vocabulary)."""
        return model(**batch.inputs, use_cache=False).logits

    def loss_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Σ −log p(token | tokens before it)."""
        return F.cross_entropy(outputs.flatten(0, 1).float(), batch.targets.flatten(), reduction="sum")

    def tally(self) -> PerplexityTally:
        """Loss and perplexity."""
        return PerplexityTally()
