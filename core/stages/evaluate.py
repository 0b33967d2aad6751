"""The stage that measures models on the same examples: one table, before and after."""

import csv
import io
from typing import Any

from ..decoding.loading import Loaded, find, load
from ..errors import MachineError, Stopped, UsageError, ValueInRecipeError
from ..evaluation.examples import Examples, read_examples
from ..evaluation.measure import Measured, measure, table_of
from ..evaluation.table import EvaluationTable
from ..home import Home
from ..models.identity import identity_of
from ..recipe.schema import EvaluateStage
from .context import StageContext
from .kept_measurements import KeptMeasurements

MEASURED = "measured"
"""The folder of what each model came to."""


def run(stage: EvaluateStage, context: StageContext, home: Home) -> dict[str, Any]:
    """Measure each model and write the table; returns the figures in groups named `test/MODEL`.

    Raises:
        ValueInRecipeError: the data or a model cannot be read, or do not fit.
        TrainingError: a model's output is not finite.
        MachineError: the disk does not take the table.
        Stopped: the user asked for it; what models came to is kept.
    """
    examples = read_examples(stage.data)
    kept = KeptMeasurements(context.folder / MEASURED, stage, examples)
    identities = {name: _identity(context, home, reference) for name, reference in stage.models.items()}
    known = {name: found for name, model in identities.items() if model and (found := kept.find(model))}
    context.begin(len(stage.models), len(known))
    if known:
        context.tell(f"measured before: {', '.join(known)}", kind="evaluation")
    for name, reference in stage.models.items():
        if name in known:
            continue
        context.recorder.progress(context.stage_id, len(known), len(stage.models), f"evaluating {name}")
        known[name] = _measure(stage, context, home, examples, name, reference)
        if model := identities[name]:
            kept.keep(model, known[name])
    measured = {name: known[name] for name in stage.models}
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
    def look() -> None:
        if context.stop_wanted():
            context.tell("stopped as asked; what models came to so far is kept", kind="stopped")
            raise Stopped

    look()
    try:
        loaded: Loaded = load(reference, home, str(context.device), tell=context.tell)
        return measure(loaded, examples, stage, look)
    except UsageError as error:
        raise ValueInRecipeError(f"models.{name}", str(error)) from None


def _identity(context: StageContext, home: Home, reference: str) -> str | None:
    """Changes when the model's files do; None if there is no such model, which loading it tells better."""
    try:
        return identity_of(find(reference, home).source, "models", context.cache / "hashes")
    except (UsageError, ValueInRecipeError):
        return None


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
