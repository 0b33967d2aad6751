"""Steps that several tasks have in common on the road from text to probabilities."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...decoding.loading import Loaded
from ...models.loading import longest_context
from ...tokens import piece_text
from .task import Part

_MOST_TOKENS = 40


def model_part(loaded: Loaded, sentences: Sequence[str] = ()) -> Part:
    """What the model is, as its configuration says."""
    model: Any = loaded.model
    weights = sum(weight.numel() for weight in model.parameters())
    longest = longest_context(model)
    said = (
        f"{loaded.name} is a {type(model).__name__} of the family {model.config.model_type}, {weights:,} weights.",
        f"Its tokenizer knows {len(loaded.tokenizer):,} tokens"
        + (f"; it reads at most {longest:,} at once." if longest else "."),
    )
    return Part("The model", (*said, *sentences))


def tokens_part(loaded: Loaded, ids: Sequence[int], sentences: Sequence[str] = ()) -> Part:
    """The tokens of a text with their ids."""
    special = set(loaded.tokenizer.all_special_ids)
    rows = tuple(
        (str(place), token_name(loaded, token), str(token), "special" if token in special else "")
        for place, token in enumerate(ids[:_MOST_TOKENS])
    )
    more = (f"{len(ids) - _MOST_TOKENS:,} more tokens are not shown.",) if len(ids) > _MOST_TOKENS else ()
    said = f"The tokenizer cuts the text into {len(ids):,} tokens; the model sees nothing but their ids."
    return Part("From text to tokens to ids", (said, *sentences, *more), ("place", "token", "id", ""), rows)


def softmax_part(title: str, names: Sequence[str], logits: Tensor, shown: int, sentences: Sequence[str] = ()) -> Part:
    """Softmax worked out in numbers.

    Args:
        title: of the step.
        names: of the `shown` likeliest, best first.
        logits: (n,), all of them.
        shown: how many have a row; the others share one.
        sentences: what comes before.
    """
    logits = logits.double().cpu()
    top = logits.topk(min(shown, len(logits)))
    highest = float(logits.max())
    total = float((logits - highest).exp().sum())
    rows: list[tuple[str, ...]] = []
    shares: list[float] = []
    for name, logit in zip(names, top.values.tolist(), strict=True):
        power = math.exp(logit - highest)
        rows.append((name, f"{logit:.4f}", f"{logit - highest:.4f}", f"{power:.6f}", f"{power / total:.6f}"))
        shares.append(power / total)
    if rest := len(logits) - len(rows):
        left = total - sum(math.exp(logit - highest) for logit in top.values.tolist())
        rows.append((f"{rest:,} others", "", "", f"{left:.6f}", f"{max(0.0, left / total):.6f}"))
        shares.append(max(0.0, left / total))
    said = (
        f"Softmax makes probabilities of {len(logits):,} logits z: the highest, {highest:.4f}, is taken from each (it "
        f"changes nothing, and keeps the numbers small), e is raised to the rest, and each is divided by their sum, "
        f"{total:.6f}."
    )
    head = ("", "logit z", "z − max", "e^(z − max)", "÷ sum = p")
    return Part(title, (*sentences, said), head, tuple(rows), tuple(shares))


def sigmoid_part(title: str, names: Sequence[str], logits: Tensor) -> Part:
    """The logistic function worked out in numbers, each label for itself."""
    rows: list[tuple[str, ...]] = []
    shares: list[float] = []
    for name, logit in zip(names, logits.double().tolist(), strict=True):
        power = math.exp(-logit)
        rows.append((name, f"{logit:.4f}", f"{power:.6f}", f"{1 + power:.6f}", f"{1 / (1 + power):.6f}"))
        shares.append(1 / (1 + power))
    said = "The logistic function makes a probability of each logit z by itself; they need not add up to 1."
    return Part(title, (said,), ("", "logit z", "e^−z", "1 + e^−z", "1 ÷ that = p"), tuple(rows), tuple(shares))


def token_name(loaded: Loaded, token: int) -> str:
    """A token as people read it, its spaces visible."""
    from ...data.tokenizer import token_pieces

    return piece_text(token_pieces(loaded.tokenizer, [token]).get(token, b""), token).replace(" ", "␠")


def top_names(loaded: Loaded, logits: Tensor, shown: int) -> list[str]:
    """The likeliest tokens by name, best first."""
    return [token_name(loaded, int(token)) for token in torch.topk(logits, min(shown, len(logits))).indices]
