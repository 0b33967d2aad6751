"""The stage that lets a model go on from prompts, and writes what it said to two files: for programs, for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.sources import SourceError, read_documents
from ..decoding.as_json import generation_as_dict
from ..decoding.generate import Progress, generate
from ..decoding.loading import load
from ..decoding.records import Generation, Hypothesis
from ..errors import MachineError, Stopped
from ..files import write_atomically
from ..home import Home
from ..recipe.schema import GenerateStage
from ..text import json_text, printable, shorten
from .context import StageContext

JSON_FILE = "generations.jsonl"
TEXT_FILE = "generations.txt"
_SHOWN = 5


def run(stage: GenerateStage, context: StageContext, home: Home) -> dict[str, Any]:
    """Write what the model says; returns counts, mean log-probabilities, and the files.

    `logprob` is the mean over the generated tokens of the prompts' best texts, `score` the mean of these texts' totals.

    Raises:
        UsageError: the model is of another kind, or a prompt cannot be gone on from.
        TrainingError: the model's output is not finite.
        MachineError: the disk does not take it.
        Stopped: the user asked for it.
    """
    prompts = _prompts(stage)
    context.begin(len(prompts), 0)
    source = stage.model.from_
    loaded = load(
        source if Path(source).is_absolute() else f"hub:{source}", home, str(context.device), tell=context.tell
    )
    begun: set[tuple[int, ...]] = set()

    def look(progress: Progress) -> None:
        if context.stop_wanted():
            context.tell("stopped as asked; the stage begins anew when the run goes on", kind="stopped")
            raise Stopped
        begun.add(progress.prompts)
        done = sum(map(len, begun)) - len(progress.prompts) * (progress.steps - progress.step) // progress.steps
        context.recorder.progress(context.stage_id, done, len(prompts), "generating")

    found = generate(loaded, prompts, stage.decoding, look, record=stage.tree)
    for place, one in enumerate(found, 1):
        for note in one.notes:
            context.tell(f"prompt {place}: {note}", kind="generation")
    for one in found[:_SHOWN]:
        context.tell(_line(one), kind="sample")
    files = _write(context, found)
    context.tell(f"{len(found):,} prompts are gone on from in {context.folder}", kind="finished")
    return {**_figures(found), "files": files}


def _prompts(stage: GenerateStage) -> list[str]:
    """The recipe's own prompts, then those of its source."""
    prompts = list(stage.prompts)
    if stage.data is not None:
        data = stage.data
        try:
            prompts += read_documents(data.source, data.text, data.documents, data.max_rows)
        except SourceError as error:
            raise SourceError(str(error), "data.source" if error.key == "data.train" else error.key) from None
    return prompts


def _figures(found: Sequence[Generation]) -> dict[str, Any]:
    best = [one.hypotheses[0] for one in found]
    logprobs = np.concatenate([each.trace.logprob[each.trace.prompt_length :] for each in best])
    return {
        "prompts": len(found),
        "texts": sum(len(one.hypotheses) for one in found),
        "tokens": sum(len(each.trace) - each.trace.prompt_length for one in found for each in one.hypotheses),
        "finished": sum(each.finished for one in found for each in one.hypotheses),
        "logprob": float(logprobs.mean()) if len(logprobs) else None,
        "score": float(np.mean([each.total for each in best])),
    }


def _write(context: StageContext, found: Sequence[Generation]) -> list[str]:
    contents = {
        JSON_FILE: "".join(json_text(generation_as_dict(one)) + "\n" for one in found),
        TEXT_FILE: "\n".join(_page(one) for one in found),
    }
    try:
        for name, content in contents.items():
            write_atomically(context.folder / name, content.encode())
    except OSError as error:
        raise MachineError(f"cannot write what was generated to {context.folder}: {error.strerror}") from None
    return list(contents)


def _page(one: Generation) -> str:
    """A prompt and its texts with their scores, printable."""
    lines = [f"prompt: {printable(one.prompt)}", *(f"note: {note}" for note in one.notes)]
    lines += [f"{each.final:10.4f}  {printable(_said(each))}" for each in one.hypotheses]
    return "\n".join(lines) + "\n"


def _line(one: Generation) -> str:
    best = one.hypotheses[0]
    return f"{shorten(one.prompt, 60)} → {_said(best)}  ({best.final:.3f})"


def _said(one: Hypothesis) -> str:
    return one.trace.text(one.trace.prompt_length)
