"""The recipes that come with lmwb."""

import importlib.resources
from pathlib import Path

from ..errors import NotFoundError
from .keys import nearest
from .problems import quoted


def recipe_names() -> list[str]:
    """Their names, in alphabetical order."""
    files = importlib.resources.files("lmwb.recipes").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def recipe_text(name: str) -> str:
    """One as TOML, comments included.

    Raises:
        NotFoundError: there is none of this name.
    """
    return _shipped(name).read_text("utf-8")


def find_recipe(reference: str) -> Path:
    """The file that a person means: a file of their own, or else a recipe that comes with lmwb.

    Raises:
        NotFoundError: it is neither, and looks like a name.
    """
    path = Path(reference)
    if path.exists() or path.suffix == ".toml" or len(path.parts) > 1:
        return path
    return _shipped(reference)


def _shipped(name: str) -> Path:
    names = recipe_names()
    if name not in names:
        meant = nearest(name, names)
        advice = f"did you mean '{meant}'?" if meant else "`lmwb recipes` lists those that come with lmwb"
        raise NotFoundError(f"there is no recipe {quoted(name)}; {advice}")
    return Path(str(importlib.resources.files("lmwb.recipes").joinpath(f"{name}.toml")))
