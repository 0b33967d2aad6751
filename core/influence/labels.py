"""What is learned from a batch: the gradient of its loss at the model's outputs, and which tokens count.

For a cross-entropy that gradient is softmax minus one-hot, so no graph is built over the logits and they are not copied
but once. Labels are those of the data, or sampled from the model's own predictions (the true Fisher, Martens & Grosse
2015, section 2.2), or given. Sampled ones are a function of seed, row and place, whatever shares a batch.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..errors import UsageError
from ..training.objective import IGNORE, Batch, Objective
from ..training.objectives.causal import CausalLM
from ..training.objectives.choices import MultipleChoice
from ..training.objectives.images import ImageClassification
from ..training.objectives.labels import Classification, Regression
from ..training.objectives.masked import MaskedLM
from ..training.randomness import generator
from .marked import Marked

Labels = Callable[[Sequence[int], Batch, Tensor], Tensor]
"""Told row numbers, batch and outputs, gives targets to be learned instead of the batch's, in the same shape."""

_CROSS_ENTROPY = (CausalLM, MaskedLM, Classification, ImageClassification, MultipleChoice)
"""Objectives whose loss is the sum of −log softmax(outputs)[target]."""
_AT_ONCE = 2**18
"""Logits looked at at once."""


class Sampled:
    """Labels drawn from the model's own predictions, by inverting their distribution."""

    def __init__(self, objective: Objective, seed: int):
        """Other seeds draw others.

        Raises:
            UsageError: the objective has no distribution to draw from.
        """
        kind = underlying(objective)
        if not isinstance(kind, (*_CROSS_ENTROPY, Regression)):
            raise UsageError(
                f"labels cannot be sampled for {type(kind).__name__}; take those of the data (the empirical Fisher)"
            )
        self._seed = seed

    def __call__(self, rows: Sequence[int], batch: Batch, outputs: Tensor) -> Tensor:
        """Targets to be learned instead of the batch's."""
        if batch.targets.is_floating_point():
            return _normal(outputs.squeeze(-1), rows, batch, self._seed)
        chance, targets = self.chance(rows, batch).to(outputs.device).flatten(), batch.targets.flatten()
        flat, drawn = outputs.flatten(0, -2), torch.empty_like(targets)
        for part in _parts(flat):
            drawn[part] = _draw(torch.softmax(flat[part], -1, dtype=_wide(flat)), chance[part], targets[part])
        return drawn.view_as(batch.targets)

    def chance(self, rows: Sequence[int], batch: Batch) -> Tensor:
        """A number from [0, 1) for each target, float64 in the targets' shape."""
        return uniforms(rows, batch, self._seed)


def gradient_at_outputs(
    objective: Objective, outputs: Tensor, batch: Batch, rows: Sequence[int], labels: Labels | None = None
) -> Tensor:
    """∂(sum of the batch's losses)/∂outputs, in the outputs' shape and number type.

    Args:
        objective: whose loss.
        outputs: of the model.
        batch: with the data's labels.
        rows: the batch's rows.
        labels: gives labels instead of the data's.
    """
    kind = underlying(objective)
    if not isinstance(kind, _CROSS_ENTROPY):
        return _by_autograd(objective, outputs, _relabelled(batch, rows, outputs, labels))
    sampled = isinstance(labels, Sampled)
    targets = (batch if sampled else _relabelled(batch, rows, outputs, labels)).targets.flatten()
    chance = labels.chance(rows, batch).to(outputs.device).flatten() if isinstance(labels, Sampled) else None
    gradient = torch.empty_like(outputs)
    flat, into = outputs.flatten(0, -2), gradient.flatten(0, -2)
    for part in _parts(flat):
        shares = torch.softmax(flat[part], -1, dtype=_wide(flat))
        wanted = targets[part] if chance is None else _draw(shares, chance[part], targets[part])
        counted = wanted != IGNORE
        shares.scatter_add_(-1, wanted.clamp(min=0)[:, None], torch.full_like(shares[:, :1], -1))
        into[part] = shares if counted.all() else shares.mul_(counted[:, None])
    return gradient


