"""What all tables of a recipe have in common."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ..lines import is_table

Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1, le=10**15)]
NotEmpty = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Expected:
    """What a key with a pattern wants, in words, for the sentence about a value that does not fit."""

    words: str


MADE_BY = "stage:"
"""Before the name of an earlier stage, in the place of a source: the table that the stage has written."""

StageName = Annotated[
    str,
    Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"),
    Expected("letters, digits, '_', '.' and '-', a letter or digit first"),
]


def rule_broken(key: str, sentence: str) -> PydanticCustomError:
    """The error for keys that are well by themselves and do not go together; `key` says at which line."""
    return PydanticCustomError("rule", "{sentence}", {"key": key, "sentence": sentence})


class Table(BaseModel):
    """A table of a recipe: no unknown keys, no guessing of types, nothing changes after loading."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def tag_of(table: type[Table]) -> str:
    """What tells a kind of table from its siblings: its `objective`, or else its `kind`."""
    fields = table.model_fields
    return str(fields["objective" if "objective" in fields else "kind"].default)


def kind_of(value: Any, guess: str) -> str | None:
    """The `kind` that a table gives; `guess` if it gives none; None if it is no table."""
    if is_table(value):
        return str(value.get("kind", guess))
    return getattr(value, "kind", None)
