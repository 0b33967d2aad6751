"""The scores of all training rows by every strategy that a study compares, and by what is to be beaten."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError, ValueInRecipeError
from ..influence import Side
from ..influence.baselines import embedded, tf_idf
from ..recipe.schema import CounterfactualStage, DatamodelStage, Variant
from .context import StageContext
from .influencing import Asker
from .studied import Studied

Scores = dict[str, NDArray[np.float64]]
"""By strategy, (queries, rows)."""


def row_scores(
    stage: CounterfactualStage | DatamodelStage, studied: Studied, queries: Side, context: StageContext
) -> Scores:
    """The scores by the stage's strategies and their variants, then by its baselines.

    Raises:
        ValueInRecipeError: the model or its rows do not allow it, or a checkpoint is not there.
        Stopped: the user asked for it; whole parts are kept.
    """
    variants = [Variant(strategy=strategy) for strategy in stage.strategies]
    variants += stage.variants if isinstance(stage, DatamodelStage) else []
    notes: list[str] = []
    found = {each.label: _of_variant(each, stage, studied, queries, context, notes) for each in variants}
    train = Side.all_of(studied.material.train)
    try:
        for name in stage.baselines:
            context.recorder.progress(context.stage_id, 0, None, name)
            model = studied.model(context.device) if name == "embeddings" else None
            found[name] = tf_idf(train, queries) if model is None else embedded(model, train, queries)
    except UsageError as error:
        raise ValueInRecipeError("baselines", str(error)) from None
    return found


def _of_variant(
    variant: Variant,
    stage: CounterfactualStage | DatamodelStage,
    studied: Studied,
    queries: Side,
    context: StageContext,
    notes: list[str],
) -> NDArray[np.float64]:
    share = stage.factors.share if variant.share is None else variant.share
    factors = stage.factors.model_copy(update={"share": share})
    asker = Asker(stage.model_copy(update={"factors": factors}), studied, context)
    asker.notes = notes  # what they have in common is told once
    settings = replace(asker.score_settings(), top=0, keep_all=True, tokens="none", aggregated=False)
    answer = asker.answer(queries, variant.strategy, variant.numbers, settings, variant.checkpoints)
    context.tell(f"scored by {variant.label}: {asker.profile.seconds:.1f} s")
    return answer.all_scores().astype(np.float64)


def reference_of(names: Sequence[str]) -> str:
    """What others are compared with: EK-FAC, or else the first."""
    return "ekfac" if "ekfac" in names else names[0]
