"""Recipes as they are kept: complete, with all defaults and absolute paths."""

import tomllib

from pydantic import ValidationError

from ..errors import RecipeError
from ..text import printable
from .problems import explain
from .schema import Recipe


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
