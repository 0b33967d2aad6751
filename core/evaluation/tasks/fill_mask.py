"""Gaps in texts, any number of them, filled by a masked language model; each gap by itself."""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor

from ...decoding.filling import GAP, fill, gap_ids
from ...decoding.loading import Loaded
from ...errors import UsageError
from ...models.loading import Head, longest_context
from ...text import printable, shorten
from .explaining import model_part, softmax_part, token_name, tokens_part, top_names
from .task import Choice, Part, Prediction, Settings


class FillMask:
    """The likeliest tokens for each gap, written `[MASK]` whatever the tokenizer calls it."""

    head: ClassVar[Head] = "masked-lm"

    def __init__(self, loaded: Loaded, settings: Settings):
        """See the protocol."""
        self._loaded = loaded
        self._settings = settings
        self._mask = cast("int | None", loaded.tokenizer.mask_token_id)
        if self._mask is None:
            raise UsageError(f"the tokenizer of '{printable(loaded.name)}' has no token for a gap")

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The likeliest tokens of each gap, and the text with the best in each."""
        rows = [self._ids(text) for text in texts]
        found: list[Prediction | None] = [None] * len(texts)
        order: list[int] = np.argsort([len(row) for row in rows], kind="stable").tolist()
        for start in range(0, len(order), self._settings.batch_size):
            batch = order[start : start + self._settings.batch_size]
            for row, logits in zip(batch, self._logits([rows[row] for row in batch]), strict=True):
                found[row] = self._prediction(texts[row], rows[row], logits)
        return [each for each in found if each is not None]

    def explain(self, text: str) -> list[Part]:
        """From tokens to the logits of each gap to probabilities."""
        ids = self._ids(text)
        gaps = self._gaps(ids)
        (logits,) = self._logits([ids])
        tokenizer = self._loaded.tokenizer
        said = f"Each gap is the token {tokenizer.mask_token}, at place {', '.join(map(str, gaps))}."
        parts = [model_part(self._loaded), tokens_part(self._loaded, ids, (said,))]
        for number, (place, of_gap) in enumerate(zip(gaps, logits, strict=True), 1):
            names = top_names(self._loaded, of_gap, self._settings.top)
            about = f"At place {place} the model gives a logit for each token that could stand there."
            parts.append(softmax_part(f"Gap {number}", names, of_gap, self._settings.top, (about,)))
        trace = fill(self._loaded.model, tokenizer, text, self._settings.top)
        several = "The gaps do not know of one another." if len(gaps) > 1 else ""
        return [*parts, Part("The text", (several,) if several else (), trace=trace)]

    def _ids(self, text: str) -> list[int]:
        try:
            ids = gap_ids(self._loaded.tokenizer, text)
        except ValueError:
            said = printable(shorten(text, 40))
            raise UsageError(f"there is no gap in '{said}'; write {GAP} where a word is missing") from None
        longest = longest_context(self._loaded.model)
        if longest is not None and len(ids) > longest:
            said = printable(shorten(text, 40))
            raise UsageError(f"'{said}' has {len(ids):,} tokens; the model takes {longest:,}")
        return ids

    def _gaps(self, ids: Sequence[int]) -> list[int]:
        return [place for place, token in enumerate(ids) if token == self._mask]

    @torch.inference_mode()
    def _logits(self, rows: Sequence[list[int]]) -> list[Tensor]:
        """(gaps, vocabulary) for each row."""
        longest, device = max(map(len, rows)), self._loaded.device
        pad = cast("int | None", self._loaded.tokenizer.pad_token_id) or 0
        ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
        output: Any = self._loaded.model(input_ids=ids, attention_mask=mask)
        return [output.logits[i, self._gaps(row)].float().cpu() for i, row in enumerate(rows)]

    def _prediction(self, text: str, ids: list[int], logits: Tensor) -> Prediction:
        logprob = logits.log_softmax(-1)
        top = logprob.topk(min(self._settings.top, logprob.shape[1]))
        answers = tuple(
            tuple(
                Choice(token_name(self._loaded, token).replace("␠", " "), float(np.exp(value)), value)
                for token, value in zip(tokens, values, strict=True)
            )
            for tokens, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        )
        filled = list(ids)
        for place, token in zip(self._gaps(ids), top.indices[:, 0].tolist(), strict=True):
            filled[place] = token
        whole = str(self._loaded.tokenizer.decode(filled, skip_special_tokens=True)).strip()
        return Prediction(text, answers, whole)
