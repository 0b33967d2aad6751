"""The stage that measures models on the same examples: one table, before and after."""

import csv
import io
from typing import Any

from ..decoding.loading import Loaded, load
from ..errors import MachineError, Stopped, UsageError, ValueInRecipeError
from ..evaluation.examples import Examples, read_examples
from ..evaluation.measure import Measured, measure, table_of
from ..evaluation.table import EvaluationTable
from ..home import Home
from ..recipe.schema import EvaluateStage
from .context import StageContext


def run(stage: EvaluateStage, context: StageContext, home: Home) -> dict[str, Any]:
    """Measure each model and write the table; returns the figures in groups named `test/MODEL`.

    Raises:
        ValueInRecipeError: the data or a model cannot be read, or do not fit.
        TrainingError: a model's output is not finite.
        MachineError: the disk does not take the table.
        Stopped: the user asked for it.
    """
    context.begin(len(stage.models), 0)
    examples = read_examples(stage.data)
    measured: dict[str, Measured] = {}
    for done, (name, reference) in enumerate(stage.models.items()):
        context.recorder.progress(context.stage_id, done, len(stage.models), f"evaluating {name}")
        measured[name] = _measure(stage, context, home, examples, name, reference)
    table = table_of(measured, examples.notes)
    files = _write(context, table, measured)
    for sentence in table.notes:
        context.tell(sentence, kind="evaluation")
    for metric, *values in table.cells():
        told = "  ".join(f"{name} {value}" for name, value in zip(table.models, values, strict=True))
        context.tell(f"{metric}: {told}", kind="evaluation")
    context.recorder.progress(context.stage_id, len(stage.models), len(stage.models), "finished")
    groups = {f"test/{name}": each.figures for name, each in measured.items()}
    return {"models": list(measured), **groups, "notes": list(table.notes), "files": files}


def _measure(
    stage: EvaluateStage, context: StageContext, home: Home, examples: Examples, name: str, reference: str
) -> Measured:
    def look(_: int) -> None:
        if context.stop_wanted():
            raise Stopped

    look(0)
    try:
        loaded: Loaded = load(reference, home, str(context.device), tell=context.tell)
        return measure(loaded, examples, stage, look)
    except UsageError as error:
        raise ValueInRecipeError(f"models.{name}", str(error)) from None


def _write(context: StageContext, table: EvaluationTable, measured: dict[str, Measured]) -> list[str]:
    texts = table.files()
    if any(each.continuations for each in measured.values()):
        texts["continuations.csv"] = _continuations(measured)
    try:
        context.folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (context.folder / name).write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise MachineError(f"cannot write the tables to {context.folder}: {error.strerror}") from None
    return list(texts)


def _continuations(measured: dict[str, Measured]) -> str:
    """What each model went on with, beside what really follows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "prefix", "predicted", "gold"])
    for name, each in measured.items():
        writer.writerows((name, *row) for row in each.continuations)
    return text.getvalue()
