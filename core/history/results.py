"""From a stage's results to the one figure that says most, for lists of runs."""

import json
from typing import Any

from .records import Figure

TELLING = ("accuracy", "matthews", "f1", "spearman", "perplexity", "loss")
"""What says most first."""

_PARTS = ("validation", "test")


def telling_figure(summary: str | None) -> Figure | None:
    """The figure that says most in a training stage's results.

    Args:
        summary: the stage's results, as JSON; None if it has none.
    """
    results: Any = json.loads(summary) if summary else None
    if not isinstance(results, dict):
        return None
    tables: list[Any] = [results.get(part) for part in _PARTS]  # pyright: ignore[reportUnknownMemberType]
    for table in tables:
        for name in TELLING if isinstance(table, dict) else ():
            if isinstance(value := table.get(name), int | float):
                return Figure(name, float(value))
    return None
