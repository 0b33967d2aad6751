"""What the compare screen shows, read in a thread: the table, the metrics to choose from, and curves."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.history.queries import History
from ..core.home import Home

if TYPE_CHECKING:
    from ..core.comparison import Comparison, Outcome
    from ..core.history.blocks import Points

MOST_CURVES = 200
"""More are not read."""


@dataclass(frozen=True)
class Compared:
    """A comparison, ready to be painted.

    Attributes:
        comparison: the table.
        metrics: full names of what could be compared instead.
        cells: the texts of the scores by row: mean, best, difference, p.
        notes: what the table means, in sentences; foreign text.
        curve: which metric the curves show, such as ``validation/accuracy``.
        curves: the points of each finished or running stage, by the label of its row.
    """

    comparison: "Comparison"
    metrics: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    curve: str
    curves: "dict[str, list[Points]]"


def read_comparison(home: Home, run_ids: Sequence[int], metric: str | None, baseline: str | None) -> Compared:
    """Compare runs, or the members of a run.

    Args:
        home: where they are.
        run_ids: row ids of the runs.
        metric: what is compared; chosen if None.
        baseline: the label that differences are taken to; the first if None.

    Raises:
        UsageError: nothing has results.
        ValueInRecipeError: there is no such metric, or none that all have.
        sqlite3.Error: the history cannot be read.
    """
    from ..core import tables
    from ..core.comparison import compare_runs

    with closing(History(home)) as history:
        comparison = compare_runs(history, [history.run(run_id) for run_id in run_ids], metric, baseline)
        outcomes = comparison.outcomes
        curve = "validation/" + comparison.metric.rpartition("/")[2]
        curves = _curves(history, outcomes, curve)
    return Compared(
        comparison,
        tuple(dict.fromkeys(name for outcome in outcomes for name in outcome.figures)),
        tuple(tuple(tables.score_cells(row)) for row in comparison.rows),
        tuple(tables.explanation(comparison)),
        curve,
        curves,
    )


def _curves(history: History, outcomes: "Sequence[Outcome]", metric: str) -> "dict[str, list[Points]]":
    found: dict[str, list[Points]] = {}
    for outcome in outcomes[:MOST_CURVES]:
        run = history.find(outcome.uid)
        stage = next((stage for stage in history.stages(run.id) if stage.name == outcome.stage), None)
        if stage is None:
            continue
        try:
            points = history.points(stage.id, metric)
        except ValueError:  # a damaged record; the table does not need it
            continue
        if len(points):
            found.setdefault(outcome.label, []).append(points)
    return found
