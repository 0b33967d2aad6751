"""Where each value of a recipe was written, kept beside the frozen recipe.

A value can be right by the schema and still not fit the data or the model. That comes out when a run
starts; the sentence then points at the user's own line or argument, not at the frozen copy.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import RecipeError, ValueInRecipeError
from .lines import KeyPath, is_list, is_table

FILE_NAME = "origins.json"


def paths_in(table: Mapping[str, object], above: KeyPath = ()) -> Iterator[KeyPath]:
    """The path of every table and value, from the top down."""
    for key, value in table.items():
        path = (*above, key)
        yield path
        if is_table(value):
            yield from paths_in(value, path)
        elif is_list(value):
            for position, item in enumerate(value):
                if is_table(item):
                    yield (*path, position)
                    yield from paths_in(item, (*path, position))


def dotted(path: KeyPath) -> str:
    """A path as one word."""
    return ".".join(map(str, path))


def write(folder: Path, origins: Mapping[str, str]) -> None:
    """Keep the origins in a run's folder."""
    (folder / FILE_NAME).write_text(json.dumps(origins, indent=1), encoding="utf-8")


def read(folder: Path) -> Mapping[str, str]:
    """The origins kept in a run's folder; none if they are gone."""
    try:
        return json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def blame(origins: Mapping[str, str], stage: int, error: ValueInRecipeError) -> RecipeError:
    """The error as a problem of the recipe whose values came from `origins`.

    A key that was left to its default is blamed on the table that it would stand in.
    """
    parts = ["stage", str(stage), *error.key.split(".")]
    while parts and ".".join(parts) not in origins:
        parts.pop()
    origin = origins.get(".".join(parts), error.key)
    return RecipeError([f"{origin}: {error}"])
