"""How many trainings a study of influence would do, and how long that takes, as far as it can be known before."""

from contextlib import closing

from ..history.queries import History
from ..home import Home
from ..influence.counterfactual import RANDOM, count_of
from ..recipe.schema import CounterfactualStage, DatamodelStage
from ..text import duration
from ..training.subset import settings_for
from .studied import Studied


def foresee_trainings(stage: CounterfactualStage | DatamodelStage, studied: Studied, home: Home) -> list[str]:
    """How many trainings, on how many rows, and how much work that is, a sentence each."""
    rows, seeds = len(studied.material.train), len(stage.seeds)
    if isinstance(stage, DatamodelStage):
        sizes = [count_of(stage.share, rows)] * stage.subsets
        sets = f"{stage.subsets} subsets of {sizes[0]:,} rows"
    else:
        names = [*stage.strategies, *stage.baselines, RANDOM]
        sizes = [rows, *(rows - count_of(share, rows) for share in stage.shares for _ in names)]
        sets = f"{len(sizes)} sets of {min(sizes):,} to {rows:,} rows"
    plan = studied.plan
    steps = seeds * sum(settings_for(studied.stage.train, plan, size).steps or 1 for size in sizes)
    told = f"{sets}, each with {seeds} seed{'s' if seeds > 1 else ''}: {len(sizes) * seeds} trainings"
    work = f"together they are {steps / plan.total:,.3g} times the training {studied.name}, {stage.jobs} at a time"
    seconds = _seconds(studied, home)
    if seconds is not None:
        work += f"; one after the other about {duration(seconds * steps)}"
    return [told, work]


def _seconds(studied: Studied, home: Home) -> float | None:
    """What a step of the training took; None if it is not known."""
    if studied.run is None:
        return None
    with closing(History(home)) as history:
        found = next((each for each in history.stages(studied.run.id) if each.name == studied.stage.name), None)
    seconds = None if found is None else found.summary.get("seconds_per_step")
    return float(seconds) if isinstance(seconds, int | float) else None
