"""Gradients added up over processes, while the backward pass still goes on.

They are copied into flat buckets, and the sum of a bucket begins when its last gradient is there: those of the last
layers travel while those of the first are computed. The buckets take as much memory as the gradients themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .distribution import Team

BUCKET_BYTES = 25 * 2**20


@dataclass
class _Bucket:
    """Some weights' gradients in one tensor, and behind them a 1 for each weight that has one.

    Attributes:
        weights: whose gradients.
        flat: all of it, (numbers of the gradients + weights,).
        parts: the gradients' places in `flat`.
        ready: the weights whose gradients of this step are there, by id.
        work: the sum that has begun.
    """

    weights: list[nn.Parameter]
    flat: Tensor
    parts: list[Tensor]
    ready: set[int] = field(default_factory=set[int])
    work: Any = None


class GradientSum:
    """Adds up the gradients of some weights over the processes of a team, step by step."""

    def __init__(self, weights: Sequence[nn.Parameter], team: Team, bucket_bytes: int = BUCKET_BYTES):
        """The weights must be given in the same order in every process."""
        self._team = team
        self._buckets = [_bucket(group) for group in _grouped(weights, bucket_bytes)]
        self._begun = 0
        self._last_pass = False
        for number, bucket in enumerate(self._buckets):
            for weight in bucket.weights:
                weight.register_post_accumulate_grad_hook(partial(self._gradient_came, number))

    def last_pass(self) -> None:
        """The backward pass that comes next is the step's last one in this process: sums may begin within it."""
        self._last_pass = True

    def finish(self, loss: Tensor) -> None:
        """Wait until each gradient is the sum over all processes, and `loss`, a scalar, too.

        What has no gradient in any process still has none.
        """
        self._last_pass = False
        while self._begun < len(self._buckets):
            self._begin()
        of_loss = self._team.add_up(loss)  # after all buckets, since the order must be the same in every process
        for bucket in self._buckets:
            bucket.work.wait()
            _take_back(bucket)
            bucket.work = None
            bucket.ready.clear()
        of_loss.wait()
        self._begun = 0

    def _gradient_came(self, number: int, weight: Tensor) -> None:
        """Begin the sums that can begin: in the buckets' order, which is thus the same in every process."""
        if not self._last_pass:
            return
        bucket = self._buckets[number]
        if bucket.work is not None:
            raise RuntimeError("a weight was given a gradient after its sum had begun")
        bucket.ready.add(id(weight))
        while self._begun < len(self._buckets) and self._is_full(self._buckets[self._begun]):
            self._begin()

    @staticmethod
    def _is_full(bucket: _Bucket) -> bool:
        return len(bucket.ready) == len(bucket.weights)

    @torch.no_grad()
    def _begin(self) -> None:
        bucket = self._buckets[self._begun]
        there = torch.ones(len(bucket.weights), dtype=bucket.flat.dtype)
        for place, (weight, part) in enumerate(zip(bucket.weights, bucket.parts, strict=True)):
            if weight.grad is None:
                part.zero_()
                there[place] = 0
            else:
                part.copy_(weight.grad)
        bucket.flat[-len(there) :].copy_(there, non_blocking=True)
        bucket.work = self._team.add_up(bucket.flat)
        self._begun += 1


@torch.no_grad()
def _take_back(bucket: _Bucket) -> None:
    has = [weight.grad is not None for weight in bucket.weights]
    # to look waits for the device; where all have a gradient there is nothing to look for
    anywhere = has if all(has) else (bucket.flat[-len(has) :] > 0).tolist()
    for weight, part, here, there in zip(bucket.weights, bucket.parts, has, anywhere, strict=True):
        if here and weight.grad is not None:
            weight.grad.copy_(part)
        elif there:
            weight.grad = part.clone()


def _grouped(weights: Sequence[nn.Parameter], most: int) -> list[list[nn.Parameter]]:
    """Weights that share a bucket: of one type, the last ones first, since their gradients come first."""
    groups: list[list[nn.Parameter]] = []
    size = 0
    for weight in reversed(weights):
        bytes_of = weight.numel() * weight.element_size()
        if not groups or groups[-1][0].dtype != weight.dtype or size + bytes_of > most:
            groups.append([])
            size = 0
        groups[-1].append(weight)
        size += bytes_of
    return groups


def _bucket(weights: list[nn.Parameter]) -> _Bucket:
    sizes = [weight.numel() for weight in weights]
    flat = torch.zeros(sum(sizes) + len(sizes), dtype=weights[0].dtype, device=weights[0].device)
    parts = [part.view_as(weight) for part, weight in zip(flat.split([*sizes, len(sizes)]), weights, strict=False)]
    return _Bucket(weights, flat, parts)
