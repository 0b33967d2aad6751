"""What the stages of a run that evaluate came to, over all of its seeds, read from the history."""

from ..comparison import outcomes_of
from ..history.queries import History, Run
from .table import EvaluationTable


def evaluation_over_seeds(history: History, run: Run) -> EvaluationTable | None:
    """One table of everything that was measured in a run or its members; None if nothing was."""
    stages = [stage for each in history.members(run.id) or [run] for stage in history.stages(each.id)]
    names = list(dict.fromkeys(stage.name for stage in stages if stage.kind == "evaluate"))
    outcomes = outcomes_of(history, [run], names) if names else []
    there = [each for each in outcomes if each.missing is None]
    if not there:
        return None
    notes = [note for stage in stages for note in stage.summary.get("notes", ())]
    missing = [f"{each.label}: {each.missing}" for each in outcomes if each.missing is not None]
    figures = [
        (each.label, {name.removeprefix("test/"): value for name, value in each.figures.items()}) for each in there
    ]
    return EvaluationTable.of(figures, list(dict.fromkeys([*notes, *missing])))
