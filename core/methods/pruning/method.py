"""Movement pruning as the training loop knows it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ...errors import ValueInRecipeError
from ...recipe.schema.pruning import MovementPruning
from ...training.method import Method
from ...training.optimizers import Group
from .counting import count
from .masks import Gate, HardMask, Mask, Selection, first_scores, masks_of, original_of
from .placing import find_matrices, freeze_embeddings, is_transposed, layer_of, short_names
from .regularisers import regularised
from .schedule import Schedule
from .selection import count_of
from .shapes import Grain
from .storing import fold
from .units import grains_of

if TYPE_CHECKING:
    from ..active import Place


_STEPS_TO_SPREAD = 1000
"""AdamW moves every score by its rate or so, whatever the gradient: scores that begin alike need so many steps to
differ by far more than that. Before, those that cross the cut in a step are many and push one way."""


class Pruning(Method):
    """Masks over a model's matrices, scores that learn which weights to keep, a threshold that rises step by step.

    Before the first step the masks of training are those of evaluation, so that a look at the model then compares like
    with like. In evaluation, and in what is stored, the threshold is always the final one.
    """

    name = "pruning"

    def __init__(self, number: int, settings: MovementPruning, place: "Place"):
        """Put the masks into the place's model.

        Raises:
            ValueInRecipeError: the settings do not fit the model or the length of the training.
        """
        self._settings = settings
        self.schedule = schedule_of(number, settings, place)
        self._selection = Selection(settings.mask, settings.scope == "model", self.schedule.final)
        _see_that_the_end_counts(settings, place)
        matrices = find_matrices(place.model, number, settings.targets)
        if not settings.train_embeddings:
            freeze_embeddings(place.model, place.tell)
        grains = grains_of(number, settings.units, matrices, place.model)
        for name, module in matrices.items():
            # unchecked, since a check would make all masks so far for each
            parametrize.register_parametrization(module, "weight", self._mask(module, grains[name]), unsafe=True)
        self._masks = {name: (original_of(module), mask) for name, module, mask in masks_of(place.model)}
        names = short_names(list(dict.fromkeys(layer_of(name) for name in self._masks)))
        self._layers = {name: names[layer_of(name)] for name in self._masks}
        self._rate = settings.scores_lr / place.settings.lr
        self._made = 0
        self._cost: Tensor | float = 0.0
        self._tell_what_is_masked(place.tell)

    def _mask(self, module: nn.Module, grain: Grain) -> Mask:
        settings, weight = self._settings, module.weight
        assert isinstance(weight, nn.Parameter)
        if settings.mask == "magnitude":
            return HardMask(weight, None, grain, self._selection)
        scores = first_scores(weight, grain, settings.init, settings.init_scale, is_transposed(module))
        if settings.mask == "l0":
            return Gate(weight, scores, grain)
        return HardMask(weight, scores, grain, self._selection)

    def _tell_what_is_masked(self, tell: Callable[[str], None]) -> None:
        weights = sum(weight.numel() for weight, _ in self._masks.values())
        settings = self._settings
        tell(f"pruning: {weights:,} weights of {len(self._masks)} matrices are masked by {settings.mask}")
        alike = settings.mask == "top-k" and settings.init == "constant" and self.schedule.moves
        if alike and self.schedule.before < _STEPS_TO_SPREAD:
            tell(
                f"pruning: all scores begin alike and have {self.schedule.before:g} steps before weights begin to go, "
                f"which is few: whole groups may go at once; init = 'uniform' with init_scale = "
                f"{100 * settings.scores_lr:g} spreads them from the beginning"
            )

    # -- training ---------------------------------------------------------------------------------

    def groups(self) -> Sequence[Group]:
        """The scores, at a rate of their own, without decay."""
        scores = self._scores()
        return [Group(scores, self._rate, decays=False)] if scores else []

    def before_step(self, step: int) -> None:
        """Move the threshold; the masks follow in the next forward pass."""
        self._made = step - 1
        self._selection.now = self.schedule.threshold(self._made)
        for _, mask in self._masks.values():
            if isinstance(mask, Gate):
                mask.draws = True
            else:
                mask.kept(training=True)

    def after_step(self, step: int) -> None:  # noqa: ARG002
        """Scores and weights have moved."""
        self._selection.steps += 1

    def penalty(self) -> Tensor | None:
        """λ·R over the scores; None while λ is 0."""
        weight = self._penalty_weight()
        if not weight or self._settings.penalty is None:
            return None
        cost = weight * regularised(self._scores(), self._settings.penalty)
        self._cost = cost.detach()
        return cost

    def figures(self) -> Mapping[str, Tensor | float]:
        """Threshold and kept shares of the step that was made; λ and the penalty if there is one."""
        kept, size = dict[str, Tensor | int](), dict[str, int]()
        for name, (weight, mask) in self._masks.items():
            layer = self._layers[name]
            # the bits of the last step: asking for them would make new ones from scores that have moved since
            now = mask.bits if isinstance(mask, HardMask) else mask.kept(training=True)
            kept[layer] = kept.get(layer, 0) + (count_of(now) if now.device.type == "cpu" else now.count_nonzero())
            size[layer] = size.get(layer, 0) + weight.numel()
        figures: dict[str, Tensor | float] = {
            "threshold": self.schedule.threshold(self._made),
            "kept": sum(kept.values()) / sum(size.values()),
            **{f"{layer}/kept": kept[layer] / size[layer] for layer in kept},
        }
        if self._settings.penalty is not None:
            figures |= {"lambda": self._penalty_weight(), "penalty": self._cost}
        return figures

    # -- storing ----------------------------------------------------------------------------------

    def state(self) -> Mapping[str, Any]:
        """Scores and weights without their masks; a model's folder has the masked ones."""
        return {
            "weights": {name: weight.detach() for name, (weight, _) in self._masks.items()},
            "scores": {
                name: mask.scores.detach() for name, (_, mask) in self._masks.items() if mask.scores is not None
            },
        }

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` saved."""
        for name, (weight, mask) in self._masks.items():
            weight.copy_(state["weights"][name])
            if mask.scores is not None:
                mask.scores.copy_(state["scores"][name])

    def finish(self, model: nn.Module, folder: Path) -> Mapping[str, Any]:
        """Count, then fold the masks into the weights; the model is a plain one afterwards."""
        counts = count(model)
        counts.write(folder)
        fold(model)
        return counts.results()

    def _scores(self) -> list[nn.Parameter]:
        return [mask.scores for _, mask in self._masks.values() if mask.scores is not None]

    def _penalty_weight(self) -> float:
        return self.schedule.penalty_weight(self._made, self._settings.final_lambda)


def schedule_of(number: int, settings: MovementPruning, place: "Place") -> Schedule:
    """The schedule over the planned steps; its flat ends are so many times the length of a warm-up.

    Raises:
        ValueInRecipeError: the flat ends leave no step in which the threshold could move.
    """
    total = place.plan.total
    length = place.settings.warmup if settings.warmup is None else settings.warmup
    length = length if length >= 1 else length * total
    before, after = settings.initial_warmup * length, settings.final_warmup * length
    schedule = Schedule(settings.first_threshold, settings.last_threshold, before, after, total)
    if schedule.moves and schedule.room < 1:
        where = "train.warmup" if settings.warmup is None else f"method.{number}.warmup"
        raise ValueInRecipeError(
            where,
            f"of {total:,} steps the threshold rests {before:g} at the beginning and {after:g} at the end, so it could "
            f"only jump from {schedule.initial:g} to {schedule.final:g}; train longer, or lower 'warmup', "
            "'initial_warmup' or 'final_warmup' of the method",
        )
    return schedule


def _see_that_the_end_counts(settings: MovementPruning, place: "Place") -> None:
    """Refuse to call an early model the best one that has not lost its weights yet."""
    if place.settings.result == "best" and settings.mask not in ("top-k", "magnitude"):
        raise ValueInRecipeError(
            "train.result",
            f"with the mask '{settings.mask}' fewer weights are kept step by step, so the best in validation would be "
            "an early model with most of its weights; set result = 'last'",
        )
