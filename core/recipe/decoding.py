"""The table `decoding` when it stands in no recipe: for a command, a question to the model service, the lab."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ..errors import UsageError
from .problems import explain
from .schema import Decoding

_PLACE = ("stage", 0, "generate", "decoding")
"""Where a recipe has such a table: what a sentence about a wrong key refers to."""


def decoding_of(table: Mapping[str, Any]) -> Decoding:
    """The settings that a table says.

    Raises:
        UsageError: what is wrong with them, in the sentences that a recipe gets.
    """
    try:
        return Decoding.model_validate(dict(table))
    except ValidationError as error:
        errors = [{**each, "loc": (*_PLACE, *each["loc"])} for each in error.errors()]
        raise UsageError("; ".join(problem.text for problem in explain(errors, True))) from None  # type: ignore[arg-type]
