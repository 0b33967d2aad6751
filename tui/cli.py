"""The `lmwb` command: global options, what an exit status means, and one place where errors become sentences.

The commands themselves stand in `commands/`. Nothing heavier than typer is imported before a command runs.
"""

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import ExitCode, LmwbError, RecipeError
from ..core.home import Home
from ..core.text import printable
from .commands import (
    augmenting,
    comparing,
    compressing,
    evaluating,
    generating,
    influencing,
    inspecting,
    launching,
    predicting,
    reading,
    recipes,
    scoring,
    series,
)

app = typer.Typer(
    name="lmwb",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    *(launching, reading, comparing, series, recipes),
    *(generating, scoring, predicting, evaluating, augmenting, compressing),
    *(influencing, inspecting),
):
    group.add_to(app)

_WITH_VALUE = ("--home",)
_ANYWHERE = ("--debug", *_WITH_VALUE)


@app.callback()
def lmwb(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(help="The folder with the history and the runs; else LMWB_HOME, else the user's data."),
    ] = None,
    _debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    """Train and study language models in a terminal. Without a command, open the app."""
    if version:
        from importlib.metadata import version as version_of

        print(f"lmwb {version_of('lmwb')}")
        raise typer.Exit
    context.obj = Home.locate(home)
    if context.invoked_subcommand is not None:
        return
    if not sys.stdout.isatty():
        print(context.get_help())
        return
    from .app import run_app

    raise typer.Exit(run_app(context.obj))


def main() -> None:
    """Run the command line and leave with its exit status."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Carry out a command line; returns the exit status."""
    words = _globals_first(words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        code = app(list(words), prog_name="lmwb", standalone_mode=False)
        sys.stdout.flush()
        return code or ExitCode.OK
    except SystemExit as leaving:  # typer's answer to a broken pipe
        if not isinstance(leaving.__context__, BrokenPipeError):
            raise
        return _reader_left()
    except BrokenPipeError:
        return _reader_left()
    except (typer.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except Exception as error:
        if "--debug" in words and not isinstance(error, typer.TyperException):
            import traceback

            traceback.print_exc()
        return _explain(error)


def _explain(error: Exception) -> int:
    """Say on stderr what went wrong; returns the exit status."""
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "lmwb"
        return _complain(f"lmwb: {error.format_message()} `{command} --help` tells more.", ExitCode.USAGE)
    if isinstance(error, RecipeError):
        return _complain("\n".join(error.problems), error.exit_code)
    if isinstance(error, LmwbError):
        return _complain(f"lmwb: {error}", error.exit_code)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"lmwb: {where}{error.strerror or error}", ExitCode.ENVIRONMENT)
    if type(error).__module__ == "sqlite3":
        return _complain(f"lmwb: the history cannot be used: {error}", ExitCode.ENVIRONMENT)
    return _complain(
        f"lmwb: a bug in lmwb: {type(error).__name__}: {error} (--debug shows the traceback)", ExitCode.BUG
    )


def _complain(sentence: str, code: ExitCode) -> int:
    print(printable(sentence, keep_newlines=True), file=sys.stderr)
    return code


def _reader_left() -> int:
    """Whoever read our output has gone; keep Python from trying to write the rest at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return ExitCode.OK


def _globals_first(words: Sequence[str]) -> list[str]:
    """The same words with the global options before the command, so that they count wherever they stand."""
    first: list[str] = []
    rest: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--":
            rest += [word, *left]
        elif word.partition("=")[0] in _ANYWHERE:
            first.append(word)
            first += [value for value in [next(left, None)] if value is not None] if word in _WITH_VALUE else []
        else:
            rest.append(word)
    return first + rest


if __name__ == "__main__":
    main()
