"""Errors that a user can mend, and the exit codes that scripts can rely on.

Every `LmwbError` is one clear sentence: what is wrong, where, and what to do. The command line prints it
to stderr and exits with its code; any other exception is a bug and is reported as one.
"""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What the `lmwb` command's exit status means."""

    OK = 0
    """The command did what was asked; a run that was followed has finished."""
    BUG = 1
    """lmwb itself failed; `--debug` shows the traceback."""
    USAGE = 2
    """The recipe, an override or the command's words are wrong; nothing was started."""
    NOT_FOUND = 3
    """No such run, sample, metric or shipped recipe."""
    ENVIRONMENT = 4
    """The history or the home folder cannot be used: no permission, no space, a newer schema."""
    RUN_FAILED = 5
    """The run ended with an error of its own."""
    RUN_STOPPED = 6
    """The run was stopped before its end; `lmwb resume` goes on."""
    RUN_DIED = 7
    """The run's process was killed or lost."""
    INTERRUPTED = 130
    """Ctrl-C ended the command."""


class LmwbError(Exception):
    """A problem told in one sentence, for the person at the keyboard."""

    exit_code: ExitCode = ExitCode.BUG


class UsageError(LmwbError):
    """The request cannot be carried out as it was made."""

    exit_code = ExitCode.USAGE


class NotFoundError(LmwbError):
    """The thing that was named does not exist."""

    exit_code = ExitCode.NOT_FOUND


class MachineError(LmwbError):
    """The machine does not allow it: permissions, space, a history written by a newer lmwb."""

    exit_code = ExitCode.ENVIRONMENT


class TrainingError(LmwbError):
    """A run cannot go on."""

    exit_code = ExitCode.RUN_FAILED


class ValueInRecipeError(UsageError):
    """A value that the recipe may hold turned out not to fit the data, the model or the machine.

    `key` is its dotted path within the stage, such as ``data.text``.
    """

    def __init__(self, key: str, message: str):
        super().__init__(message)
        self.key = key


class RecipeError(UsageError):
    """Everything that is wrong with a recipe, all at once.

    `problems` holds one line each, in the form ``recipe.toml:12: what is wrong``.
    """

    def __init__(self, problems: Sequence[str]):
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Stopped(Exception):
    """A run was asked to stop, and everything needed to go on is on disk."""
