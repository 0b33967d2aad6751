"""What a mask does to a matrix, and which gradients it lets through (Sanh et al. 2020, section 3; Louizos et al. 2018).

In the functions G is the gradient for the masked matrix W' = M ⊙ W.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from .shapes import Grain

LOW, HIGH, BETA = -0.1, 1.1, 2 / 3
"""Where the hard concrete distribution is stretched to, and its temperature."""
_EDGE = 1e-4
"""Random numbers keep so far away from 0 and 1."""


def masked(weight: Tensor, kept: Tensor, scores: Tensor | None, grain: Grain) -> Tensor:
    """W' = M ⊙ W with a boolean M of W's shape; straight through to the scores, if there are any.

    ∂L/∂W = G ⊙ M, and ∂L/∂S = G ⊙ W as if the mask were the scores themselves: neither the selection nor a sigmoid
    before it is differentiated.
    """
    return _StraightThrough.apply(weight, kept, scores, grain)  # type: ignore[no-any-return]


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, weight: Tensor, kept: Tensor, scores: Tensor | None, grain: Grain) -> Tensor:
        ctx.save_for_backward(weight, kept, scores)  # pyright: ignore[reportArgumentType] - takes None, too
        ctx.grain = grain  # type: ignore[attr-defined]
        return weight * kept

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        weight, kept, scores = ctx.saved_tensors
        for_weight = gradient * kept if ctx.needs_input_grad[0] else None
        for_scores = ctx.grain.gather(gradient * weight, scores) if ctx.needs_input_grad[2] else None
        return for_weight, None, for_scores, None


def gate_in_training(scores: Tensor) -> Tensor:
    """A hard concrete gate from 0 to 1 for each score, drawn from torch's present generator; differentiable.

    s = σ((ln u − ln(1 − u) + S)/β), stretched to (LOW, HIGH) and cut to [0, 1].
    """
    u = torch.rand_like(scores).clamp_(_EDGE, 1 - _EDGE)
    return _stretched(torch.sigmoid((torch.log(u) - torch.log(1 - u) + scores) / BETA))


def gate_in_evaluation(scores: Tensor) -> Tensor:
    """The gate without chance, s = σ(S); differentiable."""
    return _stretched(torch.sigmoid(scores))


def _stretched(s: Tensor) -> Tensor:
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)
