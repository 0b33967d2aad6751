"""Commands that start, resume and stop runs."""

import time
from contextlib import closing

import typer

from ...core.home import Home
from .options import DetachOption, EventsOption, RecipeArgument, RunArgument, SetOption, SmokeOption

_STARTING_SECONDS = 20
"""How long `stop` waits for a run whose process is only just starting."""


def add_to(app: typer.Typer) -> None:
    """Put the commands into the app."""
    for command in (run, resume, stop):
        app.command()(command)


def run(
    context: typer.Context,
    recipe: RecipeArgument,
    changes: SetOption = None,
    smoke: SmokeOption = False,
    detach: DetachOption = False,
    as_json: EventsOption = False,
) -> None:
    """Start a run and follow it. Ctrl-C asks it to stop; closing the terminal does not end it."""
    from ...core import runs
    from ...core.recipe import find_recipe, load
    from .output import notice

    loaded = load(find_recipe(recipe), changes or (), context.obj.smoke if smoke else None)
    for note in loaded.notes:
        notice(note)
    _follow(context.obj, runs.launch(context.obj, loaded).uid, detach, as_json)


def resume(
    context: typer.Context, reference: RunArgument, detach: DetachOption = False, as_json: EventsOption = False
) -> None:
    """Go on with a run that ended before its time. It begins at its newest checkpoint."""
    from ...core import runs
    from ...core.history.queries import History

    with closing(History(context.obj)) as history:
        found = history.find(reference)
    _follow(context.obj, runs.resume(context.obj, found).uid, detach, as_json)


def stop(context: typer.Context, reference: RunArgument) -> None:
    """Ask a run to write a checkpoint and end. `lmwb resume` goes on later."""
    from ...core import runs
    from ...core.history.queries import History
    from .output import notice

    with closing(History(context.obj)) as history:
        found = history.find(reference)
        deadline = time.monotonic() + _STARTING_SECONDS
        while found.state == "starting" and found.pid is None and time.monotonic() < deadline:
            time.sleep(0.1)
            found = history.run(found.id)
    runs.stop(found)
    notice(f"run {found.uid} was asked to write a checkpoint and end")


def _follow(home: Home, uid: str, detach: bool, as_json: bool) -> None:
    from .output import print_json_line

    if detach:
        print_json_line({"event": "launched", "id": uid}) if as_json else print(uid)
        return
    from .following import follow

    raise typer.Exit(follow(home, uid, as_json))
