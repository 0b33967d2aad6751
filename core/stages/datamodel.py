"""The stage that asks whether scores are true of many rows at once: the linear datamodeling score."""

from typing import Any

import numpy as np

from ..home import Home
from ..influence.datamodel import Ceiling, Score, ceiling, datamodel_scores, draw_subsets
from ..recipe.schema import DatamodelStage
from .asked import read_queries
from .context import StageContext
from .leaving import leave_picture, leave_table
from .retraining import Retrainer, Retraining
from .retraining_pool import retrain_all
from .row_scores import reference_of, row_scores
from .studied import read_training

NAME = "datamodel"
"""Of the table and the picture."""


def run(stage: DatamodelStage, context: StageContext, home: Home) -> dict[str, Any]:
    """Score all rows, train on random subsets of them, and see which strategy ranks what the queries lose.

    Returns:
        By strategy `lds`, its interval from `low` to `high`, and its `difference` to the reference with an interval
        of its own; the ceiling; and the files.

    Raises:
        ValueInRecipeError: the training, its rows or the queries do not allow it.
        LmwbError: a training cannot be done.
        Stopped: the user asked for it; what was done is kept.
    """
    studied = read_training(stage.of, home, context.cache, context.tell)
    queries, _ = read_queries(stage, studied)
    retrainer = Retrainer(studied, queries, context.device)
    context.begin(stage.subsets * len(stage.seeds), 0)
    scores = row_scores(stage, studied, queries, context)
    rows = len(studied.material.train)
    masks = draw_subsets(rows, stage.share, stage.subsets, stage.seed)
    size = int(masks[0].sum())
    context.tell(
        f"{stage.subsets} subsets of {size:,} of {rows:,} rows, each with {len(stage.seeds)} seeds: "
        f"{stage.subsets * len(stage.seeds)} trainings of {retrainer.steps(size):,} steps"
    )
    wanted = [Retraining(np.flatnonzero(mask).tolist(), seed) for mask in masks for seed in stage.seeds]
    losses = retrain_all(wanted, retrainer, stage, context, home, stage.jobs)
    losses = losses.reshape(stage.subsets, len(stage.seeds), len(queries.rows))
    reference = reference_of(list(scores))
    found = datamodel_scores(masks, losses.mean(1), scores, reference, stage.seed)
    limit = ceiling(losses)
    _tell(context, found, limit, reference)
    return {
        "subsets": stage.subsets,
        "rows_in_each": size,
        "seeds": len(stage.seeds),
        "queries": len(queries.rows),
        **({} if limit is None else {"ceiling": limit.attainable, "halves": limit.halves}),
        **{name: _facts(found[name]) for name in reversed(found)},  # reports tell the last first
        "reference": reference,
        "metric": "lds",
        "lower_is_better": False,
        "rows": [{"label": name, "n": 1, "mean": each.lds.value, "deviation": None} for name, each in found.items()],
        "files": _leave(stage, context, found, limit),
    }


def _facts(score: Score) -> dict[str, Any]:
    told: dict[str, Any] = {"lds": score.lds.value, "low": score.lds.low, "high": score.lds.high}
    if (gap := score.difference) is not None:
        told |= {"difference": gap.value, "difference_low": gap.low, "difference_high": gap.high}
    return told | ({"undefined": score.undefined} if score.undefined else {})


def _leave(stage: DatamodelStage, context: StageContext, found: dict[str, Score], limit: Ceiling | None) -> list[str]:
    blank = dict.fromkeys(("lds", "low", "high", "difference", "difference_low", "difference_high", "undefined"), "")
    table = leave_table(context, f"{NAME}.csv", [{"strategy": name, **blank, **_facts(found[name])} for name in found])
    each = [{"query": q, **{n: float(s.queries[q]) for n, s in found.items()}} for q in range(_queries(found))]
    queries = leave_table(context, f"{NAME}_queries.csv", each)

    def draw() -> Any:
        from ..figures import draw_datamodel

        return draw_datamodel({name: _facts(score) for name, score in found.items()}, limit and limit.attainable)

    return [table, queries, *leave_picture(context, NAME, stage.figures, draw)]


def _queries(found: dict[str, Score]) -> int:
    return len(next(iter(found.values())).queries)


def _tell(context: StageContext, found: dict[str, Score], limit: Ceiling | None, reference: str) -> None:
    def say(text: str) -> None:
        context.tell(text, kind="datamodel")

    say(
        "linear datamodeling score: rank correlation of −Σ scores with true losses over subsets, mean over queries; in "
        "brackets 95 % of 1,000 draws of subsets and queries"
    )
    for name, score in found.items():
        text = f"{name}: {score.lds.value:.3f} [{score.lds.low:.3f}, {score.lds.high:.3f}]"
        if (gap := score.difference) is not None:
            text += f", {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] to {reference} on the same subsets"
        if score.undefined:
            text += f"; {score.undefined} queries that it says the same of for every subset count as 0"
        say(text)
    if limit is None:
        say("with one seed nothing is known of how far losses scatter, so there is no ceiling")
        return
    say(
        f"ceiling: half of the seeds rank the other half's losses with {limit.halves:.3f}; so the mean over all "
        f"of them could be ranked with {limit.attainable:.3f} at most (Spearman–Brown)"
    )
