"""Results side by side: means over seeds, how far they scatter, and paired differences with their uncertainty.

Reads the stages' results from the history; needs numpy and scipy only for the differences, and no torch.
"""

import math
import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import RecipeError, UsageError, ValueInRecipeError
from .history.queries import History, Run
from .recipe import thaw
from .recipe.members import setting
from .recipe.problems import one_of, quoted
from .recipe.schema import CompareStage

LOWER_IS_BETTER = (
    *("loss", "mse", "mae", "rmse"),
    *("perplexity", "mean_perplexity", "geometric_mean_perplexity", "bits_per_byte"),
)
"""Metrics of which less is better, by the last part of their names."""

Cost = Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """What one stage that trains came to, or one model that a stage has measured, in one run.

    Attributes:
        label: what it is called among the others: strategy, model, swept values, or run; foreign text.
        seed: of its run.
        uid: its run.
        stage: its name.
        missing: why there are no results; None if there are.
        figures: its results by full name, such as ``test/accuracy``.
        costs: parameters, trained, seconds, seconds_per_step, peak_bytes, as far as they are known; of pruned models
            `kept`, the share of weights that was kept of those that might have gone.
        model: what a stage that evaluates calls the model; empty for a stage that trains.
        way: the label without swept values; foreign text.
    """

    label: str
    seed: int
    uid: str
    stage: str
    missing: str | None
    figures: Mapping[str, float]
    costs: Cost
    model: str = ""
    way: str = ""


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences to the baseline, over the seeds that both have.

    Attributes:
        n: pairs.
        mean: of own value minus the baseline's.
        low, high: 95 % confidence interval by Student's t with n − 1 degrees of freedom; None for one pair, and for
            values that are not finite.
        p: two-sided, of the paired t test; None as above.
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True)
class Row:
    """One line of the table: all outcomes of a label.

    Attributes:
        label: foreign text.
        seeds, values: seed and value of the metric of each that has finished, in the order of the seeds.
        mean, deviation: of the values; the deviation with n − 1, None for fewer than two.
        best: the best value.
        difference: to the baseline; None for the baseline itself and where no seeds pair up.
        costs: means over the outcomes.
        missing: what there is no value of, and why.
    """

    label: str
    seeds: Sequence[int]
    values: Sequence[float]
    mean: float
    deviation: float | None
    best: float
    difference: Difference | None
    costs: Cost
    missing: Sequence[str]

    @property
    def n(self) -> int:
        """How many have finished."""
        return len(self.values)


@dataclass(frozen=True)
class Comparison:
    """The table.

    Attributes:
        metric: full name, such as ``test/accuracy``.
        lower_is_better: of the metric.
        baseline: the label that differences are taken to.
        rows: in the order of the outcomes.
        outcomes: what it was made from.
    """

    metric: str
    lower_is_better: bool
    baseline: str
    rows: Sequence[Row]
    outcomes: Sequence[Outcome]


def compare_runs(
    history: History, runs: Sequence[Run], metric: str | None = None, baseline: str | None = None
) -> Comparison:
    """Compare runs; of a single one, what its recipe's own comparison names, unless another metric is asked for.

    Raises:
        ValueInRecipeError, UsageError: see `compare`.
    """
    own = _own_comparison(history, runs[0]) if len(runs) == 1 else None
    if own is None:
        return compare(outcomes_of(history, runs), metric, baseline)
    found = outcomes_of(history, runs, own.stages)
    try:
        return compare(found, metric or own.metric, baseline or own.baseline)
    except ValueInRecipeError:  # what the recipe names has not come to results yet
        if metric or baseline:
            raise
        return compare(found)


def _own_comparison(history: History, run: Run) -> CompareStage | None:
    try:
        stages = thaw(history.recipe(run.id)).stage
    except RecipeError:  # of another version of lmwb
        return None
    return next((stage for stage in stages if isinstance(stage, CompareStage)), None)


def outcomes_of(history: History, runs: Sequence[Run], stages: Sequence[str] | None = None) -> list[Outcome]:
    """What every stage that trains came to, and every model that a stage has measured, in every run and its members.

    Args:
        history: where the results are.
        runs: runs of any kind; those with members stand for their members.
        stages: only stages of these names.
    """
    found: list[Outcome] = []
    for run in runs:
        members = history.members(run.id)
        for each in members or [run]:
            found += _outcomes(history, each, _titles(run, runs), stages)
    return _named(found)


