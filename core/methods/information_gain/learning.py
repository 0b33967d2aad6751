"""Training a secondary learner, and telling how good it is on pairs that it has not learned from."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...data.split import draw_rows
from ...errors import TrainingError
from ...recipe.schema.gain import AnyLearner, PublishedLearner
from ...training.randomness import derived_seed, generator, seed_device
from .calibration import rank_correlation
from .learners import new_learner

_AT_ONCE = 512


@dataclass(frozen=True)
class Examples:
    """Contexts and their standardised gains, and which of them are held out.

    Attributes:
        contexts: (pairs, length) ids, on the learners' device.
        gains: (pairs,) float32, standardised.
        learned, held_out: numbers of pairs, in order.
    """

    contexts: Tensor
    gains: Tensor
    learned: list[int]
    held_out: list[int]

    @classmethod
    def of(cls, contexts: Tensor, gains: NDArray[np.float64], share: float, seed: int) -> "Examples":
        """Hold out a share of the pairs, drawn at random: of two pairs or more at least one, and not all."""
        learned, held_out = draw_rows(len(contexts), share, seed)
        return cls(contexts, torch.from_numpy(gains).float().to(contexts.device), learned, held_out)


@dataclass(frozen=True)
class Quality:
    """How well gains are told on pairs held out.

    Attributes:
        mse: mean squared error of the standardised gain; always saying the mean gives about 1.
        rank_correlation: Spearman's; NaN if the predictions are all alike.
        mean: of the predictions.
    """

    mse: float
    rank_correlation: float
    mean: float


@dataclass(frozen=True)
class Learned:
    """A learner with the weights that were best on the pairs held out.

    Attributes:
        net: in evaluation mode.
        quality: of these weights.
        epoch: after which it had them.
        predicted: (held out,) what it says of the pairs held out.
    """

    net: nn.Module
    quality: Quality
    epoch: int
    predicted: NDArray[np.float32]


def learn(
    settings: AnyLearner,
    embeddings: Tensor,
    examples: Examples,
    seed: int,
    after: Callable[[int, float, Quality], None] = lambda _epoch, _loss, _quality: None,
) -> Learned:
    """Train a learner and keep its best weights.

    Args:
        settings: kind and pace.
        embeddings: (vocabulary, width) of the base model; copied.
        examples: to learn from and to judge by.
        seed: of weights, order and dropout.
        after: hears of each epoch: its number from 1, the mean loss in it, and the quality after it.

    Raises:
        TrainingError: it has never said anything finite.
    """
    device = examples.contexts.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        seed_device(device, derived_seed(seed, "learner", settings.kind))
        net = new_learner(settings, embeddings).to(device)
        optimizer = _optimizer(net, settings)
        best: Learned | None = None
        kept: dict[str, Tensor] = {}
        for epoch in range(1, settings.epochs + 1):
            loss = _epoch(net, optimizer, settings, examples, generator(seed, settings.kind, epoch))
            predicted = predict(net, examples.contexts[examples.held_out])
            quality = quality_of(predicted, examples.gains[examples.held_out].cpu().numpy())
            after(epoch, loss, quality)
            if best is None or quality.mse < best.quality.mse or math.isnan(best.quality.mse):
                best = Learned(net, quality, epoch, predicted)
                kept = {name: value.detach().clone() for name, value in net.state_dict().items()}
    assert best is not None  # there is at least one epoch
    if math.isnan(best.quality.mse):
        raise TrainingError(f"the learner '{settings.kind}' says nothing finite after any epoch; lower its lr")
    net.load_state_dict(kept)
    net.eval()
    return best


def predict(net: nn.Module, contexts: Tensor) -> NDArray[np.float32]:
    """What a learner says of contexts (number, length), (number,)."""
    net.eval()
    with torch.inference_mode():
        said = [net(chunk) for chunk in contexts.split(_AT_ONCE)]
    return torch.cat(said).float().cpu().numpy()


def quality_of(predicted: NDArray[np.float32], true: NDArray[np.float32]) -> Quality:
    """How far what was predicted is from what is true."""
    a, b = predicted.astype(np.float64), true.astype(np.float64)
    return Quality(float(np.mean((a - b) ** 2)), rank_correlation(a, b), float(a.mean()))


def _optimizer(net: nn.Module, settings: AnyLearner) -> torch.optim.Optimizer:
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    if isinstance(settings, PublishedLearner):
        return torch.optim.Adam(weights, lr=settings.lr)
    return torch.optim.AdamW(weights, lr=settings.lr, weight_decay=settings.weight_decay)


def _epoch(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: AnyLearner,
    examples: Examples,
    source: torch.Generator,
) -> float:
    """One pass over the pairs to learn from; returns the mean loss."""
    net.train()
    total = torch.zeros((), device=examples.contexts.device)
    for batch in _batches(examples.learned, settings.batch_size, source):
        loss = nn.functional.mse_loss(net(examples.contexts[batch]), examples.gains[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(batch)
    return float(total) / len(examples.learned)


def _batches(pairs: list[int], size: int, source: torch.Generator) -> Iterator[list[int]]:
    order = torch.randperm(len(pairs), generator=source).tolist()
    for start in range(0, len(order), size):
        yield [pairs[each] for each in order[start : start + size]]
