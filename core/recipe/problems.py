"""What is wrong with a recipe's values, in sentences for the person who wrote them.

Takes the validation's errors, which speak of models, tags and branches, and says instead which key is meant, what it
wants, and what was probably meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ..text import printable, shorten
from .keys import Advice, Place, advise, nearest, table_name, tables_in
from .lines import KeyPath
from .schema import Expected, Table

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "union_tag_not_found": "a table",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, as a path in a recipe with stages, and what."""

    path: KeyPath
    text: str


def explain(errors: Sequence[ErrorDetails], flat: bool, incomplete: bool = False) -> list[Problem]:
    """A problem for each key that the validation complains about.

    Args:
        errors: what pydantic found in a recipe with stages.
        flat: the user wrote the only stage's keys at the top.
        incomplete: some lines could not be read; what is missing may stand there.
    """
    places: dict[KeyPath, Place] = {}
    groups: dict[KeyPath, list[ErrorDetails]] = {}
    for error in errors:
        path = error_path(error)
        places[path] = Place.of(error["loc"])
        groups.setdefault(path, []).append(error)
    advices = {
        path: advise(places[path], flat) for path, group in groups.items() if group[0]["type"] == "extra_forbidden"
    }
    meant = {advice.meant for advice in advices.values()}
    problems: list[Problem] = []
    for path, group in groups.items():
        kind, table = group[0]["type"], table_name(path[:-1], flat)
        if kind == "extra_forbidden":
            problems.append(Problem(path, _unknown(path, table, advices[path])))
        elif kind == "missing" and not isinstance(path[-1], int):
            if not (incomplete or path in meant or path[:-1] in meant):
                problems.append(Problem(path[:-1], _missing(places[path], table, flat)))
        elif kind == "rule":
            if not incomplete:
                problems.append(Problem(path, group[0].get("ctx", {})["sentence"]))
        else:
            problems.append(Problem(path, _wrong(path, places[path], group)))
    return problems


def error_path(error: ErrorDetails) -> KeyPath:
    """The path of the key that an error is about, in a recipe with stages."""
    path = Place.of(error["loc"]).path
    if error["type"] == "union_tag_invalid":
        return (*path, _tag_key(error["input"], Place.of(error["loc"]).below))
    return (*path, error.get("ctx", {})["key"]) if error["type"] == "rule" else path


def _tag_key(table: dict[str, Any], kinds: Sequence[type[Table]]) -> str:
    """Whether a table's `kind` or its `objective` is one that there is not."""
    known = {kind.model_fields["kind"].default for kind in kinds}
    return "objective" if "objective" in table and table.get("kind", "train") in known else "kind"


def describe(value: Any) -> str:
    """A value as a sentence names it: ``the text 'fast'``, ``a list``, ``0.5``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    if isinstance(value, int | float):
        return shorten(repr(value), 40)
    if isinstance(value, list | tuple):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"


def quoted(text: str) -> str:
    """A key or a text in quotes, printable, and not too long for a sentence."""
    return f"'{shorten(printable(text), 80)}'"


def one_of(words: Sequence[str]) -> str:
    """The words as a choice: ``a, b or c``."""
    return " or ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), words[-1]])


# -- sentences ------------------------------------------------------------------------------------


def _unknown(path: KeyPath, table: str, advice: Advice) -> str:
    where = f" in {table}" if table else ""
    return f"unknown key {quoted(str(path[-1]))}{where}; {advice.text}"


def _missing(place: Place, table: str, flat: bool) -> str:
    if place.field is not None and tables_in(place.field.annotation):
        return f"missing table {table_name(place.path, flat)}"
    return f"missing key '{place.path[-1]}'" + (f" in {table}" if table else "")


def _wrong(path: KeyPath, place: Place, group: Sequence[ErrorDetails]) -> str:
    """A value that does not fit; of the branches of a choice, the one that comes nearest."""
    others = [error for error in group if error["type"] not in _WANTED]
    error = (others or group)[0]
    name, value = _label(path), error["input"]
    kind, context = error["type"], error.get("ctx", {})
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{name} must be {words} {_number(context[key])}, not {describe(value)}"
    if kind == "literal_error" and _words(place.field):
        return (
            f"{name} must be {_words(place.field)}, not {quoted(value) if isinstance(value, str) else describe(value)}"
        )
    if kind == "literal_error":
        return _wrong_choice(name, _literals(place.field), value)
    if kind == "union_tag_invalid":
        key = str(path[-1])
        tags = [str(table.model_fields[key].default) for table in place.below if key in table.model_fields]
        return _wrong_choice(name, list(dict.fromkeys(tags)), value[key])
    if kind == "string_pattern_mismatch":
        return f"{name} must be {_words(place.field) or 'of another form'}, not {quoted(value)}"
    if kind in ("string_too_short", "too_short"):
        return f"{name} must not be empty" if not value else f"{name} is too short"
    if kind == "string_too_long":
        return f"{name} must have at most {context['max_length']} characters, not {len(value)}"
    if kind in ("missing", "too_long"):
        return f"{_label(path[:-1] if isinstance(path[-1], int) else path)} must have 2 entries, not {len(value)}"
    if wanted := list(dict.fromkeys(_WANTED[each["type"]] for each in group if each["type"] in _WANTED)):
        return f"{name} must be {one_of(wanted)}, not {describe(value)}{_hint(place, value)}"
    return f"{name} cannot be {describe(value)}"


def _label(path: KeyPath) -> str:
    """The key; for an entry of a list, its number and the key of the list."""
    if isinstance(path[-1], int):
        return f"stage {path[-1] + 1}" if path[0] == path[-2] == "stage" else f"entry {path[-1] + 1} of '{path[-2]}'"
    return f"'{path[-1]}'"


def _wrong_choice(name: str, choices: Sequence[str], value: Any) -> str:
    given = quoted(value) if isinstance(value, str) else describe(value)
    sentence = f"{name} must be {one_of([quoted(choice) for choice in choices])}, not {given}"
    meant = nearest(value, choices) if isinstance(value, str) else None
    return f"{sentence}; did you mean '{meant}'?" if meant and len(choices) > 1 else sentence


def _hint(place: Place, value: Any) -> str:
    """How to write a model or a tokenizer that was named without a table."""
    if isinstance(value, str) and any("from_" in table.model_fields for table in place.below):
        return f'; write {place.path[-1]} = {{ from = "{shorten(printable(value), 60)}" }}'
    return ""


def _literals(field: FieldInfo | None) -> list[str]:
    return [str(choice) for choice in getattr(field.annotation if field else None, "__args__", ())]


def _words(field: FieldInfo | None) -> str | None:
    """What the key wants, if the schema says it in words."""
    metadata = field.metadata if field else ()
    return next((item.words for item in metadata if isinstance(item, Expected)), None)


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