def compare(outcomes: Sequence[Outcome], metric: str | None = None, baseline: str | None = None) -> Comparison:
    """The table of some outcomes.

    Args:
        outcomes: with labels; those of one label are averaged.
        metric: its name, with the part of the data or without; chosen if not given: test before validation, accuracy
            first, then the task's own metric, then the loss.
        baseline: a label, or a stage's name; the first if not given.

    Raises:
        ValueInRecipeError: there is no such metric or baseline.
        UsageError: nothing has results.
    """
    outcomes = _alike(outcomes, metric)
    finished = [each for each in outcomes if each.missing is None]
    if not finished:
        why = outcomes[0].missing if outcomes else "no stage has trained"
        raise UsageError(f"there is nothing to compare: {why}")
    name = _metric(finished, metric)
    lower = lower_is_better(name)
    labels = list(dict.fromkeys(each.label for each in outcomes))
    base = _baseline(outcomes, labels, baseline)
    reference = {each.seed: each.figures[name] for each in finished if each.label == base and name in each.figures}
    rows = [
        _row(label, [each for each in outcomes if each.label == label], name, lower, reference if label != base else {})
        for label in labels
    ]
    return Comparison(name, lower, base, rows, list(outcomes))


def lower_is_better(metric: str) -> bool:
    """Whether less of a metric is better."""
    return metric.rpartition("/")[2] in LOWER_IS_BETTER


