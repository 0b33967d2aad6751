"""Our own models: made as a recipe says, and known to transformers, so that they are saved and loaded like others."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ValueInRecipeError
from ..recipe.schema import BagModel, ConvNetModel, EncoderModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def register() -> None:
    """Make transformers' Auto classes know our models."""


def new_model(
    model: EncoderModel | BagModel | ConvNetModel,
    tokenizer: "PreTrainedTokenizerBase | None",
    fields: Mapping[str, Any],
    tell: Callable[[str], None],
    cache: Path | None = None,
) -> "PreTrainedModel":
    """A new model of our own.

    Raises:
        ValueInRecipeError: the fields do not make one.
    """
    del tokenizer, fields, tell, cache
    raise ValueInRecipeError("model.kind", f"'{model.kind}' cannot be made yet")
