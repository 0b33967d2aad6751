"""Commands that tell what runs did: lists, one run, its log, its samples, a live view."""

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import JsonOption, RunArgument

if TYPE_CHECKING:
    from ...core.history.queries import History, Run


def add_to(app: typer.Typer) -> None:
    """Put the commands into the app."""
    for command in (runs, show, logs, watch):
        app.command()(command)


def runs(
    context: typer.Context,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many, the newest.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs, newest first."""
    from ...core.history.queries import History
    from .output import print_json, print_table, run_facts

    with closing(History(context.obj)) as history:
        found = history.runs(limit)
    if as_json:
        print_json([run_facts(run) for run in found])
        return
    from .. import words
    from .output import notice

    rows = [
        (
            *(run.uid, run.name, run.state, run.stage, f"{run.step}/{run.total}" if run.total else str(run.step)),
            *(words.number(run.loss), words.moment(run.created_us)),
        )
        for run in found
    ]
    print_table(("run", "name", "state", "stage", "step", "loss", "created"), rows, right=(4, 5))
    if not found:
        notice("no runs yet; `lmwb run quickstart` starts one")


def show(context: typer.Context, reference: RunArgument, as_json: JsonOption = False) -> None:
    """Tell everything about a run. State, results, metrics, checkpoints, last sample, where it ran."""
    from ...core.history.queries import History
    from .output import print_json
    from .report import report_facts, report_lines

    with closing(History(context.obj)) as history:
        run = history.find(reference)
        if as_json:
            print_json(report_facts(run, history))
            return
        for line in report_lines(run, history):
            print(line)


def logs(
    context: typer.Context,
    reference: RunArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
) -> None:
    """Print what a run's process has printed."""
    from ...core.history.queries import History
    from ...core.runs import log_file
    from ...core.text import printable
    from .tail import lines_of

    with closing(History(context.obj)) as history:
        run = history.find(reference)

        def goes_on() -> bool:
            return follow and history.run(run.id).state in ("starting", "running")

        for line in lines_of(log_file(run), goes_on):
            print(printable(line))
            if follow:
                sys.stdout.flush()


def watch(
    context: typer.Context,
    reference: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run; else the newest, and the next one when it comes.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the picture once and leave.")] = False,
) -> None:
    """Show a run live: progress, loss curve, last sample. For a tmux pane; Ctrl-C leaves."""
    from ...core.history.queries import History
    from .watching import print_once, watch_live

    with closing(History(context.obj)) as history:
        find = _finder(history, reference)
        if once:
            print_once(history, find())
        else:
            watch_live(history, find)


def _finder(history: "History", reference: str | None) -> Any:
    def find() -> "Run":
        return history.find(reference or "last")

    return find
