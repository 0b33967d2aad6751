"""What a stage that asks for influence would ask, without asking: `lmwb check` tells it."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from ..errors import UsageError, ValueInRecipeError
from ..home import Home
from ..influence import Side, plan_queries
from ..influence.tracking import find_layers
from ..methods import adapt
from ..models.adapted import is_adapted
from ..models.loading import outline
from ..recipe.schema import (
    TRAIN_STAGES,
    AnyInfluence,
    CounterfactualStage,
    DatamodelStage,
    InfluenceStage,
    PretrainedModel,
    Recipe,
)
from ..references import builds_on, resolved
from ..tasks.registry import task_of
from ..tasks.task import LEARNED, Surroundings
from ..text import shorten
from .asked import Spans, read_queries
from .foreseeing_trainings import foresee_trainings
from .influencing import scores_of
from .row_texts import query_text
from .studied import KEY, Studied, read_given, read_training, see_that_rows_are_few

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SHOWN = 5
"""Queries that are shown."""
_CHARACTERS = 160


def foresee(recipe: Recipe, position: int, home: Home) -> list[str]:
    """What would be asked, on how many rows, and at which layers, a sentence each; foreign text.

    Raises:
        ValueInRecipeError: it cannot be asked.
    """
    stage = cast("AnyInfluence", recipe.stage[position])
    earlier = [each.name for each in recipe.stage[:position]]
    notes: list[str] = []
    if isinstance(stage, InfluenceStage) and stage.training is not None:
        asked = resolved(recipe, position, home.root, home)
        assert isinstance(asked, InfluenceStage)
        assert asked.training is not None
        studied = read_given(asked.training, recipe.seed, home.cache, lambda _: None)
    elif stage.of in earlier:
        place = earlier.index(stage.of)
        if builds_on(recipe, place):
            return [f"asks about {stage.of}, which is known once the stages before it have finished"]
        studied = _to_be_trained(recipe, place, home)
    else:
        assert stage.of is not None
        studied = read_training(stage.of, home, home.cache, lambda _: None)
        for step in getattr(stage, "checkpoints", None) or []:
            studied.weights(step)
    see_that_rows_are_few(studied)
    queries, spans = read_queries(stage, studied)
    count = len(queries.rows)
    strategies = " and ".join(stage.strategies)
    notes.append(f"{count:,} queries, {len(studied.material.train):,} training rows of {studied.name}, by {strategies}")
    notes += _shown(studied, queries, spans)
    if isinstance(stage, CounterfactualStage | DatamodelStage):
        notes += foresee_trainings(stage, studied, home)
    return [*notes, *_layers(stage, studied, _model(studied), count)]


def _to_be_trained(recipe: Recipe, position: int, home: Home) -> Studied:
    """A training that has not begun."""
    whole = resolved(recipe, position, home.root, home)
    assert isinstance(whole, TRAIN_STAGES)
    task = task_of(whole, Surroundings(recipe.seed, home.cache, lambda _: None))
    return Studied(None, whole, recipe.seed, Path(), task, task.read(), home.cache, lambda _: None)


def _model(studied: Studied) -> nn.Module:
    """The model with the layers that it has or will have; without its weights, where these are not needed."""
    source, material = studied.stage.model, studied.material
    if studied.trained:
        folder = studied.weights()
        if is_adapted(str(folder)):
            return studied.model(torch.device("cpu"))
        source = PretrainedModel.model_validate({"from": str(folder)})
    model: PreTrainedModel = outline(source, studied.task.head, material.tokenizer, material.fields, studied.cache)
    if not studied.trained:
        adapt(model, studied.stage.method, lambda _: None)
    return cast("nn.Module", model)


def _layers(stage: AnyInfluence, studied: Studied, model: nn.Module, queries: int) -> list[str]:
    try:
        found = find_layers(model, stage.embeddings, stage.head)
        asked = scores_of(stage)
        plan = plan_queries(found.layers, 1 if asked.aggregated else queries, asked.memory, asked.rank, asked.numbers)
    except UsageError as error:
        raise ValueInRecipeError(KEY, str(error)) from None
    weights = sum(layer.size for layer in found.layers)
    told = f"{len(found.layers):,} layers of {studied.name} with {weights:,} weights are looked at"
    return [told, *found.notes, plan.sentence()]


def _shown(studied: Studied, queries: Side, spans: Spans) -> list[str]:
    told: list[str] = []
    for number, row in enumerate(queries.rows[:_SHOWN], 1):
        text = query_text(studied, queries.objective, row, spans.get(row))
        words = text.words
        if row in spans and studied.material.tokenizer is not None:
            parts = (text.ids[: text.first], text.ids[text.first : text.end], text.ids[text.end :])
            before, asked, behind = (str(studied.material.tokenizer.decode(list(part))) for part in parts)
            words = f"{before}{LEARNED[0]}{asked}{LEARNED[1]}{behind}"
        told.append(f"query {number}: {shorten(words, _CHARACTERS)}")
    if len(queries.rows) > _SHOWN:
        told.append(f"and {len(queries.rows) - _SHOWN:,} more queries")
    return told
