"""The stage that asks whether scores are true of the rows at the top: what the queries lose without them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..comparison import Difference, differences
from ..home import Home
from ..influence.counterfactual import RANDOM, count_of, drawn_out, left_out, order_of
from ..influence.query_losses import predictions
from ..recipe.schema import CounterfactualStage
from .asked import read_queries
from .context import StageContext
from .leaving import leave_picture, leave_table
from .retraining import Retrainer, Retraining
from .retraining_pool import retrain_all
from .row_scores import Scores, row_scores
from .studied import read_training

NAME = "counterfactual"
"""Of the table and the picture."""


@dataclass(frozen=True)
class _Case:
    """What is left out, by which strategy; a share of 0 leaves out nothing."""

    strategy: str
    share: float

    @property
    def label(self) -> str:
        return f"{self.strategy} {100 * self.share:g} %" if self.share else "nothing left out"


_NOTHING = _Case("", 0.0)


@dataclass(frozen=True)
class _Came:
    """What a case came to, per prediction in nats, a value for each seed."""

    rows: int
    losses: tuple[float, ...]
    rise: Difference
    beyond_random: Difference | None


def run(stage: CounterfactualStage, context: StageContext, home: Home) -> dict[str, Any]:
    """Train without the rows that each strategy puts first, and see how much the queries' loss rises.

    Returns:
        By strategy and share the `loss` per prediction, its exponential `perplexity`, the `rise` over nothing left out
        with its interval from `low` to `high`, and how far that is `beyond_random`; and the files.

    Raises:
        ValueInRecipeError: the training, its rows or the queries do not allow it.
        LmwbError: a training cannot be done.
        Stopped: the user asked for it; what was done is kept.
    """
    studied = read_training(stage.of, home, context.cache, context.tell)
    queries, _ = read_queries(stage, studied)
    retrainer = Retrainer(studied, queries, context.device)
    rows = len(studied.material.train)
    cases = [_NOTHING]
    names = [*stage.strategies, *stage.baselines, RANDOM]
    cases += [_Case(name, share) for name in names for share in sorted(stage.shares)]
    context.begin(len(cases) * len(stage.seeds), 0)
    scores = row_scores(stage, studied, queries, context)
    wanted = [Retraining(_kept(case, scores, rows, seed), seed) for case in cases for seed in stage.seeds]
    context.tell(
        f"{len(cases)} sets of rows, each with {len(stage.seeds)} seeds: {len(wanted)} trainings on "
        f"{min(len(each.rows) for each in wanted):,} to {rows:,} rows"
    )
    losses = retrain_all(wanted, retrainer, stage, context, home, stage.jobs)
    found = _together(cases, losses.sum(1).reshape(len(cases), -1) / predictions(queries), rows)
    _tell(context, found, names)
    return {
        "training_rows": rows,
        "metric": "rise",
        "lower_is_better": False,
        "rows": [_row(case, came) for case, came in found.items() if came.rows],
        "seeds": len(stage.seeds),
        "queries": len(queries.rows),
        **{case.label: _facts(found[case]) for case in reversed(cases)},  # reports tell the last first
        "files": _leave(stage, context, found, names),
    }


def _kept(case: _Case, scores: Scores, rows: int, seed: int) -> list[int]:
    if case is _NOTHING:
        return list(range(rows))
    drawn = case.strategy == RANDOM
    gone = drawn_out(rows, case.share, seed) if drawn else left_out(scores[case.strategy], case.share)
    return np.setdiff1d(np.arange(rows), gone).tolist()


def _together(cases: list[_Case], losses: NDArray[np.float64], rows: int) -> dict[_Case, _Came]:
    """What (cases, seeds) came to, each beside the same seed with nothing left out, and with rows chosen by lot."""
    of = {case: tuple(map(float, values)) for case, values in zip(cases, losses, strict=True)}
    found: dict[_Case, _Came] = {}
    for case, values in of.items():
        chance = of.get(_Case(RANDOM, case.share)) if case.strategy != RANDOM else None
        gone = count_of(case.share, rows) if case.share else 0
        beyond = None if chance is None else differences(values, chance)
        found[case] = _Came(gone, values, differences(values, of[_NOTHING]), beyond)
    return found


def _facts(came: _Came) -> dict[str, Any]:
    loss = float(np.mean(came.losses))
    told: dict[str, Any] = {"left_out": came.rows, "loss": loss, "perplexity": math.exp(min(loss, 700.0))}
    if came.rows:
        told |= {"rise": came.rise.mean}
        told |= {} if came.rise.low is None else {"low": came.rise.low, "high": came.rise.high}
    if came.beyond_random is not None:
        told |= {"beyond_random": came.beyond_random.mean}
        told |= {} if came.beyond_random.p is None else {"p": came.beyond_random.p}
    return told


def _row(case: _Case, came: _Came) -> dict[str, Any]:
    """As comparisons have it, for lists of runs."""
    return {"label": case.label, "n": came.rise.n, "mean": came.rise.mean, "deviation": None}


def _leave(
    stage: CounterfactualStage, context: StageContext, found: Mapping[_Case, _Came], names: list[str]
) -> list[str]:
    blank = dict.fromkeys(("left_out", "loss", "perplexity", "rise", "low", "high", "beyond_random", "p"), "")
    named = [({"strategy": case.strategy, "share": case.share}, came) for case, came in found.items()]
    table = leave_table(context, f"{NAME}.csv", [{**name, **blank, **_facts(came)} for name, came in named])
    each = [
        {**name, "seed": seed, "loss": loss}
        for name, came in named
        for seed, loss in zip(stage.seeds, came.losses, strict=True)
    ]
    seeds = leave_table(context, f"{NAME}_seeds.csv", each)

    def draw() -> Any:
        from ..figures import draw_counterfactual

        lines = {
            name: {case.share: _facts(came) for case, came in found.items() if case.strategy == name} for name in names
        }
        return draw_counterfactual(lines, _facts(found[_NOTHING])["perplexity"], len(stage.seeds))

    return [table, seeds, *leave_picture(context, NAME, stage.figures, draw)]


def _tell(context: StageContext, found: Mapping[_Case, _Came], names: list[str]) -> None:
    def say(text: str) -> None:
        context.tell(text, kind="counterfactual")

    say("the queries' loss per prediction, mean over seeds; rises pair up seeds, in brackets their 95 % t interval")
    for case, came in found.items():
        told = _facts(came)
        text = f"{case.label}: loss {told['loss']:.4f}, perplexity {told['perplexity']:.4g}"
        if came.rows:
            ends = f" [{told['low']:+.4f}, {told['high']:+.4f}]" if "low" in told else ""
            text += f", rise {told['rise']:+.4f}{ends}"
        say(text)
    shares = dict.fromkeys(case.share for case in found if case.share)
    for share in shares:
        order = order_of({name: found[_Case(name, share)].rise.mean for name in names})
        say(f"without {100 * share:g} % of the rows the loss rises most by: {' > '.join(order)}")
