"""The contexts that gains are measured on, and what a model makes of them: loss, perplexity, gradient."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.crops import Crops
from ...training.randomness import generator

_CHUNK = 2**23
"""Logits that are held at once, at most: with fewer, products of matrices are slower; with more, memory is."""
_CHUNK_ON_GPU = 2**27
"""Likewise on a GPU, where few large products are quick, and this is half a GiB."""


def token_losses(model: nn.Module, contexts: Tensor) -> Tensor:
    """−log p of every token but the first, (batch, length − 1), in nats.

    Args:
        model: a causal language model of transformers.
        contexts: (batch, length) ids.
    """
    logits = cast("Tensor", model(input_ids=contexts[:, :-1], use_cache=False).logits).float()
    return F.cross_entropy(logits.flatten(0, 1), contexts[:, 1:].flatten(), reduction="none").view(len(contexts), -1)


class ObjectiveSet:
    """Contexts of one length; all of their tokens but the first count alike."""

    def __init__(self, contexts: Tensor, vocabulary: int):
        """`contexts` are (number, length) ids on the model's device; `vocabulary` is the width of the logits."""
        self.contexts = contexts
        logits = _CHUNK if contexts.device.type == "cpu" else _CHUNK_ON_GPU
        self._chunk = max(1, logits // (contexts.shape[1] * vocabulary))
        self._targets = contexts.shape[0] * (contexts.shape[1] - 1)

    def perplexity(self, model: nn.Module) -> float:
        """exp of the mean loss; sums are added up in float64, whatever the chunks."""
        total = torch.zeros((), dtype=torch.float64, device=self.contexts.device)
        with torch.inference_mode():
            for chunk in self.contexts.split(self._chunk):
                total += token_losses(model, chunk).double().sum()
        return math.exp(min(float(total) / self._targets, 700.0))

    def gradient(self, model: nn.Module, weights: Sequence[Tensor]) -> list[Tensor]:
        """The gradient of the mean loss with respect to the weights; zeros for those that have no part in it."""
        total = [torch.zeros_like(weight) for weight in weights]
        for chunk in self.contexts.split(self._chunk):
            loss = token_losses(model, chunk).sum() / self._targets
            parts = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
            for whole, part in zip(total, parts, strict=True):
                whole += part
        return total


def draw_objective(crops: Crops, number: int, seed: int) -> list[int]:
    """The rows of objective contexts: one from each article, the articles in random order, then a second one, ..."""
    source = generator(seed, "objective")
    order = torch.randperm(len(crops.counts), generator=source).tolist()
    shares = torch.rand(number, generator=source, dtype=torch.float64).tolist()
    articles = [order[place % len(order)] for place in range(number)]
    return [
        crops.row(article, int(share * int(crops.counts[article])))
        for article, share in zip(articles, shares, strict=True)
    ]
