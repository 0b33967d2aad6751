"""The members of a recipe with seeds or a sweep: one for each seed and each combination of swept values.

A member is a recipe like any other. Comparisons are not its business: they look at all members.
"""

import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ..errors import MachineError
from ..text import printable, shorten
from .frozen import freeze, thaw
from .lines import KeyPath, is_list, is_table
from .overrides import from_the_top, joined, sweep_entries
from .problems import Problem, describe, quoted
from .schema import CompareStage, Recipe

MOST_MEMBERS = 1000
FILE_NAME = "members.json"


@dataclass(frozen=True)
class Axis:
    """A key that is swept.

    Attributes:
        key: as it was written, dotted.
        written: where its values stand in the recipe with stages.
        places: the places that a value goes to, each as keys from the top; several for a key of `defaults`.
        values: what is tried.
    """

    key: str
    written: KeyPath
    places: Sequence[list[str]]
    values: Sequence[Any]


@dataclass(frozen=True)
class Member:
    """One of the runs that a recipe stands for.

    Attributes:
        label: which one, in words: ``seed 1``, ``lr 0.0003 · seed 1``; foreign text.
        recipe: what it does; without seeds, sweep and comparisons.
        origins: as those of a loaded recipe.
    """

    label: str
    recipe: Recipe
    origins: Mapping[str, str]


def write(folder: Path, members: Sequence[Member]) -> None:
    """Keep the members in the folder of the run that has them."""
    kept = [{"label": each.label, "recipe": freeze(each.recipe), "origins": dict(each.origins)} for each in members]
    (folder / FILE_NAME).write_text(json.dumps(kept, indent=1), encoding="utf-8")


def read(folder: Path) -> list[Member]:
    """The members kept in a run's folder.

    Raises:
        MachineError: they are gone.
    """
    try:
        kept = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        return [Member(each["label"], thaw(each["recipe"]), each["origins"]) for each in kept]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MachineError(f"cannot read the run's members in {folder / FILE_NAME}: {error}; start a new run") from None


def plant(document: dict[str, Any]) -> None:
    """Give `defaults` the first value of each of its keys that is swept, so that stages take it."""
    for _, keys, values in _entries(document):
        if keys[0] == "defaults" and len(keys) > 1 and is_list(values) and values:
            table: Any = document
            for key in keys[:-1]:
                table = table.setdefault(key, {}) if is_table(table) else None
            if is_table(table):
                table[keys[-1]] = values[0]


def axes_of(
    document: dict[str, Any], takers: Callable[[KeyPath], Sequence[KeyPath]]
) -> tuple[list[Axis], list[Problem]]:
    """What a recipe with stages sweeps, and what is wrong with that.

    Args:
        document: the recipe; it may be wrong in any way.
        takers: where a value of `defaults` has gone to.
    """
    axes: list[Axis] = []
    problems: list[Problem] = []
    try:
        entries = _entries(document)
    except ValueError as error:
        return [], [Problem(("sweep",), f"in [sweep], {error}")]
    for path, keys, values in entries:
        written = ("sweep", *path)
        try:
            axis = Axis(joined(keys), written, _places(keys, document, takers), _checked(values, joined(keys)))
            if any(place in other.places for other in axes for place in axis.places):
                raise ValueError(f"'{axis.key}' is swept twice")
            axes.append(axis)
        except ValueError as error:
            problems.append(Problem(written, str(error)))
    seeds = document.get("seeds")
    number = math.prod(len(axis.values) for axis in axes) * (len(seeds) if is_list(seeds) else 1)
    if number > MOST_MEMBERS:
        where: KeyPath = axes[0].written if axes else ("seeds",)
        problems.append(
            Problem(where, f"seeds and sweep make {number:,} members; at most {MOST_MEMBERS:,} are allowed")
        )
        return [], problems
    if "jobs" in document and not axes and not problems and not seeds:
        problems.append(Problem(("jobs",), "'jobs' is for a recipe with 'seeds' or a [sweep]; leave it out"))
    return axes, problems


def choices(axes: Sequence[Axis]) -> list[tuple[int, ...]]:
    """Every combination, as the position of each axis's value; the last axis changes fastest."""
    return list(itertools.product(*(range(len(axis.values)) for axis in axes)))


def make_members(
    recipe: Recipe, axes: Sequence[Axis], variants: Sequence[tuple[Recipe, Mapping[str, str]]]
) -> list[Member]:
    """The members of a recipe, by combination, then by seed; none for a recipe without seeds and sweep.

    Args:
        recipe: the whole.
        axes: what it sweeps.
        variants: the recipe and its origins for each of the `choices`.
    """
    if not recipe.has_members:
        return []
    members: list[Member] = []
    for label, (variant, origins) in zip(_labels(axes), variants, strict=True):
        for seed in recipe.seeds or [recipe.seed]:
            parts = [label] if label else []
            parts += [f"seed {seed}"] if recipe.seeds else []
            members.append(Member(" · ".join(parts), _single(variant, seed), _renumbered(variant, origins)))
    return members


