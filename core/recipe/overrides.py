"""Changes to a recipe from the command line: `train.lr=3e-4`, `stage.lora.data.train=../x.txt`, `tokenizer=`.

The key path leads into tables by key and into lists by number; stages are also found by name, and a path that begins
neither with `stage` nor with a key of the whole recipe means the only stage. The value is TOML; a word that is none
becomes a text; no value at all takes the key out. Several values, with commas between them and no quotes around all,
make a sweep: `train.lr=1e-4,3e-4`.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..text import printable
from .lines import KeyPath, below, is_list, is_table
from .problems import describe, one_of, quoted
from .schema import STAGES, CausalStage, Recipe, stage_tag, tag_of

_INSTEAD = {"steps": "epochs", "epochs": "steps"}
"""Setting the one takes the place of the other."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Origin:
    """Where a value was written: in words, and at which line of the recipe; no line for the command line."""

    label: str
    line: int | None = None


@dataclass(frozen=True)
class _Several:
    """The values of one argument that gives more than one; `text` is how it was typed."""

    values: list[Any]
    text: str


@dataclass
class Overrides:
    """What the command line said.

    Attributes:
        origins: where the value at a path comes from.
        problems: what is wrong with the arguments themselves, each sentence beginning with the argument.
    """

    origins: dict[KeyPath, Origin] = field(default_factory=dict[KeyPath, Origin])
    problems: list[str] = field(default_factory=list[str])

    def origin(self, path: KeyPath) -> Origin | None:
        """Where the value at the path comes from, if not from the recipe's own keys."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path[:-1]
        return None

    def apply(self, document: dict[str, Any], argument: str) -> None:
        """Change the document, a recipe with stages, in place."""
        try:
            keys, value = _split(argument)
            place, origin = from_the_top(keys, document), Origin(label(argument))
            if isinstance(value, _Several) and place[0] in ("seed", "seeds"):
                place, value = ["seeds"], value.values
            elif isinstance(value, _Several) and place[0] not in ("stage", "defaults"):
                value = value.text  # what is there once cannot be swept: the comma belongs to the text
            _end_sweep(document, place)
            if isinstance(value, _Several):
                self.put(document, ["sweep", joined(keys)], value.values, origin)
            else:
                self.put(document, place, value, origin)
        except ValueError as error:
            self.problems.append(f"{label(argument)}: {error}")

    def put(self, document: dict[str, Any], keys: list[str], value: Any, origin: Origin) -> None:
        """Set the value at a path of keys that begins at the top; None takes the key out.

        Raises:
            ValueError: there is no such place; the text says why.
        """
        path: KeyPath = ()
        container: Any = document
        for key in keys[:-1]:
            step = _step(container, key, path)
            path = below(path, step)
            if _lacks(container, step):
                container[step] = {}
                self.origins[path] = origin
            container = container[step]
        last = _step(container, keys[-1], path)
        path = below(path, last)
        if value is None and (isinstance(container, list) or last not in container):
            raise ValueError(f"there is no {quoted(keys[-1])} to take out")
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]
        if value is None:
            del container[last]
            return
        container[last] = value
        self.origins[path] = origin
        rival = _INSTEAD.get(str(last))
        if rival in container and path[-2] == "train" and (*path[:-1], rival) not in self.origins:
            del container[rival]


def label(argument: str) -> str:
    """How a problem names the argument that it comes from."""
    return f"--set {printable(argument)}"


def _split(argument: str) -> tuple[list[str], Any]:
    """The keys and the value that an argument names; None for no value.

    Raises:
        ValueError: it is not written like that; the text says how to.
    """
    key, sign, value = argument.partition("=")
    if not sign:
        raise ValueError("is not of the form key=value, such as train.lr=3e-4")
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8") from None
    return keys_in(key.strip()), _value(value.strip())


def sweep_entries(sweep: dict[str, Any], above: KeyPath = ()) -> Iterator[tuple[KeyPath, list[str], Any]]:
    """Each key of a sweep, however nested: the path to it below `sweep`, the keys that it names, and its values.

    Raises:
        ValueError: what stands there is no key.
    """
    for key, value in sweep.items():
        path = below(above, key)
        if is_table(value):
            yield from sweep_entries(value, path)
        else:
            yield path, [*keys_in(str(path[0])), *map(str, path[1:])], value


def _end_sweep(document: dict[str, Any], place: list[str]) -> None:
    """What is set again is swept no more."""
    sweep = document.get("sweep")
    if not is_table(sweep):
        return
    for path, keys, _ in list(sweep_entries(sweep)):
        if keys == place or from_the_top(keys, document) == place:
            table: Any = sweep
            for key in path[:-1]:
                table = table[key]
            del table[path[-1]]


def joined(keys: list[str]) -> str:
    """The keys as one dotted key; `keys_in` takes it apart."""
    return ".".join(key if _BARE.fullmatch(key) else json.dumps(key) for key in keys)


def keys_in(text: str) -> list[str]:
    """The keys of a dotted key.

    Raises:
        ValueError: it is none.
    """
    if not text:
        raise ValueError("the key before the '=' is missing")
    try:
        inner: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        raise ValueError(f"{quoted(text)} is no key; keys are joined by dots, such as train.lr") from None
    keys: list[str] = []
    while is_table(inner):
        if len(inner) != 1:
            raise ValueError(f"{quoted(text)} is no key; keys are joined by dots, such as train.lr")
        key, inner = next(iter(inner.items()))
        keys.append(key)
    return keys


def _value(text: str) -> Any:
    if not text:
        return None
    found = toml_value(text)
    if found is not None:
        return found
    if "," in text:
        several = toml_value(f"[{text}]")
        if is_list(several):
            return _Several(several, text)
        parts = text.split(",")
        if all(parts) and not any(sign in text for sign in "[]{}\"' \t"):
            return _Several([toml_value(part) if toml_value(part) is not None else part for part in parts], text)
    if text[0] in "[{\"'":
        raise ValueError(f"{quoted(text)} is no TOML value; something is not closed or has no quotes")
    return text


def toml_value(text: str) -> Any:
    """The one value that a text is in TOML; None if it is none."""
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    return found["value"] if list(found) == ["value"] else None


def from_the_top(keys: list[str], document: dict[str, Any]) -> list[str]:
    """The same keys, with the stage that is meant.

    Raises:
        ValueError: no stage is; the text says which there are.
    """
    stages = document.get("stage")
    if not is_list(stages) or (keys[0] in Recipe.model_fields and keys[0] != "stage"):
        return keys
    names = [_stage_name(stage) for stage in stages]
    if keys[0] != "stage":
        if len(stages) == 1:
            return ["stage", "0", *keys]
        ways = [f"stage.{name}.{'.'.join(keys)}" for name in names[:4]]
        raise ValueError(f"the recipe has {len(stages)} stages; say {one_of(ways)}")
    if len(keys) == 1:
        return keys
    if keys[1] in names:
        return ["stage", str(names.index(keys[1])), *keys[2:]]
    if keys[1].isdecimal() and int(keys[1]) < len(stages):
        return keys
    raise ValueError(f"there is no stage {quoted(keys[1])}; the recipe has {', '.join(map(quoted, names))}")


def _stage_name(stage: Any) -> str:
    tag = stage_tag(stage) if is_table(stage) else None
    kind = next((each for each in STAGES if tag_of(each) == tag), CausalStage)
    default = str(kind.model_fields["name"].default)
    return str(stage.get("name", default)) if is_table(stage) else default


def _lacks(container: Any, key: str | int) -> bool:
    return is_table(container) and key not in container


def _step(container: Any, key: str, path: KeyPath) -> str | int:
    """The key or the position that a key of an argument means in a table or a list."""
    if is_table(container):
        return key
    name = path[-1] if isinstance(path[-1], str) else path[-2]
    if not is_list(container):
        raise ValueError(f"'{name}' is {describe(container)}, not a table")
    if not key.isdecimal() or int(key) >= len(container):
        raise ValueError(f"there is no entry {quoted(key)} in '{name}', which has {len(container)}, counted from 0")
    return int(key)
