"""Recipes: what they may say (`schema`), and from a file to a checked, complete recipe (`load`).

Problems are told all at once, each with its line and the nearest key that exists. Needs pydantic and the standard
library, nothing heavier.
"""

import json

from .frozen import freeze, thaw
from .load import LoadedRecipe, load
from .schema import Recipe
from .shipped import find_recipe, recipe_names, recipe_text

__all__ = [
    "LoadedRecipe",
    "Recipe",
    "find_recipe",
    "freeze",
    "load",
    "recipe_names",
    "recipe_text",
    "schema_json",
    "thaw",
]


def schema_json() -> str:
    """The JSON Schema of recipes, for editors that complete and explain keys."""
    return json.dumps(Recipe.model_json_schema(by_alias=True), indent=2)
