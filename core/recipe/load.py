"""From a recipe file to a `Recipe`, or to everything that is wrong with it at once."""

import copy
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import RecipeError
from ..text import printable
from .keys import STAGE_KEYS, Place
from .lines import KeyPath, Lines, below, is_table
from .origins import dotted, paths_in
from .overrides import Overrides, label
from .problems import Problem, describe, error_path, explain
from .schema import Recipe
from .smoke import shrink
from .sources import resolve
from .syntax import parse

_MERGED = ("data", "train", "sample", "masking")
"""Tables that a stage shares with `defaults` key by key; others it has from one place or the other."""
_RIVALS = {"steps": "epochs", "epochs": "steps"}
_LARGEST = 4_000_000
"""Bytes; a larger file is not a recipe."""


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that can be run.

    Attributes:
        recipe: what it says.
        path: the file it came from, absolute.
        frozen: the recipe as TOML with all defaults filled in and absolute paths; `thaw` reads it.
        origins: dotted path of each value that was given, to where: ``recipe.toml:12`` or ``--set train.lr=1``.
        notes: what was replaced to make it small, a sentence each.
    """

    recipe: Recipe
    path: Path
    frozen: str
    origins: Mapping[str, str]
    notes: Sequence[str] = ()


def load(path: Path, overrides: Sequence[str] = (), smoke: Path | None = None) -> LoadedRecipe:
    """Read a recipe, change it as the overrides say, and check it and the files that it names.

    Args:
        path: the recipe's file.
        overrides: changes of the form ``train.lr=3e-4``; paths in them are relative to the current folder.
        smoke: make the recipe so small that it runs within a minute; made-up data are written into this folder.

    Raises:
        RecipeError: with all problems.
    """
    text = _read(path)
    document, syntax = parse(text)
    if not document and not syntax:
        _refuse(path, "is empty; a recipe needs at least a name, a model and data")
    draft = _Draft(document)
    changes = Overrides()
    for argument in overrides:
        changes.apply(draft.document, argument)
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
    draft.fill_in()
    here = Path.cwd()
    notes = shrink(draft.document, smoke, absolute.parent) if smoke else []
    problems = [*draft.problems, *resolve(draft.document, lambda at: here if changes.origin(at) else absolute.parent)]
    recipe, errors = _validate(draft.document)
    problems += explain(errors, draft.flat, incomplete=bool(syntax))
    told = {(problem.line, f"{_shown(path)}:{problem.line}: {problem.text}") for problem in syntax}
    if problems:
        lines = Lines(text)
        for problem in problems:
            if argument := changes.origin(problem.path):
                changes.problems.append(f"{label(argument)}: {problem.text}")
            else:
                line = lines.line(draft.written(problem.path))
                told.add((line, f"{_shown(path)}:{line}: {problem.text}"))
    if told or changes.problems or recipe is None:
        raise RecipeError([sentence for _, sentence in sorted(told)] + changes.problems)
    return LoadedRecipe(recipe, absolute, freeze(recipe), _origins(path, text, draft, changes), notes)


def _origins(path: Path, text: str, draft: "_Draft", changes: Overrides) -> dict[str, str]:
    lines = Lines(text)
    found: dict[str, str] = {}
    for at in paths_in(draft.document):
        argument = changes.origin(at)
        found[dotted(at)] = label(argument) if argument else f"{_shown(path)}:{lines.line(draft.written(at))}"
    return found


def freeze(recipe: Recipe) -> str:
    """The complete recipe as TOML; what has no value is left out."""
    import tomli_w

    return tomli_w.dumps(recipe.model_dump(by_alias=True, exclude_none=True))


def thaw(frozen: str) -> Recipe:
    """A frozen recipe again, without a look at the files that it names.

    Raises:
        RecipeError: the text is not a recipe of this version of lmwb.
    """
    try:
        return Recipe.model_validate(tomllib.loads(frozen))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError([f"the frozen recipe is damaged: {printable(str(error))}"]) from None
    except ValidationError as error:
        problems = [problem.text for problem in explain(error.errors(include_url=False), flat=False)]
        raise RecipeError([f"the frozen recipe does not fit this lmwb: {text}" for text in problems]) from None


class _Draft:
    """A recipe's keys and values in the form with stages, whichever way it was written.

    Attributes:
        document: the recipe; `stage` is a list.
        flat: the stage's keys stood at the top.
        problems: keys that are in the way of that.
    """

    def __init__(self, document: dict[str, Any]):
        self.flat = "stage" not in document
        self.problems: list[Problem] = []
        self._inherited: dict[KeyPath, KeyPath] = {}
        stage = {key: document[key] for key in document if key in STAGE_KEYS}
        self.document = {key: value for key, value in document.items() if key not in stage}
        if self.flat:
            self.document["stage"] = [stage]
        elif isinstance(document["stage"], dict):
            self.problems.append(Problem(("stage",), "stages are a list; write [[stage]], with two brackets"))
            self.document["stage"] = [document["stage"]]
        if not self.flat:
            self.problems += [
                Problem((key,), f"'{key}' stands at the top, but the recipe has [[stage]] tables; move it into one")
                for key in stage
            ]

    def fill_in(self) -> None:
        """Give each stage that trains what `defaults` says and it does not say itself."""
        defaults = self.document.pop("defaults", {})
        if not is_table(defaults):
            self.problems.append(Problem(("defaults",), f"'defaults' must be a table, not {describe(defaults)}"))
            return
        if defaults and self.flat:
            self.problems.append(
                Problem(("defaults",), "'defaults' is for several [[stage]] tables; this recipe has one")
            )
        for position, stage in enumerate(self.document["stage"]):
            if is_table(stage) and stage.get("kind", "train") == "train":
                self._fill_in(stage, defaults, ("stage", position), ("defaults",))

    def _fill_in(self, table: dict[str, Any], defaults: dict[str, Any], at: KeyPath, source: KeyPath) -> None:
        for key, value in defaults.items():
            if key not in table:
                if _RIVALS.get(key) not in table:
                    table[key] = copy.deepcopy(value)
                    self._inherited[below(at, key)] = below(source, key)
            elif key in _MERGED and is_table(value) and is_table(table[key]):
                self._fill_in(table[key], value, below(at, key), below(source, key))

    def written(self, path: KeyPath) -> KeyPath:
        """Where the user wrote what is now at the path."""
        for end in range(len(path), 0, -1):
            if source := self._inherited.get(path[:end]):
                return source + path[end:]
        return path[2:] if self.flat and path[:1] == ("stage",) else path


def _validate(document: dict[str, Any]) -> tuple[Recipe | None, list[ErrorDetails]]:
    """The recipe, or all that is wrong with its values.

    Rules between keys are only looked at once the keys themselves are in order; so what was complained about is taken
    out, and the rest looked at again for the rules.
    """
    try:
        return Recipe.model_validate(document), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
    found = errors
    while found and (document := _without(document, found)):
        try:
            Recipe.model_validate(document)
            break
        except ValidationError as error:
            found = [each for each in error.errors(include_url=False) if each["type"] == "rule"]
            errors += found
    return None, errors


def _without(document: dict[str, Any], errors: Sequence[ErrorDetails]) -> dict[str, Any]:
    """A copy without the keys that the errors are about; nothing if there are none to take out.

    Nor if a whole table is wrong: the rules would speak of its absence.
    """
    document, changed = copy.deepcopy(document), False
    for error in errors:
        if error["type"] not in ("rule", "missing") and Place.of(error["loc"]).below:
            return {}
        path = error_path(error)
        while path and isinstance(path[-1], int):
            path = path[:-1]
        *outer, last = path
        table: Any = document
        try:
            for key in outer:
                table = table[key]
            del table[last]
            changed = True
        except (KeyError, IndexError, TypeError):  # it is what is missing, or went with another
            continue
    return document if changed else {}


def _read(path: Path) -> str:
    """The text of a recipe file."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        _refuse(path, "no such file")
    except IsADirectoryError:
        _refuse(path, "is a folder, not a recipe")
    except (OSError, ValueError) as error:
        _refuse(path, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    if len(data) > _LARGEST or b"\0" in data:
        _refuse(path, "is not a recipe but a large or binary file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RecipeError([f"{_shown(path)}:{line}: is not UTF-8 text"]) from None


def _refuse(path: Path, why: str) -> NoReturn:
    raise RecipeError([f"{_shown(path)}: {why}"])


def _shown(path: Path) -> str:
    return printable(str(path))
