"""The files and folders that a recipe names: made absolute, and looked at before anything starts."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..text import printable
from .lines import KeyPath, is_list, is_table
from .problems import Problem
from .schema import MADE_BY

BUILT_IN = ("python-reference", "drawn-digits", "drawn-letters")
"""Sources that need no file."""


def resolve(document: dict[str, Any], base_of: Callable[[KeyPath], Path]) -> list[Problem]:
    """Make the paths of a recipe with stages absolute, in place.

    Args:
        document: a recipe that may be wrong in any way.
        base_of: the folder that the path at a key is relative to.

    Returns:
        A problem for each file or folder that is missing or empty.
    """
    problems: list[Problem] = []
    for path, name, table, earlier, later in _tables(document):
        key = str(path[-1])
        value = table.get(key)
        if not isinstance(value, str) or not value or value.startswith("smoke:"):
            continue
        model = name == "models" or (name, key) in (("model", "from"), ("method", "teacher"))
        named = model or (name, key) == ("method", "from")
        if model and value in earlier:
            continue
        if named and value in later:
            absolute, complaint = value, f"stage '{printable(value)}' comes later; a stage builds on an earlier one"
        elif name == "method" and value in earlier:
            absolute, complaint = value, _learned(value, earlier)
        elif name == "data" and value.startswith(MADE_BY):
            absolute, complaint = value, _made(value.removeprefix(MADE_BY), earlier)
        else:
            absolute, complaint = _READERS.get((name, key), _folder)(value, base_of(path))
        table[key] = absolute
        if complaint:
            problems.append(Problem(path, f"{name}.{key}: {complaint}"))
    return problems


def _made(name: str, earlier: dict[str, str]) -> str | None:
    """What is wrong with a source that shall be the table of an earlier stage."""
    if earlier.get(name) == "augment":
        return None
    makers = [each for each, kind in earlier.items() if kind == "augment"]
    there = f"there is {', '.join(map(printable, makers))}" if makers else "there is none"
    return f"no earlier stage of kind 'augment' is called '{printable(name)}'; {there}"


def _learned(stage: str, earlier: dict[str, str]) -> str | None:
    """What is wrong with an earlier stage that shall have learned to choose."""
    if earlier[stage] == "information-gain":
        return None
    return f"stage '{printable(stage)}' is of kind '{earlier[stage]}'; name one of kind 'information-gain'"


def _learners(source: str, base: Path) -> tuple[str, str | None]:
    """The folder of a stage that has learned to choose, absolute, and what is wrong with it."""
    path = _absolute(source, base)
    if path.is_dir():
        return str(path), None
    return str(path), f"no earlier stage is called '{printable(source)}', and there is no such folder"


def _tables(document: dict[str, Any]) -> Iterator[tuple[KeyPath, str, dict[str, Any], dict[str, str], list[Any]]]:
    """The path of every key that may name a file or folder, with the table that it stands in and its name, the kinds
    of the stages before it by name, and the names from its own stage on."""
    stages = document.get("stage")
    stages = [stage if is_table(stage) else {} for stage in stages] if is_list(stages) else []
    kinds = [str(stage.get("kind", "train")) for stage in stages]
    names = [stage.get("name") for stage in stages]
    for position, stage in enumerate(stages):
        earlier = {names[i] or kinds[i]: kinds[i] for i in range(position) if isinstance(names[i], str | None)}
        at: KeyPath = ("stage", position)
        yield from ((*found, earlier, names[position:]) for found in _tables_of(stage, at))
        if is_table(training := stage.get("training")):
            yield from ((*found, earlier, names[position:]) for found in _tables_of(training, (*at, "training")))
        if is_table(models := stage.get("models")):
            for key in models:
                yield ("stage", position, "models", key), "models", models, earlier, names[position:]


def _tables_of(stage: dict[str, Any], at: KeyPath) -> Iterator[tuple[KeyPath, str, dict[str, Any]]]:
    for name, key in _READERS:
        table = stage.get(name)
        if is_table(table):
            yield (*at, name, key), name, table
        for place, entry in enumerate(table if is_list(table) else []):
            if is_table(entry):
                yield (*at, name, place, key), name, entry


def _data(source: str, base: Path) -> tuple[str, str | None]:
    """A source of data, absolute if it is a path, and what is wrong with it."""
    if source in BUILT_IN or source.startswith("hub:"):
        return source, None
    path = _absolute(source, base)
    try:
        if path.is_dir():
            empty = not any(path.iterdir())
        else:
            with path.open("rb") as file:
                empty = not file.read(1)
    except FileNotFoundError:
        return str(path), f"no such file {_quoted(path)}"
    except (OSError, ValueError) as error:
        return str(path), f"cannot read {_quoted(path)}: {getattr(error, 'strerror', None) or error}"
    return str(path), f"{_quoted(path)} is empty" if empty else None


def _folder(source: str, base: Path) -> tuple[str, str | None]:
    """A model's or a tokenizer's folder, absolute, and what is wrong with it; a name on the hub as it is."""
    path = _absolute(source, base)
    try:
        if path.is_dir():
            return str(path), None
        if source.startswith("run:") or not source.startswith((".", "/", "~")):
            return source, None
        complaint = f"{_quoted(path)} is not a folder" if path.exists() else f"no such folder {_quoted(path)}"
    except (OSError, ValueError) as error:
        complaint = f"cannot read {_quoted(path)}: {getattr(error, 'strerror', None) or error}"
    return str(path), complaint


def _vectors(source: str, base: Path) -> tuple[str, str | None]:
    """A file of word vectors, absolute, and what is wrong with it; one to be fetched as it is."""
    if source.startswith("glove:"):
        return source, None
    path = _absolute(source, base)
    try:
        if path.is_file():
            return str(path), None
    except (OSError, ValueError) as error:
        return str(path), f"cannot read {_quoted(path)}: {getattr(error, 'strerror', None) or error}"
    return str(path), f"no such file {_quoted(path)}; 'glove:6B.100d' would be fetched"


def _quoted(path: Path) -> str:
    """A path is never cut: its end tells most."""
    return f"'{printable(str(path))}'"


def _absolute(source: str, base: Path) -> Path:
    try:
        expanded = Path(source).expanduser()
    except RuntimeError:  # the home of a user who does not exist
        expanded = Path(source)
    return Path(os.path.abspath(base / expanded))  # noqa: PTH100 - resolve() would follow links


_READERS: dict[tuple[str, str], Callable[[str, Path], tuple[str, str | None]]] = {
    ("data", "train"): _data,
    ("data", "validation"): _data,
    ("data", "test"): _data,
    ("data", "predict"): _data,
    ("data", "source"): _data,
    ("model", "from"): _folder,
    ("method", "teacher"): _folder,
    ("method", "from"): _learners,
    ("data", "objective"): _data,
    ("model", "embeddings"): _vectors,
    ("tokenizer", "from"): _folder,
    ("tokenizer", "special_tokens_from"): _folder,
    ("tokenizer", "vocabulary"): _vectors,
    ("augmenter", "there"): _folder,
    ("augmenter", "back"): _folder,
    ("augmenter", "synonyms"): _data,
}
"""What reads the value of a key that may name a file or folder, by table and key."""