def differences(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """The paired differences of values to a reference, one pair for each position.

    The interval is mean ± t(0.975, n − 1) · s / √n. Without any scatter it is a point, and p is 0, or 1 for no
    difference at all.
    """
    gaps = [value - other for value, other in zip(values, reference, strict=True)]
    n, mean = len(gaps), statistics.fmean(gaps)
    if n < 2 or not all(map(math.isfinite, gaps)):
        return Difference(n, mean, None, None, None)
    from scipy.stats import t

    error = statistics.stdev(gaps) / math.sqrt(n)
    if error == 0:
        return Difference(n, mean, mean, mean, 1.0 if mean == 0 else 0.0)
    reach = float(t.ppf(0.975, n - 1)) * error
    return Difference(n, mean, mean - reach, mean + reach, float(2 * t.sf(abs(mean) / error, n - 1)))


def recipe_differences(left: str, right: str) -> list[tuple[str, Any, Any]]:
    """The keys in which two frozen recipes differ, dotted, with both values; None where one has no such key."""
    first, second = (dict(_flat(tomllib.loads(text))) for text in (left, right))
    keys = [*first, *(key for key in second if key not in first)]
    return [(key, first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)]


# -- outcomes -------------------------------------------------------------------------------------


def _titles(run: Run, runs: Sequence[Run]) -> str:
    """What tells a run from the other runs: nothing for a single one, its name, or else its id."""
    if len(runs) == 1:
        return ""
    return run.name if [each.name for each in runs].count(run.name) == 1 else run.uid


def _outcomes(history: History, run: Run, title: str, stages: Sequence[str] | None) -> list[Outcome]:
    recipe = tomllib.loads(history.recipe(run.id))
    seed = int(recipe.get("seed", 0))
    named = {stage["name"]: list(stage.get("models", ())) for stage in recipe.get("stage", ())}
    values = setting(run.member, seed) if run.member else ""
    found: list[Outcome] = []
    for stage in history.stages(run.id):
        if stage.kind not in ("train", "evaluate") or (stages is not None and stage.name not in stages):
            continue
        missing = None if stage.outcome == "finished" else _why(run)
        for model in named.get(stage.name, ()) if stage.kind == "evaluate" else ("",):
            group = {"test": stage.summary.get(f"test/{model}")} if model else stage.summary
            label = "\0".join((title, stage.name, model, values))  # taken apart once it is known what tells them apart
            costs = {
                key.rpartition("/")[2]: float(stage.summary[key])
                for key in _COSTS
                if _is_number(stage.summary.get(key))
            }
            found.append(Outcome(label, seed, run.uid, stage.name, missing, _figures(group), costs, model))
    return found


def _named(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes with labels that say no more than what tells them apart."""
    parts = [outcome.label.split("\0") for outcome in outcomes]
    told = [at for at in range(4) if len({part[at] for part in parts}) > 1] or [1]
    return [
        replace(outcome, label=_joined(part, told), way=_joined(part, [at for at in told if at != _VALUES]))
        for outcome, part in zip(outcomes, parts, strict=True)
    ]


_VALUES = 3
"""Where swept values stand in an unfinished label."""


def _joined(parts: Sequence[str], places: Sequence[int]) -> str:
    return " · ".join(parts[at] for at in places if parts[at])


def _why(run: Run) -> str:
    message = f": {run.message}" if run.message and run.state in ("failed", "died") else ""
    return f"{run.member or run.uid} {'is' if run.state in ('starting', 'running') else 'has'} {run.state}{message}"


def _figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """The measurements after training by full name."""
    return {
        f"{part}/{name}": float(value)
        for part, group in summary.items()
        if isinstance(group, dict) and not part.endswith("/before") and part.split("-")[0] in _PARTS
        for name, value in group.items()
        if _is_number(value)
    }


_PARTS = ("test", "validation")
"""What a model is measured on, the one that says most first."""
_COSTS = ("parameters", "trained", "seconds", "seconds_per_step", "peak_bytes", "pruning/kept")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -- the table ------------------------------------------------------------------------------------


def _alike(outcomes: Sequence[Outcome], metric: str | None) -> Sequence[Outcome]:
    """Stages that train, or models that were measured: not both in a table, unless both give the metric.

    Without a metric, stages that train if they have one in common on test rows, or else what was measured.
    """
    kinds = [[each for each in outcomes if bool(each.model) is measured] for measured in (False, True)]
    if not all(kinds):
        return outcomes
    if metric is not None:
        names = (metric, *(f"{part}/{metric}" for part in _PARTS))
        having = [kind for kind in kinds if any(name in each.figures for each in kind for name in names)]
        return [each for kind in having or kinds for each in kind]
    finished = [set(each.figures) for each in kinds[0] if each.missing is None]
    common = set.intersection(*finished) if finished else set[str]()
    return kinds[0] if any(name.startswith("test") for name in common) else kinds[1]


def _metric(finished: Sequence[Outcome], wish: str | None) -> str:
    common = [name for name in finished[0].figures if all(name in each.figures for each in finished)]
    if wish is not None:
        known = list(dict.fromkeys(name for each in finished for name in each.figures))
        for name in (wish, *(f"{part}/{wish}" for part in _PARTS)):
            if name in known:
                return name
        raise ValueInRecipeError("metric", f"no stage gives {quoted(wish)}; they give {one_of(known or ['nothing'])}")
    if not common:
        raise ValueInRecipeError("metric", "the stages have no metric in common; say which one with 'metric'")
    return min(common, key=lambda name: _rank(name, common.index(name)))


def _rank(name: str, position: int) -> tuple[int, int, int, int]:
    """Test before validation, each before its variants such as ``test-mismatched``."""
    part, _, figure = name.rpartition("/")
    order = {"accuracy": 0, "loss": 2}.get(figure, 1)
    return _PARTS.index(part.split("-")[0]), int(part not in _PARTS), order, position


def _baseline(outcomes: Sequence[Outcome], labels: Sequence[str], wish: str | None) -> str:
    if wish is None or wish in labels:
        return wish or labels[0]
    for outcome in outcomes:
        if wish in (outcome.stage, outcome.uid):
            return outcome.label
    raise ValueInRecipeError("baseline", f"there is no {quoted(wish)} to compare with; there is {one_of(labels)}")


def _row(label: str, outcomes: Sequence[Outcome], metric: str, lower: bool, reference: Mapping[int, float]) -> Row:
    there = sorted((each for each in outcomes if metric in each.figures), key=lambda each: each.seed)
    values = [each.figures[metric] for each in there]
    pairs = [(each.figures[metric], reference[each.seed]) for each in there if each.seed in reference]
    finite = [value for value in values if not math.isnan(value)]
    return Row(
        label=label,
        seeds=[each.seed for each in there],
        values=values,
        mean=statistics.fmean(values) if values else math.nan,
        deviation=_deviation(values),
        best=(min if lower else max)(finite) if finite else math.nan,
        difference=differences(*zip(*pairs, strict=True)) if pairs else None,
        costs=_mean_costs(there),
        missing=[each.missing or f"{each.uid} gives no {metric}" for each in outcomes if metric not in each.figures],
    )


def _deviation(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def _mean_costs(outcomes: Sequence[Outcome]) -> dict[str, float]:
    names = dict.fromkeys(key for each in outcomes for key in each.costs)
    return {key: statistics.fmean(each.costs[key] for each in outcomes if key in each.costs) for key in names}


def _flat(table: Any, above: str = "") -> Iterable[tuple[str, Any]]:
    """Every value of a document with its dotted key; stages and methods by their names where they have one."""
    items: Iterable[tuple[str, Any]]
    if isinstance(table, dict):
        items = table.items()
    else:
        items = (
            (str(each.get("name", at)) if isinstance(each, dict) else str(at), each) for at, each in enumerate(table)
        )
    for key, value in items:
        path = f"{above}.{key}" if above else key
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value)):
            yield from _flat(value, path)
        else:
            yield path, value
