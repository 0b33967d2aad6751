"""Distillation as a method that stays active: puts a teacher beside the objective and shows the parts of the loss."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from ...errors import TrainingError, ValueInRecipeError
from ...models.identity import identity_of
from ...recipe.schema.distilling import Distillation
from ...training.distribution import Team
from ...training.method import Method
from ...training.objective import Batch, Objective
from ...training.objectives.causal import CausalLM
from ...training.objectives.labels import Regression
from ...training.objectives.masked import MaskedLM
from ..active import Place
from .objective import Distilled
from .remembered import Remembered, remember
from .teacher import LANGUAGE_MODELS, Teacher, load_teacher

_POSITIONS = ("position_embeddings", "wpe", "embed_positions")
"""What architectures call the module that holds their learned position embeddings."""

_TOP = 64
"""Logits to keep at each place, if the recipe does not say how many."""


def distillation(number: int, settings: Distillation, place: Place) -> Method:
    """The method of that number in the recipe, its teacher loaded.

    Raises:
        ValueInRecipeError: the settings do not fit the objective, or the teacher not the student.
    """
    key = f"method.{number}"
    kind = type(place.train)
    _see_that_it_fits(key, settings, kind, place)
    if settings.freeze_positions:
        _freeze_positions(f"{key}.freeze_positions", place)
    identity = identity_of(settings.teacher, f"{key}.teacher", place.cache / "hashes")
    teacher: Teacher | Remembered = load_teacher(settings.teacher, f"{key}.teacher", place, settings.cosine > 0)
    if settings.cache != "no":
        top = (settings.top or _TOP) if settings.cache == "top" else None
        teacher = remember(teacher, identity, kind, top, f"{key}.cache", place)
    elif issubclass(kind, LANGUAGE_MODELS):
        _tell_memory(settings, place)
    return _Distillation(settings, kind, teacher, identity, place.device)


class _Distillation(Method):
    name = "distillation"

    def __init__(
        self,
        settings: Distillation,
        kind: type[Objective],
        teacher: Teacher | Remembered,
        identity: str,
        device: torch.device,
    ):
        self._settings = settings
        self._kind = kind
        self._teacher = teacher
        self._identity = identity
        self._device = device
        self._distilled: Distilled

    def objective(self, objective: Objective) -> Objective:
        """The objective with the teacher beside it."""
        self._distilled = Distilled(objective, self._kind, self._teacher, self._settings, self._device)
        return self._distilled

    def weigh(self, batches: Sequence[Batch], team: Team) -> None:
        """What the parts of the loss are means over."""
        self._distilled.weigh(batches, team)

    def figures(self) -> Mapping[str, Any]:
        """Each part of the loss, before it is weighted."""
        return self._distilled.figures()

    def state(self) -> Mapping[str, Any]:
        """Which teacher it was."""
        return {"teacher": self._identity}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See that it is the same one."""
        if state["teacher"] != self._identity:
            raise TrainingError(
                "the teacher is not what it was when the checkpoint was made; restore it, or start a new run"
            )


def _see_that_it_fits(key: str, settings: Distillation, kind: type[Objective], place: Place) -> None:
    if issubclass(kind, Regression) and settings.soft:
        raise ValueInRecipeError(f"{key}.soft", "scores have no probabilities; set soft = 0 and give 'mse' a weight")
    if not issubclass(kind, LANGUAGE_MODELS) and settings.positions == "learned":
        raise ValueInRecipeError(f"{key}.positions", "only language models learn at some positions; leave it out")
    if settings.cosine and place.settings.compile:
        raise ValueInRecipeError(
            f"{key}.cosine", "a compiled model does not show its hidden states; set train.compile = false or cosine = 0"
        )
    if settings.cache != "no" and issubclass(kind, MaskedLM):
        raise ValueInRecipeError(
            f"{key}.cache", "other tokens are hidden each time a row is seen, so no answer can be kept; leave it out"
        )
    if settings.cache == "top" and not issubclass(kind, CausalLM):
        raise ValueInRecipeError(f"{key}.cache", 'labels are few, all logits can be kept; say cache = "all"')


def _freeze_positions(key: str, place: Place) -> None:
    model = cast("nn.Module", place.model)
    found = {name: module for name, module in model.named_modules() if name.rpartition(".")[2] in _POSITIONS}
    weights = [weight for module in found.values() for weight in module.parameters()]
    if not weights:
        raise ValueInRecipeError(key, f"a {place.model.config.model_type} learns no position embeddings; leave it out")
    for weight in weights:
        weight.requires_grad_(False)
    place.tell(f"frozen: {', '.join(found)}")


def _tell_memory(settings: Distillation, place: Place) -> None:
    """How large the logits of a micro-batch become at most; the rest of a step is as without a teacher."""
    tokens = place.settings.batch_size * int(place.train.lengths.max(initial=0))
    labels = int(place.model.config.vocab_size)
    size = 4 if place.settings.precision == "fp32" else 2
    at = "at all tokens" if settings.positions == "all" else "at the tokens learned, at most"
    place.tell(
        f"distillation: logits {at} of a batch: {tokens:,} × {labels:,}, "
        f"{2 * size * tokens * labels / 2**20:,.1f} MiB for student and teacher together"
    )
