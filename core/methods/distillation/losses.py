"""How far a student is from its teacher, and from the targets: sums of losses over rows of logits, with gradients.

Rows by vocabulary is by far the largest thing in distilling a language model, and a chain of torch functions holds
about eight arrays of this size. Here there are two: the student's logits, and the teacher's, which the gradient takes
the place of. All else is made for a few rows at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ...training.objective import IGNORE

_AT_ONCE = 2**22
"""Logits to look at together; 16 MiB in float32, of which a handful are held for a moment."""

PARTS = ("soft", "mse", "hard")
"""The parts of the loss that are made of logits, in the order of their sums."""


@dataclass(frozen=True)
class Few:
    """The largest of a teacher's logits; all others count as minus infinity.

    Attributes:
        values: (rows, k).
        places: (rows, k), which labels or tokens they belong to.
    """

    values: Tensor
    places: Tensor


def logit_losses(
    student: Tensor,
    teacher: Tensor | Few,
    targets: Tensor | None,
    weights: Sequence[float],
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Weighted sums of the losses of rows of logits.

    With p and q the teacher's and the student's probabilities at temperature τ, s and t their logits, y the target:
    `soft` is τ² Σ p (log p − log q) (Hinton et al. 2015; the τ² keeps its gradient's size whatever the temperature),
    `mse` is Σ (s − t)², both summed over labels, and `hard` is −log softmax(s)[y]. Each is summed over the rows.

    Args:
        student: (rows, labels); gradients go back to it, once.
        teacher: (rows, labels), which is overwritten; or the largest of them.
        targets: (rows,), `IGNORE` where nothing is to be predicted; None if `hard` does not count.
        weights: of the parts, as in `PARTS`; parts of weight zero are not worked out.
        temperature: τ.

    Returns:
        Σ weight · part, a scalar to go backwards from, and the parts themselves, (3,), in float32.
    """
    total, parts = _Losses.apply(student, teacher, targets, tuple(weights), temperature)  # type: ignore[misc]
    return total, parts


class _Losses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor | Few,
        targets: Tensor | None,
        weights: tuple[float, float, float],
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        gradient = _room_for_gradient(student, teacher)
        parts = torch.zeros(len(PARTS), device=student.device)
        step = max(1, _AT_ONCE // max(1, student.shape[-1]))
        for start in range(0, len(student), step):
            some = slice(start, start + step)
            theirs = _rows(teacher, some, student.shape[-1])
            aims = None if targets is None else targets[some]
            change, sums = _some_rows(student[some].float(), theirs, aims, weights, temperature)
            gradient[some] = change
            parts += sums
        ctx.gradient = gradient
        ctx.kind = student.dtype
        ctx.mark_non_differentiable(parts)
        return (parts * parts.new_tensor(weights)).sum(), parts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *given: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:
            raise RuntimeError("the gradient of these losses was taken already")
        return gradient.mul_(given[0]).to(ctx.kind), None, None, None, None


def _room_for_gradient(student: Tensor, teacher: Tensor | Few) -> Tensor:
    """The teacher's own memory, if it fits; in fp16, whose scale comes later, the numbers would be too small."""
    kind = torch.float32 if student.dtype is torch.float16 else student.dtype
    if isinstance(teacher, Tensor) and teacher.dtype is kind and not teacher.requires_grad:
        return teacher
    return torch.empty_like(student, dtype=kind, requires_grad=False)


def _rows(teacher: Tensor | Few, some: slice, labels: int) -> Tensor:
    """Some rows of the teacher's logits, (some, labels) in float32."""
    if isinstance(teacher, Tensor):
        return teacher[some].float()
    values = teacher.values[some].float()
    return values.new_full((len(values), labels), -torch.inf).scatter_(-1, teacher.places[some].long(), values)


def _some_rows(
    student: Tensor, teacher: Tensor, targets: Tensor | None, weights: Sequence[float], temperature: float
) -> tuple[Tensor, Tensor]:
    """The gradient of the weighted sum, (some, labels), and the sums of the parts."""
    soft, mse, hard = weights
    change = torch.zeros_like(student)
    sums = torch.zeros(len(PARTS), device=student.device)
    if soft:
        log_q = F.log_softmax(student / temperature, -1)
        log_p = F.log_softmax(teacher / temperature, -1)
        p = log_p.exp()
        # where p is zero, log p may be minus infinity: such terms are zero
        sums[0] = temperature**2 * torch.where(p > 0, p * (log_p - log_q), p).sum()
        change += (log_q.exp_() - p).mul_(soft * temperature)
    if mse:
        distance = student - teacher
        sums[1] = distance.square().sum()
        change += distance.mul_(2 * mse)
    if hard and targets is not None:
        counts = targets != IGNORE
        aims = targets.clamp(min=0)[:, None]
        log_q = F.log_softmax(student, -1)
        sums[2] = -(log_q.gather(-1, aims)[:, 0] * counts).sum()
        step = log_q.exp_()
        step.scatter_add_(-1, aims, -torch.ones_like(aims, dtype=step.dtype))
        change += step.mul_(counts[:, None] * hard)
    return change, sums


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Σ over rows of 1 − cos(student, teacher), in float32; both (rows, width)."""
    return (1 - F.cosine_similarity(student.float(), teacher.float(), dim=-1)).sum()
