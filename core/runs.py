"""The life of a run: launch it, stop it, resume it.

A run is a process of its own, in a session of its own: closing the terminal that started it does not end
it. A small supervisor process waits for the worker and writes down how it ended, whatever ended it.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from .children import process_environment
from .errors import MachineError, UsageError
from .history.database import open_database
from .history.ledger import StagePlan, begin_attempt, create_run
from .history.liveness import take_lock, this_machine
from .history.queries import OPEN_STATES, History, Run
from .home import Home
from .recipe import LoadedRecipe, Recipe, freeze, members, origins
from .recipe.schema import CompareStage

RECIPE_NAME = "recipe.toml"
LOG_NAME = "log.txt"
_PATIENCE_SECONDS = 15.0
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"


def launch(home: Home, loaded: LoadedRecipe) -> Run:
    """Enter a new run in the history and start its process; returns at once.

    Raises:
        MachineError: the home folder cannot be written to.
    """
    uid = _new_uid(loaded.recipe.name)
    own = comparisons(loaded.recipe) if loaded.members else loaded.recipe.stage
    stages = [StagePlan(stage.name, stage.kind) for stage in own]
    folder = home.run_folder(uid)
    with closing(open_database(home)) as connection:
        try:
            folder.mkdir(parents=True)
            (folder / RECIPE_NAME).write_text(loaded.frozen, encoding="utf-8")
            origins.write(folder, loaded.origins)
            if loaded.members:
                members.write(folder, loaded.members)
            (folder / LOG_NAME).write_text("".join(f"{note}\n" for note in loaded.notes), encoding="utf-8")
        except OSError as error:
            raise MachineError(f"cannot write the run's folder {folder}: {error.strerror}") from None
        run_id = create_run(connection, uid, loaded.recipe.name, loaded.frozen, stages, str(loaded.path))
    return _start(home, run_id, folder)


def launch_member(home: Home, parent: Run, number: int, member: members.Member, environment: Mapping[str, str]) -> Run:
    """Start one of a run's members for the first time; returns at once.

    Args:
        home: where all of it is kept.
        parent: the run that it is a member of.
        number: which one, from 1.
        member: what it does.
        environment: variables for its process.
    """
    uid = f"{parent.uid}-{number}"
    folder = home.run_folder(uid)
    frozen = freeze(member.recipe)
    stages = [StagePlan(stage.name, stage.kind) for stage in member.recipe.stage]
    with closing(History(home)) as history:
        path = history.recipe_path(parent.id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RECIPE_NAME).write_text(frozen, encoding="utf-8")
        origins.write(folder, member.origins)
    except OSError as error:
        raise MachineError(f"cannot write the run's folder {folder}: {error.strerror}") from None
    with closing(open_database(home)) as connection:
        written = None if path is None else str(path)
        run_id = create_run(connection, uid, parent.name, frozen, stages, written, parent.id, member.label)
    return _start(home, run_id, folder, environment)


def comparisons(recipe: Recipe) -> list[CompareStage]:
    """The stages that a run with members does itself: the recipe's comparisons, or one of everything."""
    found = [stage for stage in recipe.stage if isinstance(stage, CompareStage)]
    taken = {stage.name for stage in recipe.stage}
    return found or [CompareStage(name="comparison" if "compare" in taken else "compare")]


def resume(home: Home, run: Run, environment: Mapping[str, str] | None = None) -> Run:
    """Go on with a run that ended before its time, from its newest whole checkpoint; returns at once.

    A run with members goes on with those that have not finished. `environment` are variables for its process.

    Raises:
        UsageError: the run is alive, has finished, or belongs to another machine.
    """
    if run.state in OPEN_STATES:
        where = f" on {run.host}" if run.state == "elsewhere" else ""
        raise UsageError(f"run {run.uid} is {run.state}{where}; `lmwb stop {run.uid}` ends it")
    if run.state == "finished":
        raise UsageError(f"run {run.uid} has finished; `lmwb run` with its recipe starts a new one")
    return _start(home, run.id, run.folder, environment)


def stop(run: Run) -> None:
    """Ask a run to write a checkpoint and end; returns at once.

    Raises:
        UsageError: it is not running, or runs on another machine.
    """
    if run.state == "elsewhere":
        raise UsageError(f"run {run.uid} runs on {run.host}; stop it there")
    if run.state not in OPEN_STATES:
        raise UsageError(f"run {run.uid} is not running: it has {run.state}")
    if run.pid is None:
        raise UsageError(f"run {run.uid} is still starting; try again in a moment")
    try:
        os.kill(run.pid, signal.SIGTERM)
    except ProcessLookupError:
        raise UsageError(f"run {run.uid} is not running any more") from None


def log_file(run: Run) -> Path:
    """Everything the run's process has printed."""
    return run.folder / LOG_NAME


def _start(home: Home, run_id: int, folder: Path, environment: Mapping[str, str] | None = None) -> Run:
    """Start the supervisor, which holds the run's lock from before it begins until after it ends."""
    lock = _patiently(folder)
    try:
        with closing(open_database(home)) as connection:
            attempt_id = begin_attempt(connection, run_id, this_machine())
        with (folder / LOG_NAME).open("ab") as log:
            arguments = (str(home.root), folder.name, str(run_id), str(attempt_id), str(lock))
            subprocess.Popen(
                [sys.executable, "-m", "lmwb.core.supervisor", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock,),
                env={**process_environment(), **(environment or {})},
            )
    finally:
        os.close(lock)
    with closing(History(home)) as history:
        return history.run(run_id)


def _patiently(folder: Path) -> int:
    """The run's lock; a process that has told its end may hold it for a moment longer."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (lock := take_lock(folder)) is None:
        if time.monotonic() > deadline:
            raise UsageError(f"another process works on run {folder.name} already")
        time.sleep(0.05)
    return lock


def _new_uid(name: str) -> str:
    """A short id that is safe as a folder's name: the recipe's name and five random letters."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32].strip("-") or "run"
    return f"{slug}-{''.join(secrets.choice(_ALPHABET) for _ in range(5))}"
