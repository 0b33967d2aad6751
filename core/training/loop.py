"""The training loop: rows in, better weights out.

It knows neither objective nor method, neither history nor disk: it yields a `Step` after each optimiser
step, and whoever walks through the steps logs, evaluates and saves.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from ..recipe.schema import Train
from .objective import Batch, Objective
from .optimizers import Group, make_optimizer, trainable
from .plan import Plan
from .randomness import derived_seed, seed_device
from .schedules import learning_rate

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Step:
    """One optimiser step that was made.

    Attributes:
        number: from 1.
        loss: scalar on the training device, mean over the step's predictions, in nats.
        gradient_norm: scalar on the training device, before clipping.
        bad: scalar bool on the training device: loss or gradient was not finite and the weights were left alone.
        learning_rate: that the step was made with.
        tokens: that the model read.
        seconds: of wall time, data included.
    """

    number: int
    loss: Tensor
    gradient_norm: Tensor
    bad: Tensor
    learning_rate: float
    tokens: int
    seconds: float


class Loop:
    """Training of one model with one objective."""

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        settings: Train,
        plan: Plan,
        device: torch.device,
        groups: Sequence[Group] | None = None,
    ):
        """Set up the optimiser over the groups, or else over all weights that are not frozen.

        `model` must be on `device`.
        """
        self.model = model
        self.plan = plan
        self.optimizer = make_optimizer(trainable(model) if groups is None else groups, settings)
        self._objective = objective
        self._settings = settings
        self._device = device
        self._forward = cast("nn.Module", torch.compile(model)) if settings.compile else model
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._scaler = torch.amp.GradScaler(device.type) if settings.precision == "fp16" else None

    def steps(self, after: int = 0) -> Iterator[Step]:
        """Make the steps that follow step `after`, one at a time."""
        for number in range(after + 1, self.plan.total + 1):
            began = time.perf_counter()
            if not self.model.training:  # somebody has evaluated meanwhile; setting it walks through all modules
                self.model.train()
            seed_device(self._device, derived_seed(self.plan.seed, "dropout", number))
            seed = derived_seed(self.plan.seed, "rows", number)
            batches = [self._objective.collate(rows, seed) for rows in self.plan.micro_batches(number)]
            loss = self._gradient(batches)
            rate = learning_rate(self._settings, number, self.plan.total)
            norm, bad = self._update(loss, rate)
            tokens = sum(batch.tokens for batch in batches)
            yield Step(number, loss, norm, bad, rate, tokens, time.perf_counter() - began)

    def _gradient(self, batches: list[Batch]) -> Tensor:
        """Gradients of the mean loss over all predictions of the step; returns that mean."""
        weight = max(1, sum(batch.weight for batch in batches))
        total = torch.zeros((), device=self._device)
        for batch in batches:
            with autocast(self._device, self._settings.precision):
                on_device = batch.to(self._device)
                outputs = self._objective.forward(self._forward, on_device)
                loss = self._objective.loss_sum(outputs, on_device) / weight
            (loss if self._scaler is None else self._scaler.scale(loss)).backward()
            total += loss.detach()
        return total

    def _update(self, loss: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """Change the weights unless something is not finite, without waiting for the device to tell."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        if self._scaler is not None:
            self._scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self._weights, self._settings.clip or float("inf"))
        bad = ~torch.isfinite(norm + loss)
        if self._scaler is not None:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        elif self.optimizer.defaults.get("fused"):
            # fused optimisers skip the step on the device where found_inf is not zero
            self.optimizer.grad_scale = None  # type: ignore[attr-defined]
            self.optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not bad:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm, bad

    def state(self) -> dict[str, object]:
        """What must be saved besides the model to go on exactly: the optimiser's memory and fp16's scale."""
        scale = None if self._scaler is None else self._scaler.state_dict()
        return {"optimizer": self.optimizer.state_dict(), "scaler": scale}

    def load_state(self, state: dict[str, object]) -> None:
        """Take up what `state` saved."""
        self.optimizer.load_state_dict(state["optimizer"])  # type: ignore[arg-type]
        if self._scaler is not None and state["scaler"] is not None:
            self._scaler.load_state_dict(state["scaler"])  # type: ignore[arg-type]


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The number type of the forward pass."""
    return torch.autocast(device.type, _AUTOCAST[precision]) if precision in _AUTOCAST else nullcontext()
