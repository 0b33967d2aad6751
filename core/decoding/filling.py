"""Filling the gaps in a text, and recording what the model thought of each."""

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from ..data.tokenizer import token_pieces
from ..tokens import TokenTrace

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

GAP = "[MASK]"
"""What stands for a gap in a recipe's prompts, whatever the tokenizer calls it."""


def gap_ids(tokenizer: "PreTrainedTokenizerBase", prompt: str) -> list[int]:
    """The tokens of a text with gaps, the tokenizer's own marks around them.

    Raises:
        ValueError: it has no gap.
    """
    text = prompt.replace(GAP, str(tokenizer.mask_token))
    ids = cast("list[int]", tokenizer(text, verbose=False)["input_ids"])
    if tokenizer.mask_token_id not in ids:
        raise ValueError(f"there is no {GAP} in it")
    return ids


@torch.inference_mode()
def fill(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", prompt: str, alternatives: int) -> TokenTrace:
    """Put the likeliest token into each gap of a text; several gaps do not know of one another. Dropout is off.

    Args:
        model: a masked language model.
        tokenizer: that belongs to it.
        prompt: a text with `[MASK]` in it.
        alternatives: likeliest tokens to record beside each token filled in.

    Returns:
        All tokens; those that were given have no numbers. The part before the first gap counts as the prompt.

    Raises:
        ValueError: the text has no gap, or the model's numbers are not finite.
    """
    model.eval()
    ids = np.asarray(gap_ids(tokenizer, prompt), np.int64)
    gaps = np.flatnonzero(ids == tokenizer.mask_token_id)
    output: Any = model(input_ids=torch.from_numpy(ids)[None].to(next(model.parameters()).device))
    logits = output.logits[0, gaps].float().cpu()
    if not torch.isfinite(logits).all():
        raise ValueError("the model's output is not finite")
    logprob = logits.log_softmax(-1)
    top = logprob.topk(min(alternatives, logprob.shape[1]))
    n, k = len(ids), top.indices.shape[1]
    ids[gaps] = top.indices[:, 0].numpy()
    alternative_ids = np.zeros((n, k), np.uint32)
    alternative_ids[gaps] = top.indices.numpy()
    rank = np.zeros(n, np.uint32)
    rank[gaps] = 1
    known = sorted({*ids.tolist(), *alternative_ids.ravel().tolist()})
    return TokenTrace(
        ids=ids.astype(np.uint32),
        prompt_length=int(gaps[0]),
        logprob=_only_at(gaps, n, top.values[:, 0].numpy()),
        rank=rank,
        entropy=_only_at(gaps, n, (torch.special.entr(logprob.exp()).sum(1) / np.log(2)).numpy()),
        alternative_ids=alternative_ids,
        alternative_logprob=_only_at(gaps, n, top.values.numpy()),
        pieces=token_pieces(tokenizer, known),
        special=frozenset(tokenizer.all_special_ids) & set(known),
    )


def _only_at(places: np.ndarray[Any, Any], count: int, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(count, ...) float32 with the values at some places and NaN elsewhere."""
    found = np.full((count, *values.shape[1:]), np.nan, np.float32)
    found[places] = values
    return found
