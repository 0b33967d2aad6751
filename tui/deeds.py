"""What the app does to runs. Slow, and with heavy imports: for a thread."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.history.queries import Run
from ..core.home import Home

if TYPE_CHECKING:
    from ..core.tokens import TokenTrace


def stop(_: Home, run: Run) -> None:
    """Ask a run to write a checkpoint and end.

    Raises:
        UsageError: it is not running.
    """
    from ..core import runs

    runs.stop(run)


def resume(home: Home, run: Run) -> None:
    """Go on with a run.

    Raises:
        UsageError: it cannot be gone on with.
    """
    from ..core import runs

    runs.resume(home, run)


def start(home: Home, path: Path | None, name: str, changes: str = "", smoke: bool = False) -> Run:
    """Check a recipe and launch a run with it.

    Args:
        home: where the run is kept.
        path: the recipe's file; None for one that comes with lmwb.
        name: of a recipe that comes with lmwb.
        changes: as they are written after `--set`, with spaces in between.
        smoke: make it small, as `--smoke` does.

    Raises:
        RecipeError: with everything that is wrong with it.
        MachineError: the home folder cannot be written to.
    """
    import importlib.resources

    from ..core import recipe, runs

    arguments, made_up = split_changes(changes), home.smoke if smoke else None
    if path is not None:
        return runs.launch(home, recipe.load(path, arguments, made_up))
    resource = importlib.resources.files("lmwb.recipes").joinpath(f"{name}.toml")
    with importlib.resources.as_file(resource) as shipped:
        return runs.launch(home, recipe.load(shipped, arguments, made_up))


def ask_where_from(home: Home, model: str, trace: "TokenTrace", span: tuple[int, int], changes: str = "") -> Run:
    """Launch a run that finds the training rows that made a model say some tokens.

    Args:
        home: where the run is kept.
        model: who said them, as the model service takes it.
        trace: the whole text.
        span: the first of the tokens, and the one behind the last.
        changes: to the recipe, as for `start`.

    Raises:
        UsageError: the model's training rows are not known, or nothing stands before the tokens.
        RecipeError: with everything that is wrong with the changes.
        MachineError: the home folder cannot be written to.
    """
    from .asking import question

    return launch_question(home, question(home, model, trace, span).table(), split_changes(changes))


def launch_question(home: Home, table: Mapping[str, Any], changes: Sequence[str]) -> Run:
    """Launch a run with a recipe that is in no file.

    Raises:
        RecipeError: with everything that is wrong with it or the changes.
        MachineError: the home folder cannot be written to.
    """
    import tomli_w

    from ..core import recipe, runs

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "where-from.toml"
        path.write_text(tomli_w.dumps(table), encoding="utf-8")
        return runs.launch(home, recipe.load(path, changes))


def split_changes(text: str) -> list[str]:
    """The changes in a line: spaces end one, except between quotes or brackets. ``a=1 b=[0, 1]`` are two."""
    found: list[str] = []
    word, quote, depth = "", "", 0
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        if character.isspace() and not quote and depth <= 0:
            found += [word] if word else []
            word = ""
        else:
            word += character
    return [*found, word] if word else found
