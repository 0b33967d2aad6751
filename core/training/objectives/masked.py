"""Masked language modelling: predict hidden tokens from all others."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.encoded import EncodedRows
from ..body import between_body_and_head
from ..objective import Batch, PerplexityTally, fingerprint_of
from .masking import Masker

PLACES = "places"
"""The entry of a batch that tells which tokens are hidden; the model does not get it."""


class MaskedLM:
    """Cross-entropy of each hidden token, drawn anew for every seed; evaluation always hides the same ones."""

    def __init__(self, rows: EncodedRows, masker: Masker, pad: int):
        """The objective over rows of tokens; `pad` is the token that fills short rows."""
        self.rows = rows
        self._masker = masker
        self._pad = pad
        self.narrow = True
        """Whether the head sees hidden tokens only, as one row; False keeps the rows apart."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return self.rows.lengths

    @property
    def fingerprint(self) -> str:
        """Changes when the rows do."""
        return fingerprint_of(self.rows.stream, self.rows.bounds)

    def collate(self, rows: Sequence[int], seed: int) -> Batch:
        """Ids with some tokens hidden (batch, longest), where these are, and what they were (hidden,)."""
        bounds = self.rows.bounds[list(rows)]
        lengths = bounds[:, 1] - bounds[:, 0]
        real = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(real.shape, self._pad, np.int64)
        ids[real] = np.concatenate([self.rows.stream[first:end] for first, end in bounds.tolist()])
        hidden, chosen = self._masker.hide(ids, real, rows, seed)
        inputs = {"input_ids": torch.from_numpy(hidden), PLACES: torch.from_numpy(np.flatnonzero(chosen))}
        if not real.all():
            inputs["attention_mask"] = torch.from_numpy(real.astype(np.int64))
        targets = torch.from_numpy(ids[chosen])
        return Batch(inputs, targets, len(targets), int(lengths.sum()))

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits of the hidden tokens, (hidden, vocabulary).

        The head sees these only, unless `narrow` is false: with a share of 15 % it has a seventh of the work.
        """
        inputs = {name: value for name, value in batch.inputs.items() if name != PLACES}
        places = batch.inputs[PLACES]
        with between_body_and_head(model, places if self.narrow else None, batch.inputs["input_ids"].shape) as seen:
            logits: Tensor = model(**inputs).logits
        return logits[0] if seen.narrowed else logits.flatten(0, 1)[places]

    def loss_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Σ −log p(token | the row with hidden tokens)."""
        return F.cross_entropy(outputs.float(), batch.targets, reduction="sum")

    def tally(self) -> PerplexityTally:
        """Loss and perplexity over hidden tokens."""
        return PerplexityTally()
