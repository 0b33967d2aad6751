"""Commands that print what was measured: metrics, and samples with their probabilities."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...core.errors import MachineError, NotFoundError
from .options import JsonOption, RunArgument

if TYPE_CHECKING:
    from ...core.history.blocks import Points
    from ...core.history.queries import History, Run, SampleEntry, Stage
    from ...core.tokens import TokenTrace

StageOption = Annotated[str | None, typer.Option("--stage", help="Only this stage.")]


def add_to(app: typer.Typer) -> None:
    """Put the commands into the app."""
    for command in (metrics, sample):
        app.command()(command)


def metrics(
    context: typer.Context,
    reference: RunArgument,
    stage: StageOption = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric; may be repeated.")] = None,
    form: Annotated[Literal["csv", "json"], typer.Option("--format", help="How to print them.")] = "csv",
) -> None:
    """Print every measurement of a run, none left out."""
    from ...core.history.queries import History

    with closing(History(context.obj)) as history:
        run = history.find(reference)
        chosen = list(_chosen(history, run, stage, metric or ()))
        series = [(one.name, name, history.points(one.id, name)) for one, name in chosen]
    (_print_csv if form == "csv" else _print_series)(series)
    if damaged := sum(points.damaged for _, _, points in series):
        raise MachineError(f"{damaged} measurements cannot be read: their blocks are damaged; all others are printed")


def sample(
    context: typer.Context,
    reference: RunArgument,
    stage: StageOption = None,
    step: Annotated[int | None, typer.Option(help="The step; else the last one.", show_default=False)] = None,
    prompt: Annotated[int, typer.Option(min=1, help="Which of the recipe's prompts.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Print what the model said while it learned. On a terminal, tokens are coloured by how likely they were."""
    from ...core.history.queries import History
    from .output import notice, print_json

    with closing(History(context.obj)) as history:
        run = history.find(reference)
        one, entry = _entry(history, run, stage, step, prompt)
        try:
            trace = history.sample(entry.id)
        except ValueError as error:
            raise MachineError(str(error)) from error
    if as_json:
        where = {"run": run.uid, "stage": one.name, "step": entry.step, "prompt_number": prompt, "prompt": entry.prompt}
        print_json({**where, "text": trace.text(), "tokens": _tokens(trace)})
    elif sys.stdout.isatty():
        _print_coloured(trace)
        notice(f"{run.uid}  {one.name}  step {entry.step}  prompt {prompt}")
    else:
        from ...core.text import printable

        print(printable(trace.text(), keep_newlines=True))


# -- metrics --------------------------------------------------------------------------------------


def _chosen(history: "History", run: "Run", stage: str | None, names: Sequence[str]) -> Iterator[tuple["Stage", str]]:
    """The stages and metrics to print.

    Raises:
        NotFoundError: one that was asked for is in no stage.
    """
    found = [(one, list(history.metrics(one.id))) for one in _stages(history, run, stage)]
    known = {name for _, there in found for name in there}
    for name in names:
        if name not in known:
            raise NotFoundError(f"run {run.uid} has no metric '{name}'{_known(known)}")
    for one, there in found:
        yield from ((one, name) for name in there if not names or name in names)


def _print_csv(series: Sequence[tuple[str, str, "Points"]]) -> None:
    import csv

    from .output import iso

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("stage", "metric", "step", "time", "value"))
    for stage, metric, points in series:
        rows = zip(points.steps.tolist(), points.times.tolist(), points.values.tolist(), strict=True)
        writer.writerows((stage, metric, step, iso(t_us), repr(value)) for step, t_us, value in rows)


def _print_series(series: Sequence[tuple[str, str, "Points"]]) -> None:
    from .output import print_json

    print_json(
        [
            {
                "stage": stage,
                "metric": metric,
                "steps": points.steps.tolist(),
                "times_us": points.times.tolist(),
                "values": points.values.tolist(),
                "damaged": points.damaged,
            }
            for stage, metric, points in series
        ]
    )


def _stages(history: "History", run: "Run", name: str | None) -> list["Stage"]:
    """The run's stages, or the one of a name."""
    stages = history.stages(run.id)
    found = [stage for stage in stages if name is None or stage.name == name]
    if not found:
        raise NotFoundError(f"run {run.uid} has no stage '{name}'{_known(stage.name for stage in stages)}")
    return found


def _known(names: "Iterator[str] | set[str]") -> str:
    listed = ", ".join(sorted(names))
    return f"; it has {listed}" if listed else "; it has none yet"


# -- samples --------------------------------------------------------------------------------------


def _entry(
    history: "History", run: "Run", stage: str | None, step: int | None, prompt: int
) -> tuple["Stage", "SampleEntry"]:
    """The sample that was asked for, of the last stage that has any.

    Raises:
        NotFoundError: there is none.
    """
    for one in reversed(_stages(history, run, stage)):
        entries = [entry for entry in history.samples(one.id) if entry.prompt_index == prompt - 1]
        fitting = [entry for entry in entries if step is None or entry.step == step]
        if fitting:
            return one, fitting[-1]
        if entries:
            steps = ", ".join(str(entry.step) for entry in entries[-12:])
            raise NotFoundError(
                f"run {run.uid} has no sample of step {step} for prompt {prompt}; the last are of {steps}"
            )
    raise NotFoundError(f"run {run.uid} has no samples for prompt {prompt}")


def _tokens(trace: "TokenTrace") -> list[dict[str, Any]]:
    """Each token with what the model thought of it; natural logarithms, entropy in bits."""

    def named(token_id: int) -> dict[str, Any]:
        piece = trace.pieces.get(token_id, b"")
        return {"id": token_id, "text": piece.decode("utf-8", "replace"), "bytes": piece.hex()}

    return [
        {
            **named(int(token_id)),
            "given": position < trace.prompt_length or math.isnan(trace.logprob[position]),
            "logprob": float(trace.logprob[position]),
            "rank": int(trace.rank[position]),
            "entropy": float(trace.entropy[position]),
            "alternatives": [
                {**named(int(other)), "logprob": float(logprob)}
                for other, logprob in zip(
                    trace.alternative_ids[position], trace.alternative_logprob[position], strict=True
                )
                if not math.isnan(logprob)
            ],
        }
        for position, token_id in enumerate(trace.ids)
    ]


def _print_coloured(trace: "TokenTrace") -> None:
    from rich.console import Console

    from ..pictures.ink import colour_depth, rich_text
    from ..pictures.tokens import header_line, token_lines

    console, depth = Console(highlight=False, markup=False, emoji=False), colour_depth()
    for line in (*token_lines(trace, console.width, depth=depth).lines, (), header_line("linear", depth)):
        console.print(rich_text(line), soft_wrap=True)
