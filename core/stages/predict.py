"""The stage that puts a model to work on texts and writes its answers to a file."""

import json
from typing import Any

from ..data.sources import SourceError, read_documents
from ..errors import MachineError, Stopped
from ..evaluation.tasks.registry import make_task
from ..evaluation.tasks.task import Prediction, Settings
from ..files import write_atomically
from ..home import Home
from ..recipe.schema import PredictStage
from ..text import shorten
from .context import StageContext

FILE_NAME = "predictions.jsonl"
_SHOWN = 5
_AT_ONCE = 64


def run(stage: PredictStage, context: StageContext, home: Home) -> dict[str, Any]:
    """Write the answers; returns how many there are, and where.

    Raises:
        UsageError: the model is of another kind, or a text cannot be answered.
        MachineError: the disk does not take it.
        Stopped: the user asked for it.
    """
    texts = _texts(stage)
    context.begin(len(texts), 0)
    settings = Settings(
        top=stage.top,
        batch_size=stage.batch_size,
        decoding=stage.decoding,
        rewriting=stage.rewriting,
        prefix=stage.prefix,
        language=stage.language,
        target=stage.target,
        seed=context.seed,
    )
    task = make_task(stage.task, stage.model.from_, settings, home, str(context.device), context.tell)
    found: list[Prediction] = []
    for start in range(0, len(texts), _AT_ONCE):
        if context.stop_wanted():
            context.tell("stopped as asked; the stage begins anew when the run goes on", kind="stopped")
            raise Stopped
        found += task.predict(texts[start : start + _AT_ONCE])
        context.recorder.progress(context.stage_id, len(found), len(texts), "answering")
    for each in found[:_SHOWN]:
        context.tell(told(each), kind="sample")
    path = context.folder / FILE_NAME
    try:
        write_atomically(path, "".join(json.dumps(each.facts()) + "\n" for each in found).encode())
    except OSError as error:
        raise MachineError(f"cannot write the predictions {path}: {error.strerror}") from None
    context.tell(f"answers to {len(found):,} texts are in {path}", kind="finished")
    return {"texts": len(found), "predictions": str(path.relative_to(context.run_folder))}


def told(prediction: Prediction) -> str:
    """A prediction in one line; foreign text."""
    answers = [
        " / ".join(each.text + ("" if each.probability is None else f" {each.probability:.3f}") for each in choices[:3])
        for choices in prediction.answers
    ]
    return f"{shorten(prediction.text, 60)} → {' · '.join(answers)}"


def _texts(stage: PredictStage) -> list[str]:
    """The recipe's own texts, then those of its source."""
    texts = list(stage.texts)
    if stage.data is not None:
        try:
            texts += read_documents(stage.data.source, stage.data.text, "line", stage.data.max_rows)
        except SourceError as error:
            raise SourceError(str(error), "data.source" if error.key == "data.train" else error.key) from None
    return texts
