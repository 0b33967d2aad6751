"""Masks as parametrizations of the layers that they stand in, and the one selection that they share.

A layer's `weight` becomes M ⊙ W, made anew in each forward pass; the mask itself only when scores or threshold have
changed since, so once for each optimiser step, however many passes it has.
"""

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, ParamSpec, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .gates import gate_in_evaluation, gate_in_training, masked
from .selection import keep_above, keep_share, keep_share_of_all
from .shapes import Grain

_P = ParamSpec("_P")

Kind = Literal["top-k", "threshold", "sigmoid-threshold", "magnitude", "l0"]


class Mask(nn.Module):
    """What stands before a matrix; `scores` is None where the weights' own size decides."""

    scores: nn.Parameter | None

    def __init__(self, scores: Tensor | None, grain: Grain):
        """A mask over a matrix; the scores are taken as they are."""
        super().__init__()
        self.register_parameter("scores", None if scores is None else nn.Parameter(scores))
        self.grain = grain

    @abstractmethod
    def evaluated(self, weight: Tensor) -> Tensor:
        """The matrix as it is in evaluation."""

    @abstractmethod
    def kept(self, training: bool) -> Tensor:
        """Which weights are not pruned: boolean, in the matrix's shape."""


class HardMask(Mask):
    """Weights are kept or not, as the selection says; straight-through gradients."""

    bits: Tensor

    def __init__(self, weight: nn.Parameter, scores: Tensor | None, grain: Grain, selection: "Selection"):
        super().__init__(scores, grain)
        self.register_buffer("bits", torch.ones_like(weight, dtype=torch.bool), persistent=False)
        self.selection = selection
        self.made_for: object = None  # the state of scores and threshold that the bits belong to
        selection.members.append(_Member(self, weight))
        self._number = len(selection.members) - 1

    def forward(self, weight: Tensor) -> Tensor:
        """M ⊙ W, with the mask of training or evaluation."""
        if not torch.compiler.is_compiling():  # then whoever announces a step has seen to it
            self.selection.refresh(self._number, self.training)
        return masked(weight, self.bits, self.scores, self.grain)

    def evaluated(self, weight: Tensor) -> Tensor:
        """The matrix as it is in evaluation."""
        return weight * self.kept(training=False)

    def kept(self, training: bool) -> Tensor:
        """Which weights are kept."""
        self.selection.refresh(self._number, training)
        return self.bits


class Gate(Mask):
    """A hard concrete gate for each weight (Louizos et al. 2018): drawn in training, with true gradients."""

    def __init__(self, weight: nn.Parameter, scores: Tensor, grain: Grain):
        super().__init__(scores, grain)
        self.draws = False
        self._like = weight.detach().to("meta")

    def forward(self, weight: Tensor) -> Tensor:
        """M ⊙ W; before the first step nothing is drawn in training either."""
        scores = cast("Tensor", self.scores)
        gate = gate_in_training(scores) if self.training and self.draws else gate_in_evaluation(scores)
        return weight * self.grain.spread(gate, weight)

    def evaluated(self, weight: Tensor) -> Tensor:
        """The matrix as it is in evaluation, where gates can be anything from 0 to 1."""
        return weight * self.grain.spread(gate_in_evaluation(cast("Tensor", self.scores)), weight)

    def kept(self, training: bool) -> Tensor:  # noqa: ARG002
        """Where the gate without chance is open, if only a little."""
        return self.grain.spread(gate_in_evaluation(cast("Tensor", self.scores).detach()) > 0, self._like)


@dataclass
class _Member:
    mask: HardMask
    weight: nn.Parameter

    @property
    def deciding(self) -> Tensor:
        """What the selection looks at: scores, or else weights."""
        return (self.weight if self.mask.scores is None else self.mask.scores).detach()

    @property
    def version(self) -> int:
        """Counts up when the deciding values are changed in place, as loading does."""
        return (self.weight if self.mask.scores is None else self.mask.scores)._version


