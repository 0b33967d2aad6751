"""From a stage's results to the one figure that says most, for lists of runs."""

import json
from typing import Any

from .records import Figure

TELLING = ("accuracy", "matthews", "f1", "spearman", "perplexity", "loss")
"""What says most first."""

_PARTS = ("validation", "test")


def telling_figure(summary: str | None) -> Figure | None:
    """The figure that says most in a stage's results.

    Args:
        summary: the results of a stage that trains, or of one that compares, as JSON; None if there are none.
    """
    results: Any = json.loads(summary) if summary else None
    if not isinstance(results, dict):
        return None
    if "rows" in results:
        return _best_row(results)  # pyright: ignore[reportUnknownArgumentType]
    tables: list[Any] = [results.get(part) for part in _PARTS]  # pyright: ignore[reportUnknownMemberType]
    tables += [results.get(f"test/{model}") for model in reversed(results.get("models", ()))]  # pyright: ignore
    for table in tables:
        for name in TELLING if isinstance(table, dict) else ():
            if isinstance(value := table.get(name), int | float):
                return Figure(name, float(value))
    return None


def _best_row(comparison: dict[str, Any]) -> Figure | None:
    """The best mean of a comparison, with its deviation."""
    name = str(comparison["metric"]).rpartition("/")[2]
    rows = [row for row in comparison["rows"] if isinstance(row["mean"], float) and row["mean"] == row["mean"]]
    if not rows:
        return None
    best = (min if comparison["lower_is_better"] else max)(rows, key=lambda row: row["mean"])
    return Figure(name, best["mean"], best["deviation"])