def setting(label: str, seed: int) -> str:
    """A member's label without its seed: what it has in common with the members that it is averaged with."""
    return label.removesuffix(f"seed {seed}").removesuffix(" · ")


# -- inside ---------------------------------------------------------------------------------------


def _entries(document: dict[str, Any]) -> list[tuple[KeyPath, list[str], Any]]:
    sweep = document.get("sweep")
    return list(sweep_entries(sweep)) if is_table(sweep) else []


def _places(
    keys: list[str], document: dict[str, Any], takers: Callable[[KeyPath], Sequence[KeyPath]]
) -> list[list[str]]:
    if keys[0] in ("seed", "seeds"):
        raise ValueError("seeds are not swept; write seeds = [0, 1] at the top of the recipe")
    if keys[0] == "defaults":
        places = [[str(part) for part in path] for path in takers(tuple(keys))]
        if not places:
            raise ValueError(f"no stage takes {quoted(joined(keys))}")
        return places
    place = from_the_top(keys, document)
    if place[0] != "stage" or len(place) < 3:
        raise ValueError(f"{quoted(joined(keys))} cannot be swept; keys of stages can, such as train.lr")
    if document["stage"][int(place[1])].get("kind") == CompareStage.model_fields["kind"].default:
        raise ValueError(f"{quoted(joined(keys))} cannot be swept: a comparison looks at all members")
    return [place]


def _checked(values: Any, key: str) -> list[Any]:
    if not is_list(values):
        raise ValueError(f"'{key}' must be a list of values to try, not {describe(values)}")
    if not values:
        raise ValueError(f"'{key}' must have at least one value to try")
    for position, value in enumerate(values):
        if value in values[:position]:
            raise ValueError(f"'{key}' has the value {describe(value)} twice")
    return values


def _single(variant: Recipe, seed: int) -> Recipe:
    stages = [stage for stage in variant.stage if not isinstance(stage, CompareStage)]
    return variant.model_copy(update={"seed": seed, "seeds": None, "sweep": {}, "jobs": None, "stage": stages})


def _renumbered(variant: Recipe, origins: Mapping[str, str]) -> dict[str, str]:
    """The origins of a variant without its comparisons, whose places the stages after them take."""
    trained = [at for at, stage in enumerate(variant.stage) if not isinstance(stage, CompareStage)]
    numbers = {str(before): str(after) for after, before in enumerate(trained)}
    found: dict[str, str] = {}
    for path, origin in origins.items():
        first, *rest = path.split(".")
        if first == "stage" and rest:
            if rest[0] in numbers:
                found[".".join([first, numbers[rest[0]], *rest[1:]])] = origin
        elif first not in ("seeds", "sweep", "jobs"):
            found[path] = origin
    if "seeds" in origins:
        found["seed"] = origins["seeds"]
    return found


def _labels(axes: Sequence[Axis]) -> list[str]:
    """Each combination in words: the shortest names that tell the keys apart, with their values."""
    names = _short_names([axis.key.split(".") for axis in axes])
    values = [_short_values(axis.values) for axis in axes]
    return [
        " · ".join(f"{name} {words[at]}" for name, words, at in zip(names, values, choice, strict=True))
        for choice in choices(axes)
    ]


def _short_names(keys: Sequence[list[str]]) -> list[str]:
    length = 1
    while len({tuple(key[-length:]) for key in keys}) < len(keys):
        length += 1
    return [".".join(key[-length:]) for key in keys]


def _short_values(values: Sequence[Any]) -> list[str]:
    """The values in few words, no two alike."""
    words = [_word(value) for value in values]
    if len(set(words)) == len(words):
        return words
    longer = [_word(value, whole=True) for value in values]
    return [f"{word} ({number})" if longer.count(word) > 1 else word for number, word in enumerate(longer, 1)]


def _word(value: Any, whole: bool = False) -> str:
    if isinstance(value, str):
        return shorten(printable(value if whole else PurePath(value).name or value), 40)
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, bool | int):
        return json.dumps(value)
    kinds = [each.get("kind") for each in _tables(value)]
    if not whole and kinds and all(isinstance(kind, str) for kind in kinds):
        return "+".join(map(str, kinds))
    return shorten(printable(json.dumps(value, default=str)), 40)


def _tables(value: Any) -> Iterable[dict[str, Any]]:
    return [each for each in (value if is_list(value) else [value]) if is_table(each)]
