"""Masked language modelling: predict hidden tokens from all others."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.encoded import EncodedRows
from ..objective import Batch, PerplexityTally, fingerprint_of
from .masking import Masker

_PLACES = "places"
"""The entry of a batch that tells which tokens are hidden; the model does not get it."""


class MaskedLM:
    """Cross-entropy of each hidden token, drawn anew for every seed; evaluation always hides the same ones."""

    def __init__(self, rows: EncodedRows, masker: Masker, pad: int):
        """The objective over rows of tokens; `pad` is the token that fills short rows."""
        self._rows = rows
        self._masker = masker
        self._pad = pad

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return self._rows.lengths

    @property
    def fingerprint(self) -> str:
        """Changes when the rows do."""
        return fingerprint_of(self._rows.stream, self._rows.bounds)

    def collate(self, rows: Sequence[int], seed: int) -> Batch:
        """Ids with some tokens hidden (batch, longest), where these are, and what they were (hidden,)."""
        bounds = self._rows.bounds[list(rows)]
        lengths = bounds[:, 1] - bounds[:, 0]
        real = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(real.shape, self._pad, np.int64)
        ids[real] = np.concatenate([self._rows.stream[first:end] for first, end in bounds.tolist()])
        hidden, chosen = self._masker.hide(ids, real, rows, seed)
        inputs = {"input_ids": torch.from_numpy(hidden), _PLACES: torch.from_numpy(np.flatnonzero(chosen))}
        if not real.all():
            inputs["attention_mask"] = torch.from_numpy(real.astype(np.int64))
        targets = torch.from_numpy(ids[chosen])
        return Batch(inputs, targets, len(targets), int(lengths.sum()))

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits of the hidden tokens, (hidden, vocabulary)."""
        inputs = {name: value for name, value in batch.inputs.items() if name != _PLACES}
        places = batch.inputs[_PLACES]
        with _head_sees_only(model, places, batch.inputs["input_ids"].shape) as narrowed:
            logits: Tensor = model(**inputs).logits
        return logits[0] if narrowed else logits.flatten(0, 1)[places]

    def loss_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Σ −log p(token | the row with hidden tokens)."""
        return F.cross_entropy(outputs.float(), batch.targets, reduction="sum")

    def tally(self) -> PerplexityTally:
        """Loss and perplexity over hidden tokens."""
        return PerplexityTally()


@contextmanager
def _head_sees_only(model: nn.Module, places: Tensor, shape: torch.Size) -> Generator[list[bool]]:
    """Let the model's head see the hidden tokens only, as a batch of one row.

    The head looks at each token for itself, so its answers are the same; with a share of 15 % it has a seventh of the
    work, and the vocabulary-sized logits of all other tokens are never made.

    Args:
        model: a masked language model. One that shows no body apart from its head keeps all tokens.
        places: (hidden,) of the tokens in the flattened batch.
        shape: (batch, longest).

    Yields:
        A list that is not empty once it has happened.
    """
    narrowed: list[bool] = []

    def narrow(_body: nn.Module, _given: Any, output: Any) -> Any:
        states = output[0]
        if states.shape[:2] != shape:
            return
        narrowed.append(True)
        output.last_hidden_state = states.flatten(0, 1)[places][None]

    body = getattr(model, "base_model", model)
    if body is model or hasattr(model, "_orig_mod"):  # a hook would make a compiled model compile anew
        yield narrowed
        return
    handle = body.register_forward_hook(narrow)
    try:
        yield narrowed
    finally:
        handle.remove()