def _for_later(make: Callable[_P, None]) -> Callable[_P, None]:
    """Let what is made in inference mode, in an evaluation, be of use in training, too."""

    @functools.wraps(make)
    def made(*args: _P.args, **kwargs: _P.kwargs) -> None:
        with torch.inference_mode(False), torch.no_grad():
            make(*args, **kwargs)

    return made


@dataclass
class Selection:
    """Which weights are kept, by one rule for all matrices.

    Attributes:
        kind: the rule; never `l0`.
        over_model: choose the share among the scores of all matrices together, not in each.
        final: the threshold of every evaluation.
        now: the threshold of training; None before the first step, when training sees what evaluation does.
        steps: optimiser steps made: a fused optimiser changes weights without a trace in their versions.
        members: the masks and what they stand before.
    """

    kind: Kind
    over_model: bool
    final: float
    now: float | None = None
    steps: int = 0
    members: list[_Member] = field(default_factory=list["_Member"])

    def refresh(self, number: int, training: bool) -> None:
        """Bring a mask up to date with scores and threshold, if it is not."""
        threshold = self.now if training and self.now is not None else self.final
        member = self.members[number]
        if self.over_model:
            state = (threshold, self.steps, *(each.version for each in self.members))
            if member.mask.made_for != state:
                self._select_over_model(threshold, state)
        elif member.mask.made_for != (state := (threshold, self.steps, member.version)):
            self._select_in_matrix(member, threshold, state)

    @_for_later
    def _select_in_matrix(self, member: _Member, threshold: float, state: object) -> None:
        self._set(member, self._select(member, threshold), state)

    def _select(self, member: _Member, threshold: float) -> Tensor:
        if self.kind == "threshold":
            return keep_above(member.deciding, threshold)
        if self.kind == "sigmoid-threshold":
            # the largest of a floor are the same before and after the sigmoid, unless float32 makes them equal
            return keep_above(torch.sigmoid(member.deciding), threshold)
        return keep_share(self._ranked(member), threshold)

    @_for_later
    def _select_over_model(self, share: float, state: object) -> None:
        kept = keep_share_of_all([self._ranked(each) for each in self.members], share)
        for member, scores in zip(self.members, kept, strict=True):
            self._set(member, scores, state)

    def _ranked(self, member: _Member) -> Tensor:
        if self.kind != "magnitude":
            return member.deciding
        return member.mask.grain.gather(member.deciding.abs(), member.deciding)

    def _set(self, member: _Member, scores: Tensor, state: object) -> None:
        member.mask.bits = member.mask.grain.spread(scores, member.weight)
        member.mask.made_for = state


Init = Literal["constant", "uniform", "kaiming"]


@torch.no_grad()
def first_scores(weight: Tensor, grain: Grain, init: Init, scale: float, transposed: bool) -> Tensor:
    """Scores to begin with, drawn from torch's present seed.

    Args:
        weight: the matrix; `transposed` if it is stored (in, out).
        grain: gives the scores' shape.
        init: `constant`: all `scale`; `uniform`: from −scale to scale; `kaiming`: uniform within 1/√inputs.
        scale: see there.
        transposed: see there.
    """
    shape = grain.shape(weight)
    if init == "constant":
        return weight.new_full(shape, scale)
    inputs = weight.shape[0] if transposed else weight[0].numel()
    bound = scale if init == "uniform" else 1 / math.sqrt(inputs)  # kaiming_uniform_ with a = √5
    return weight.new_empty(shape).uniform_(-bound, bound)


def masks_of(model: nn.Module) -> Iterator[tuple[str, nn.Module, Mask]]:
    """The masked layers of a model: their names, themselves, and their masks."""
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            mask = next(iter(module.parametrizations["weight"]))  # pyright: ignore
            if isinstance(mask, Mask):
                yield name, module, mask


def original_of(module: nn.Module) -> nn.Parameter:
    """The weights of a masked layer without the mask."""
    return cast("nn.Parameter", module.parametrizations["weight"].original)  # pyright: ignore
