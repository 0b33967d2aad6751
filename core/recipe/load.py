"""From a recipe file to a `Recipe`, or to everything that is wrong with it at once."""

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import RecipeError
from ..text import printable
from .frozen import freeze
from .keys import STAGE_KEYS, Place
from .lines import KeyPath, Lines, below, is_list, is_table
from .members import Axis, Member, axes_of, choices, make_members, plant
from .origins import dotted, paths_in
from .overrides import Origin, Overrides
from .problems import Problem, describe, error_path, explain
from .schema import Recipe
from .smoke import shrink
from .sources import resolve
from .syntax import SyntaxProblem, parse

_MERGED = ("data", "train", "sample", "masking")
"""Tables that a stage shares with `defaults` key by key; others it has from one place or the other."""
_RIVALS = {"steps": "epochs", "epochs": "steps"}
_MOST_PROBLEMS = 50
"""More are not looked for."""
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
        members: the runs that it stands for, if it has seeds or a sweep; `recipe` has the first one's values.
    """

    recipe: Recipe
    path: Path
    frozen: str
    origins: Mapping[str, str]
    notes: Sequence[str] = ()
    members: Sequence[Member] = ()


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
    plant(draft.document)
    draft.fill_in()
    notes = shrink(draft.document, smoke, absolute.parent) if smoke else []
    told = _Told(path, text, draft, changes, syntax)
    axes, problems = axes_of(draft.document, draft.takers)
    for problem in [*draft.problems, *problems]:
        told.add(problem, changes)
    variants: list[_Variant] = []
    chosen = choices(axes)
    for choice in chosen:
        if len(told.problems) < _MOST_PROBLEMS:
            variants.append(_Variant(draft, changes, told, list(zip(axes, choice, strict=True)), absolute.parent))
    recipes = [variant.recipe for variant in variants if variant.recipe is not None]
    if told.problems or len(recipes) < len(chosen):
        raise RecipeError(told.problems)
    swept = {
        axis.key: _resolved(axis, [variants[each] for each in _first_uses(chosen, at)]) for at, axis in enumerate(axes)
    }
    recipe = recipes[0].model_copy(update={"sweep": swept})
    members = make_members(recipe, axes, [(each, of.origins()) for each, of in zip(recipes, variants, strict=True)])
    return LoadedRecipe(recipe, absolute, freeze(recipe), variants[0].origins(), notes, members)


def _first_uses(chosen: Sequence[tuple[int, ...]], at: int) -> list[int]:
    """For each value of an axis, the first combination that has it."""
    values = [choice[at] for choice in chosen]
    return [values.index(value) for value in range(max(values) + 1)]


def _resolved(axis: Axis, variants: "Sequence[_Variant]") -> list[Any]:
    """The values of an axis, with absolute paths."""
    return [variant.value(axis.places[0]) for variant in variants]


class _Told:
    """The problems of a recipe: those of its lines in their order, then those of the command line."""

    def __init__(self, path: Path, text: str, draft: "_Draft", changes: Overrides, syntax: Sequence[SyntaxProblem]):
        self._path = path
        self._text = text
        self._draft = draft
        self._lines: Lines | None = None
        self._arguments = list(changes.problems)
        self._told = {(problem.line, f"{_shown(path)}:{problem.line}: {problem.text}") for problem in syntax}
        self.incomplete = bool(syntax)

    @property
    def problems(self) -> list[str]:
        return [sentence for _, sentence in sorted(self._told)] + self._arguments

    def origin(self, at: KeyPath, changes: Overrides) -> Origin:
        """Where the value at a path was written."""
        if origin := changes.origin(at):
            return origin
        self._lines = self._lines or Lines(self._text)
        line = self._lines.line(self._draft.written(at))
        return Origin(f"{_shown(self._path)}:{line}", line)

    def add(self, problem: Problem, changes: Overrides) -> None:
        """One more; what was told already is not told again."""
        origin = self.origin(problem.path, changes)
        sentence = f"{origin.label}: {problem.text}"
        if origin.line is not None:
            self._told.add((origin.line, sentence))
        elif sentence not in self._arguments:
            self._arguments.append(sentence)


class _Variant:
    """A recipe with one value for each key that is swept; the only one, if nothing is.

    Attributes:
        recipe: what it says; None if that is wrong.
    """

    def __init__(
        self,
        draft: "_Draft",
        changes: Overrides,
        told: _Told,
        values: Sequence[tuple[Axis, int]],
        folder: Path,
    ):
        """Tells `told` what is wrong; paths in the recipe are relative to `folder`."""
        self._told = told
        self._document = copy.deepcopy(draft.document)
        if is_table(self._document.get("sweep", {})):
            self._document.pop("sweep", None)
        self._changes = Overrides(dict(changes.origins))
        problems: list[Problem] = []
        for axis, at in values:
            origin = told.origin(axis.written, changes)
            for place in axis.places:
                try:
                    self._changes.put(self._document, place, copy.deepcopy(axis.values[at]), origin)
                except ValueError as error:
                    problems.append(Problem(axis.written, str(error)))
        here = Path.cwd()

        def base_of(at: KeyPath) -> Path:
            origin = self._changes.origin(at)
            return here if origin and origin.line is None else folder

        problems += resolve(self._document, base_of)
        self.recipe, errors = _validate(self._document)
        for problem in [*problems, *explain(errors, draft.flat, told.incomplete)]:
            told.add(problem, self._changes)

    def value(self, place: Sequence[str]) -> Any:
        """What stands at a place."""
        found: Any = self._document
        for key in place:
            found = found[int(key) if is_list(found) else key]
        return found

    def origins(self) -> dict[str, str]:
        """For each value, where it was written."""
        return {dotted(at): self._told.origin(at, self._changes).label for at in paths_in(self._document)}


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

    def takers(self, source: KeyPath) -> list[KeyPath]:
        """Where a value of `defaults` has gone to."""
        found = [(at, of) for at, of in self._inherited.items() if of == source[: len(of)]]
        return [at + source[len(of) :] for at, of in found]

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
