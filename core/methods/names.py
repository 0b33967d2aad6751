"""Names of modules, and the patterns by which a recipe means them."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping

from torch import nn

from ..errors import ValueInRecipeError

Modules = Mapping[str, nn.Module]


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that end as the pattern says, `*` for anything and `?` for one character.

    A pattern begins at the beginning of a name or after a dot: `query` is not `my_query`.
    """
    wanted = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    expression = re.compile(rf"(?:.*\.)?{wanted}")
    return [name for name in names if expression.fullmatch(name)]


def find(key: str, pattern: str, modules: Modules) -> list[str]:
    """The modules that a pattern means.

    Raises:
        ValueInRecipeError: there are none.
    """
    found = matching(pattern, modules)
    if not found:
        raise ValueInRecipeError(key, f"no part of the model is named '{pattern}'{_hint(pattern, modules)}")
    return found


def find_layers(
    key: str, pattern: str, modules: Modules, why_not: Callable[[nn.Module], str | None], wanted: str
) -> list[str]:
    """Those of the modules that a pattern means to which something can be done.

    Args:
        key: the recipe's key, for the error.
        pattern: the pattern.
        modules: all modules of the model, by name.
        why_not: why it cannot be done to a module; None if it can.
        wanted: what such layers are called, in the singular.

    Raises:
        ValueInRecipeError: there are none.
    """
    named = matching(pattern, modules)
    found = [name for name in named if why_not(modules[name]) is None]
    if found:
        return found
    suitable = [name for name, module in modules.items() if why_not(module) is None]
    if not named:
        raise ValueInRecipeError(key, f"no {wanted} is named '{pattern}'{_hint(pattern, suitable)}")
    inside = any(name.startswith(f"{named[0]}.") for name in suitable)
    hint = f"; write '{pattern}.*' for the layers in it" if inside else ""
    raise ValueInRecipeError(key, f"'{named[0]}' {why_not(modules[named[0]])}, not a {wanted}{hint}")


def _hint(pattern: str, names: Iterable[str]) -> str:
    """What a pattern that fits nothing was probably meant to be."""
    ends = list(dict.fromkeys(name.rpartition(".")[2] for name in names))
    ends = [end for end in ends if end and not end.isdigit()]
    close = difflib.get_close_matches(pattern.rpartition(".")[2], ends, n=2, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(f"'{name}'" for name in close) + "?"
    some = ", ".join(f"'{end}'" for end in ends[:8]) + (" …" if len(ends) > 8 else "")
    return f"; there are {some}" if ends else ""
