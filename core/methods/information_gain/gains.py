"""The information gain of a context: how much one step on it lowers the perplexity of the objective contexts.

IG(X) = ppl(M, O) − ppl(M', O), where M' is the base model M after the first step of a fresh optimiser on X
(Antonello et al. 2021). Each gain is that of the same base model, whose weights are bit for bit the same afterwards.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...recipe.schema.gain import GainStep
from ...training.randomness import derived_seed, seed_device
from .first_step import FirstStep
from .objective_set import ObjectiveSet, token_losses


@dataclass(frozen=True)
class Measured:
    """What is known of a context.

    Attributes:
        perplexity: of the context itself, before the step, without dropout.
        exact: its gain as measured; positive if the step helps. None if it was not measured.
        estimate: its gain to first order; None if it was not estimated.
    """

    perplexity: float
    exact: float | None = None
    estimate: float | None = None


class Gains:
    """Measures the gain of contexts for one model."""

    def __init__(self, model: nn.Module, objective: ObjectiveSet, settings: GainStep, seed: int):
        """`model` is on the objective's device; its weights are changed and restored with every measurement."""
        self._model = model.eval()
        self._objective = objective
        self._settings = settings
        self._seed = seed
        self._step = FirstStep(model, settings)
        self._slope: list[Tensor] | None = None
        self.perplexity = objective.perplexity(model)
        """Of the objective contexts, for the base model."""

    def measure(self, context: Tensor, number: int, exact: bool = True, estimate: bool = False) -> Measured:
        """The gain of a context of ids (length,); `number` is what its dropout is drawn from, if there is any."""
        loss, perplexity = self._losses(context[None], number)
        gradient = self._step.gradient(loss)
        estimated = None
        if estimate:
            used_up = [part.clone() for part in gradient] if exact else gradient
            estimated = -self.perplexity * self._step.along(used_up, self._slope_of_objective())
        measured = None
        if exact:
            try:
                self._step.make(gradient)
                measured = self.perplexity - self._objective.perplexity(self._model)
            finally:
                self._step.take_back()
        return Measured(perplexity, measured, estimated)

    def _losses(self, contexts: Tensor, number: int) -> tuple[Tensor, float]:
        """The loss to make a step from, and the perplexity without dropout."""
        if not self._settings.dropout:
            loss = token_losses(self._model, contexts).mean()
            return loss, math.exp(min(loss.item(), 700.0))
        with torch.no_grad():
            perplexity = math.exp(min(token_losses(self._model, contexts).mean().item(), 700.0))
        seed_device(contexts.device, derived_seed(self._seed, "dropout", number))
        self._model.train()
        try:
            return token_losses(self._model, contexts).mean(), perplexity
        finally:
            self._model.eval()

    def _slope_of_objective(self) -> list[Tensor]:
        if self._slope is None:
            self._slope = self._objective.gradient(self._model, self._step.weights)
        return self._slope