def _relabelled(batch: Batch, rows: Sequence[int], outputs: Tensor, labels: Labels | None) -> Batch:
    """The batch with other targets; itself if `labels` is None."""
    if labels is None:
        return batch
    targets = labels(rows, batch, outputs.detach())
    return Batch(batch.inputs, targets, batch.weight, batch.tokens)


def _draw(shares: Tensor, chance: Tensor, targets: Tensor) -> Tensor:
    """A label for each line of probabilities (lines, labels); what is ignored stays so."""
    sums = shares.cumsum(-1)
    at = chance.to(sums.dtype)[:, None] * sums[:, -1:]
    drawn = torch.searchsorted(sums, at, right=True).squeeze(-1).clamp_(max=sums.shape[-1] - 1)
    return torch.where(targets == IGNORE, targets, drawn)


def real_tokens(objective: Objective, batch: Batch) -> Tensor | None:
    """Which tokens count, (rows, tokens); None if all do.

    Padding does not, nor what no learned token can see: there the gradient is zero.
    """
    mask = batch.inputs.get("attention_mask")
    if mask is not None:
        real = mask.bool().view(_rows(batch), -1)
    elif isinstance(underlying(objective), CausalLM):
        real = _before_a_target(batch)
    else:
        return None
    return None if bool(real.all()) else real


def uniforms(rows: Sequence[int], batch: Batch, seed: int) -> Tensor:
    """A number from [0, 1) for each target, float64 in the targets' shape; a function of seed, row and place."""
    targets = batch.targets
    places = batch.inputs.get("places")
    if places is not None:  # hidden tokens, of all rows in one line
        longest = batch.inputs["input_ids"].shape[1]
        table = torch.stack([torch.rand(longest, generator=_of(seed, row), dtype=torch.float64) for row in rows])
        return table.flatten()[places.cpu()]
    count = targets[0].numel()
    drawn = [torch.rand(count, generator=_of(seed, row), dtype=torch.float64) for row in rows]
    return torch.stack(drawn).view(targets.shape)


def underlying(objective: Objective) -> Objective:
    """The objective itself, without marks on its tokens."""
    return underlying(objective.objective) if isinstance(objective, Marked) else objective


def _of(seed: int, row: int) -> torch.Generator:
    return generator(seed, "labels", row)


def _rows(batch: Batch) -> int:
    return next(iter(batch.inputs.values())).shape[0]


def _wide(numbers: Tensor) -> torch.dtype:
    return torch.float64 if numbers.dtype == torch.float64 else torch.float32


def _parts(flat: Tensor) -> list[slice]:
    step = max(1, _AT_ONCE // flat.shape[-1])
    return [slice(start, start + step) for start in range(0, flat.shape[0], step)]


def _by_autograd(objective: Objective, outputs: Tensor, batch: Batch) -> Tensor:
    with torch.enable_grad():
        given = outputs.detach().requires_grad_()
        return torch.autograd.grad(objective.loss_sum(given, batch), given)[0]


def _normal(scores: Tensor, rows: Sequence[int], batch: Batch, seed: int) -> Tensor:
    """A squared error is the −log of a normal distribution of variance ½."""
    noise = torch.stack([torch.randn((), generator=_of(seed, row), dtype=torch.float64) for row in rows])
    drawn = scores.double() + noise.to(scores.device) * 0.5**0.5
    return drawn.to(batch.targets.dtype)


def _before_a_target(batch: Batch) -> Tensor:
    """Whether a learned token comes at a place or after it, in the same document."""
    counted = batch.targets != IGNORE
    length = counted.shape[1]
    places = torch.arange(length, device=counted.device)
    nearest = torch.where(counted, places, length).flip(1).cummin(1).values.flip(1)  # the first target from here on
    real = nearest < length
    positions = batch.inputs.get("position_ids")
    if positions is None:
        return real
    document = (positions == 0).cumsum(1)
    return real & (document.gather(1, nearest.clamp(max=length - 1)) == document)
