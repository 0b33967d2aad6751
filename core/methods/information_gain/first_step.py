"""The first step of a fresh optimiser, made in place and taken back, so that no model is ever copied."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...recipe.schema.gain import GainStep
from ...training.optimizers import Group, make_optimizer

Foreach = Any
"""torch's functions over lists of tensors are not typed."""


class FirstStep:
    """What a fresh optimiser's first step does to the weights of a model, for one gradient after the other.

    With m = (1 − β₁)·g and v = (1 − β₂)·g², corrected for their bias, AdamW's first step is
    Δ = −lr·(g / (|g| + ε) + λ·w) for the clipped gradient g: no moments have to be kept. Other optimisers make a step
    of their own, and forget it.
    """

    def __init__(self, model: nn.Module, settings: GainStep):
        """Remembers the weights that are trained now, which takes as much memory as they do."""
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._saved = [weight.detach().clone() for weight in self.weights]
        self._settings = settings
        self._decayed = [weight.ndim >= 2 and settings.weight_decay > 0 for weight in self.weights]
        self._optimizer = None if settings.optimizer == "adamw" else optimizer_of(self.weights, settings)

    def gradient(self, loss: Tensor) -> list[Tensor]:
        """The clipped gradient of a loss; zeros for weights that have no part in it."""
        gradient = list(torch.autograd.grad(loss, self.weights, allow_unused=True, materialize_grads=True))
        if self._settings.clip:
            norm = nn.utils.get_total_norm(gradient)
            cast("Foreach", torch)._foreach_mul_(gradient, (self._settings.clip / (norm + 1e-6)).clamp(max=1.0))
        return gradient

    @torch.no_grad()
    def make(self, gradient: Sequence[Tensor]) -> None:
        """Make the step; the gradient is used up."""
        if self._optimizer is not None:
            self._make_own(self._optimizer, gradient)
            return
        foreach = cast("Foreach", torch)
        if decayed := [weight for weight, decays in zip(self.weights, self._decayed, strict=True) if decays]:
            foreach._foreach_mul_(decayed, 1 - self._settings.lr * self._settings.weight_decay)
        foreach._foreach_add_(self.weights, self._directions(gradient), alpha=-self._settings.lr)

    @torch.no_grad()
    def take_back(self) -> None:
        """Give all weights the bits that they had."""
        cast("Foreach", torch)._foreach_copy_(self.weights, self._saved)

    @torch.no_grad()
    def along(self, gradient: Sequence[Tensor], of: Sequence[Tensor]) -> float:
        """⟨of, Δ⟩ for the step Δ that the gradient would lead to; the gradient is used up, the weights stay."""
        if self._optimizer is not None:
            self._make_own(self._optimizer, gradient)
            products = [
                torch.vdot((w - s).flatten(), o.flatten())
                for w, s, o in zip(self.weights, self._saved, of, strict=True)
            ]
            self.take_back()
            return float(torch.stack(products).double().sum())
        moves = self._directions(gradient)
        products = [torch.vdot(move.flatten(), o.flatten()) for move, o in zip(moves, of, strict=True)]
        shrinks = [
            torch.vdot(w.detach().flatten(), o.flatten()) * self._settings.weight_decay
            for w, o, decays in zip(self.weights, of, self._decayed, strict=True)
            if decays
        ]
        return -self._settings.lr * float(torch.stack([*products, *shrinks]).double().sum())

    def _directions(self, gradient: Sequence[Tensor]) -> Sequence[Tensor]:
        """g / (|g| + ε), in the gradient's own memory."""
        foreach = cast("Foreach", torch)
        sizes = foreach._foreach_abs(gradient)
        foreach._foreach_add_(sizes, self._settings.eps)
        foreach._foreach_div_(gradient, sizes)
        return gradient

    def _make_own(self, optimizer: torch.optim.Optimizer, gradient: Sequence[Tensor]) -> None:
        for weight, slope in zip(self.weights, gradient, strict=True):
            weight.grad = slope
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        optimizer.state.clear()


def optimizer_of(weights: Sequence[nn.Parameter], settings: GainStep) -> torch.optim.Optimizer:
    """A fresh optimiser that makes the step, as one that trains would."""
    optimizer = make_optimizer([Group(weights)], settings)
    for group in optimizer.param_groups:
        group["lr"] = settings.lr * group["scale"]
    return optimizer
