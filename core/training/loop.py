"""The training loop: rows in, better weights out.

It knows neither objective nor method, neither history nor disk: it yields a `Step` after each optimiser
step, and whoever walks through the steps logs, evaluates and saves.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..recipe.schema import Train
from .distribution import ALONE, Team
from .gradients import GradientSum
from .method import Method, Steps
from .objective import Batch, Objective
from .optimizers import Group, make_optimizer, trainable, without
from .plan import Plan
from .randomness import derived_seed, seed_device
from .schedules import learning_rate

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Step:
    """One optimiser step that was made.

    Attributes:
        number: from 1.
        loss: scalar on the training device, mean over the step's predictions, in nats; without penalties.
        gradient_norm: scalar on the training device, before clipping.
        bad: scalar bool on the training device: loss or gradient was not finite and the weights were left alone.
        learning_rate: that the step was made with.
        tokens: that the model read, in all processes.
        seconds: of wall time, data included.
        figures: what methods have to show of it, by the names of their curves; empty for steps that are not logged.
    """

    number: int
    loss: Tensor
    gradient_norm: Tensor
    bad: Tensor
    learning_rate: float
    tokens: int
    seconds: float
    figures: Mapping[str, Tensor | float] = field(default_factory=dict[str, Tensor | float])


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
        methods: Sequence[Method] = (),
        team: Team = ALONE,
    ):
        """Set up the optimiser over the groups, or else over all weights that are not frozen.

        `model` must be on `device`; what the methods add, each in its turn, adds up. Every process of the team has a
        loop of its own and makes the same steps, whose rows they share.
        """
        self.model = model
        self.plan = plan
        own = [group for method in methods for group in method.groups()]
        rest = without(own, trainable(model) if groups is None else groups)
        self.optimizer = make_optimizer([*rest, *own], settings)
        self._methods = methods
        self._objective, self._steps = objective, cast("Steps", plan)
        for method in methods:
            self._objective, self._steps = method.objective(self._objective), method.steps(self._steps)
        self._settings = settings
        self._device = device
        self._forward = cast("nn.Module", torch.compile(model)) if settings.compile else model
        self._weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        self._team = team
        self._sum = GradientSum(self._weights, team) if team.size > 1 else None
        self._penalised = any(type(method).penalty is not Method.penalty for method in methods)
        self._scaler = torch.amp.GradScaler(device.type) if settings.precision == "fp16" else None

    def equalise(self) -> None:
        """Give every process the model of the first, and what its methods train besides."""
        self._team.spread([*self.model.state_dict().values(), *self._weights])

    def steps(self, after: int = 0) -> Iterator[Step]:
        """Make the steps that follow step `after`, one at a time."""
        for number in range(after + 1, self.plan.total + 1):
            began = time.perf_counter()
            if not self.model.training:  # somebody has evaluated meanwhile; setting it walks through all modules
                self.model.train()
            rank = self._team.rank
            seed_device(self._device, derived_seed(self.plan.seed, "dropout", number, *([rank] if rank else [])))
            seed = derived_seed(self.plan.seed, "rows", number)
            batches = [self._objective.collate(rows, seed) for rows in self._team.share(self._rows(number))]
            counts = (sum(batch.weight for batch in batches), sum(batch.tokens for batch in batches))
            weight, tokens = self._team.total(*counts)
            for method in self._methods:
                method.weigh(batches, self._team)
                method.before_step(number)
            loss = self._gradient(batches, max(1, weight))
            rate = learning_rate(self._settings, number, self.plan.total)
            norm, bad = self._update(loss, rate)
            for method in self._methods:
                method.after_step(number)
            figures = self._figures(number)
            yield Step(number, loss, norm, bad, rate, tokens, time.perf_counter() - began, figures)

    def _rows(self, step: int) -> Sequence[Sequence[int]]:
        """The micro-batches of a step in all processes; what methods choose, the first process's choose."""
        chosen = self._steps.micro_batches(step)
        return chosen if self._steps is self.plan else self._team.told(chosen)

    def _gradient(self, batches: list[Batch], weight: int) -> Tensor:
        """Gradients of the mean loss over all `weight` predictions of the step, and of penalties; returns the loss.

        The batches are those of this process, and may be none; gradients and loss are those of all.
        """
        total = torch.zeros((), device=self._device)
        for batch in batches:
            with autocast(self._device, self._settings.precision):
                on_device = batch.to(self._device)
                outputs = self._objective.forward(self._forward, on_device)
                loss = self._objective.loss_sum(outputs, on_device) / weight
            if self._sum is not None and batch is batches[-1] and not self._penalised:
                self._sum.last_pass()
            self._backward(loss)
            total += loss.detach()
        for method in self._methods:
            penalty = method.penalty()
            if penalty is not None:
                penalty = penalty / self._team.size  # each process adds its part
                self._backward(penalty)
        if self._sum is not None:
            self._sum.finish(total)
        return total

    def _backward(self, loss: Tensor) -> None:
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def _figures(self, step: int) -> dict[str, Tensor | float]:
        """What the methods have to show of a step."""
        if step % self._settings.log_every:
            return {}
        return {f"{method.name}/{name}": value for method in self._methods for name, value in method.figures().items()}

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

    def state(self) -> dict[str, Any]:
        """What must be saved besides the model to go on exactly: the memory of optimiser and methods, fp16's scale."""
        scale = None if self._scaler is None else self._scaler.state_dict()
        methods = [dict(method.state()) for method in self._methods]
        return {"optimizer": self.optimizer.state_dict(), "scaler": scale, "methods": methods}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` saved."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self._scaler is not None and state["scaler"] is not None:
            self._scaler.load_state_dict(state["scaler"])
        self.load_methods(state)

    def load_methods(self, state: Mapping[str, Any]) -> None:
        """Of what `state` saved, take up what the methods need, and no more."""
        for method, saved in zip(self._methods, state.get("methods", ()), strict=True):
            method.load_state(saved)


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The number type of the forward pass."""
    return torch.autocast(device.type, _AUTOCAST[precision]) if precision in _AUTOCAST else nullcontext()
