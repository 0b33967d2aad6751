"""The recipes that come with lmwb."""

import importlib.resources

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
    names = recipe_names()
    if name not in names:
        meant = nearest(name, names)
        advice = f"did you mean '{meant}'?" if meant else "`lmwb recipes` lists them"
        raise NotFoundError(f"no recipe is called {quoted(name)}; {advice}")
    return importlib.resources.files("lmwb.recipes").joinpath(f"{name}.toml").read_text("utf-8")
