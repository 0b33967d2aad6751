"""A comparison as text: Markdown to read, CSV and JSON with every digit for other programs."""

import csv
import io
import math
from collections.abc import Callable, Mapping
from typing import Any

from .comparison import Comparison, Difference, Row
from .text import duration, json_text

COLUMNS = (
    *("label", "n", "seeds", "values", "mean", "deviation", "best"),
    *("difference", "low", "high", "p", "pairs"),
    *("parameters", "trained", "trained_percent", "seconds", "seconds_per_step", "peak_bytes", "kept", "missing"),
)
"""Of CSV; JSON has them as the keys of a row."""


def facts(comparison: Comparison) -> dict[str, Any]:
    """The comparison for JSON."""
    return {
        "metric": comparison.metric,
        "lower_is_better": comparison.lower_is_better,
        "baseline": comparison.baseline,
        "rows": [_row_facts(row) for row in comparison.rows],
    }


def as_json(comparison: Comparison) -> str:
    """One object; what is not finite becomes null."""
    return json_text(finite(facts(comparison)), indent=2) + "\n"


def as_csv(comparison: Comparison) -> str:
    """A line for each row under a head; lists have spaces between their entries."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["metric", *COLUMNS], lineterminator="\n")
    writer.writeheader()
    for row in comparison.rows:
        cells = {key: _cell(value, "; " if key == "missing" else " ") for key, value in _row_facts(row).items()}
        writer.writerow({"metric": comparison.metric, **cells})
    return text.getvalue()


def as_markdown(comparison: Comparison) -> str:
    """A table with its explanation below."""
    scores = ["", "n", comparison.metric, "best", f"difference to {comparison.baseline}", "p"]
    costs = cost_columns(comparison)
    lines = [[*scores, *(name for name, _ in costs)], ["---", *["---:"] * (len(scores) + len(costs) - 1)]]
    for number, row in enumerate(comparison.rows):
        lines.append([row.label, str(row.n), *score_cells(row), *(cells[number] for _, cells in costs)])
    table = "\n".join("| " + " | ".join(_escaped(cell) for cell in cells) + " |" for cells in lines)
    return table + "\n\n" + "\n".join(explanation(comparison)) + "\n"


def score_cells(row: Row) -> list[str]:
    """Mean ± deviation, best, difference with its interval, and p."""
    return [mean_text(row), number(row.best), _difference(row.difference), _p(row.difference)]


def cost_columns(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Heads and cells: weights trained, seconds per step, time, peak memory, and, if any were pruned, weights kept."""
    columns = {name: [cell(row) for row in comparison.rows] for name, cell in _COST_CELLS.items()}
    return [(name, cells) for name, cells in columns.items() if name != "kept" or any(cell != "–" for cell in cells)]


def mean_text(row: Row) -> str:
    """``0.862 ± 0.011``."""
    mean = number(row.mean)
    if row.deviation is None:
        return mean
    places = len(mean.partition(".")[2])  # as many as the mean has: more are not known
    return f"{mean} ± " + (number(row.deviation) if "e" in mean else f"{row.deviation:.{places}f}")


def explanation(comparison: Comparison) -> list[str]:
    """What the table means, and what it has not, in sentences; foreign text."""
    rows = comparison.rows
    most = max(row.n for row in rows)
    if most > 1:
        said = f"{comparison.metric}: mean ± standard deviation over n seeds"
    else:
        said = f"{comparison.metric} of one seed each; nothing is known of how far it scatters"
    better = "less is better" if comparison.lower_is_better else "more is better"
    sentences = [f"{said}; {better}."]
    if most > 1:
        sentences += [f"{row.label}: one seed." for row in rows if row.n == 1]
    if any(row.difference and row.difference.p is not None for row in rows):
        sentences.append("Differences pair up seeds; in brackets their 95 % t interval; p is two-sided.")
    sentences += [f"{row.label}: {why}." for row in rows for why in row.missing]
    return sentences


def number(value: float | None) -> str:
    """A measurement in few digits: ``0.862``, ``12.31``, ``1.2e-05``."""
    if value is None or math.isnan(value):
        return "–"
    if value and (abs(value) >= 1e5 or abs(value) < 5e-4):
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"


def finite(value: Any) -> Any:
    """The value for JSON, with null for numbers that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    return [finite(inner) for inner in value] if isinstance(value, list) else value


# -- inside ---------------------------------------------------------------------------------------


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return ""
    text = f"{_signed(difference.mean)}"
    if difference.low is None:
        return text
    return f"{text} [{_signed(difference.low)}, {_signed(difference.high)}]"


def _signed(value: float | None) -> str:
    text = number(value)
    return f"+{text}" if value is not None and value >= 0 else text


def _p(difference: Difference | None) -> str:
    if difference is None or difference.p is None:
        return ""
    return f"{difference.p:.3f}" if difference.p >= 0.001 else "<.001"


def _trained(row: Row) -> str:
    trained, parameters = row.costs.get("trained"), row.costs.get("parameters")
    share = f" ({100 * trained / parameters:.3g} %)" if trained is not None and parameters else ""
    return "–" if trained is None else f"{trained:,.0f}{share}"


def _cost(key: str, form: Callable[[float], str]) -> Callable[[Row], str]:
    return lambda row: form(row.costs[key]) if key in row.costs else "–"


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 90 else duration(seconds)


_COST_CELLS: Mapping[str, Callable[[Row], str]] = {
    "trained": _trained,
    "s/step": _cost("seconds_per_step", lambda value: f"{value:.3g}"),
    "time": _cost("seconds", _duration),
    "memory": _cost("peak_bytes", lambda value: f"{value / 1e6:,.0f} MB"),
    "kept": _cost("kept", lambda value: f"{100 * value:.3g} %"),
}


def _row_facts(row: Row) -> dict[str, Any]:
    gap, costs = row.difference, row.costs
    trained, parameters = costs.get("trained"), costs.get("parameters")
    return {
        "label": row.label,
        "n": row.n,
        "seeds": list(row.seeds),
        "values": list(row.values),
        "mean": row.mean,
        "deviation": row.deviation,
        "best": row.best,
        "difference": gap and gap.mean,
        "low": gap and gap.low,
        "high": gap and gap.high,
        "p": gap and gap.p,
        "pairs": gap.n if gap else 0,
        "parameters": parameters,
        "trained": trained,
        "trained_percent": 100 * trained / parameters if trained is not None and parameters else None,
        "seconds": costs.get("seconds"),
        "seconds_per_step": costs.get("seconds_per_step"),
        "peak_bytes": costs.get("peak_bytes"),
        "kept": costs.get("kept"),
        "missing": list(row.missing),
    }


def _cell(value: Any, between: str) -> str:
    if isinstance(value, list):
        return between.join(str(each) for each in value)
    return "" if value is None else str(value)


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
