"""Commands that tell what runs did: lists, one run, its log, its samples, a live view."""

import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import JsonOption, RunArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...core.history.queries import History, Run


def add_to(app: typer.Typer) -> None:
    """Put the commands into the app."""
    for command in (runs, show, logs, watch):
        app.command()(command)


def runs(
    context: typer.Context,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many, the newest.")] = None,
    members: Annotated[bool, typer.Option("--members", help="Also list the members of runs with several.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the runs, newest first."""
    from ...core.history.queries import History
    from .output import print_json, print_table, run_facts

    with closing(History(context.obj)) as history:
        found = history.runs(limit, members=False)
        of = {run.id: history.members(run.id) for run in found}
    listed = [each for run in found for each in (run, *(of.get(run.id, []) if members else []))]
    if as_json:
        print_json([run_facts(run) for run in listed])
        return
    from .. import words
    from .output import notice

    rows = [
        (
            *(run.uid, run.member or run.name, run.state, members_in_words(of.get(run.id, [])) or run.stage),
            *(f"{run.step}/{run.total}" if run.total else str(run.step), words.number(run.loss)),
            words.moment(run.created_us),
        )
        for run in listed
    ]
    print_table(("run", "name", "state", "stage", "step", "loss", "created"), rows, right=(4, 5))
    if not found:
        notice("no runs yet; `lmwb run quickstart` starts one")


def members_in_words(members: "Sequence[Run]") -> str:
    """How the members of a run stand: ``4 members: 3 finished, 1 failed``; nothing for none."""
    if not members:
        return ""
    states = [run.state for run in members]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{len(members)} member{'s' if len(members) > 1 else ''}: {counts}"


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
