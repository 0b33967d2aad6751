"""What an augmenter is, and how those of other packages are found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Protocol

from ...errors import ValueInRecipeError
from ...recipe.keys import nearest
from ...text import printable

GROUP = "lmwb.augmenters"
"""Packages offer augmenters at this entry point: a name each, for a `Maker`."""


@dataclass(frozen=True)
class Around:
    """What an augmenter works in.

    Attributes:
        seed: of the run.
        tell: takes a sentence about what was done or left out.
        progress: takes texts done, texts in all, and what is done with them.
        stop: raises if the user wants the run to stop; to be called now and then.
    """

    seed: int
    tell: Callable[[str], None] = lambda _: None
    progress: Callable[[int, int, str], None] = field(default=lambda _done, _total, _what: None)
    stop: Callable[[], None] = lambda: None


class Augmenter(Protocol):
    """Makes new texts out of texts."""

    @property
    def name(self) -> str:
        """Names the rows that it makes: `fi` in `train-1-aug-fi`."""
        ...

    def augment(self, texts: Sequence[str], rows: Sequence[int]) -> Sequence[Sequence[str]]:
        """New texts for each text, none or several; those that are no news are dropped later.

        Args:
            texts: as many as `rows`; none is blank.
            rows: the number of each text's row. What is random is a function of the seed and this number, so that it
                does not depend on the other texts.
        """
        ...


Maker = Callable[[Mapping[str, Any], Around], Augmenter]
"""From a recipe's `options` to an augmenter; raises ValueError with a sentence about what does not fit."""


def plugin(name: str, options: Mapping[str, Any], around: Around, key: str) -> Augmenter:
    """An augmenter that an installed package offers.

    Args:
        name: at the entry point.
        options: as the recipe has them.
        around: what it works in.
        key: of the recipe's table, for messages.

    Raises:
        ValueInRecipeError: there is none, or it does not take the options.
    """
    offered = {each.name: each for each in entry_points(group=GROUP)}
    if name not in offered:
        close = nearest(name, offered)
        there = ", ".join(map(printable, sorted(offered))) or "none"
        hint = f"did you mean '{close}'?" if close else f"installed packages offer {there}"
        raise ValueInRecipeError(f"{key}.name", f"there is no augmenter '{printable(name)}'; {hint}")
    try:
        maker: Maker = offered[name].load()
        return maker(options, around)
    except Exception as error:
        reason = printable((str(error).strip() or type(error).__name__).splitlines()[0])
        raise ValueInRecipeError(f"{key}.options", f"the augmenter '{printable(name)}' says: {reason}") from None
