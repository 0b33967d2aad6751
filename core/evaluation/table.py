"""The figures of models side by side: a line for each figure, a column for each model, over seeds mean ± deviation.

Knows no torch: the command line and comparisons use it, too.
"""

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from ..tables import finite, number
from ..text import json_text

Figures = Mapping[str, float | int | None]


@dataclass(frozen=True)
class EvaluationTable:
    """What models came to, each measured once for every seed.

    Attributes:
        models: the columns' names, in order; foreign text.
        metrics: the lines' names, in order.
        values: by metric and model, one value for each seed; fewer where a figure is not defined.
        seeds: how often each model was measured.
        notes: how it was measured, what was left out; sentences, foreign text.
    """

    models: tuple[str, ...]
    metrics: tuple[str, ...]
    values: Mapping[tuple[str, str], tuple[float | int, ...]]
    seeds: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, measured: Sequence[tuple[str, Figures]], notes: Sequence[str] = ()) -> "EvaluationTable":
        """Put (model, figures) together; those of the same model are seeds of it."""
        models = tuple(dict.fromkeys(model for model, _ in measured))
        metrics = tuple(dict.fromkeys(name for _, figures in measured for name in figures))
        values = {
            (metric, model): tuple(
                value for name, figures in measured if name == model and _known(value := figures.get(metric))
            )
            for metric in metrics
            for model in models
        }
        return cls(models, metrics, values, {m: [name for name, _ in measured].count(m) for m in models}, tuple(notes))

    @property
    def repeated(self) -> bool:
        """Some model was measured with several seeds."""
        return max(self.seeds.values(), default=0) > 1

    def cells(self) -> list[list[str]]:
        """The lines for people: the metric, then mean ± deviation for each model; with seeds, n below the models."""
        lines = [[metric, *(_told(self.values[metric, model]) for model in self.models)] for metric in self.metrics]
        return [["n (seeds)", *(str(self.seeds[model]) for model in self.models)], *lines] if self.repeated else lines

    def as_markdown(self) -> str:
        """A table with what one must know below."""
        head = [["", *self.models], ["---", *["---:"] * len(self.models)]]
        lines = ["| " + " | ".join(_escaped(cell) for cell in cells) + " |" for cells in [*head, *self.cells()]]
        return "\n".join([*lines, "", *(f"- {note}" for note in self.explanation())]) + "\n"

    def as_csv(self) -> str:
        """A line for each metric and model, every digit."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["metric", "model", "n", "mean", "deviation", "values"])
        for (metric, model), values in self.values.items():
            mean, deviation = _mean(values), _deviation(values)
            row = [metric, model, len(values), mean, deviation, " ".join(map(str, values))]
            writer.writerow(["" if cell is None else cell for cell in row])
        return text.getvalue()

    def facts(self) -> dict[str, Any]:
        """The table for JSON; what is not defined is null."""
        return {
            "models": [
                {
                    "name": model,
                    "n": self.seeds[model],
                    "figures": {
                        metric: {
                            "mean": _mean(self.values[metric, model]),
                            "deviation": _deviation(self.values[metric, model]),
                            "values": list(self.values[metric, model]),
                        }
                        for metric in self.metrics
                    },
                }
                for model in self.models
            ],
            "notes": list(self.notes),
        }

    def as_json(self) -> str:
        """One object; what is not finite becomes null."""
        return json_text(finite(self.facts()), indent=2) + "\n"

    def files(self) -> dict[str, str]:
        """The table as Markdown, CSV and JSON, by the names of the files."""
        return {
            "evaluation.md": self.as_markdown(),
            "evaluation.csv": self.as_csv(),
            "evaluation.json": self.as_json(),
        }

    def explanation(self) -> list[str]:
        """The notes, and what ± means."""
        return [*self.notes, *(["mean ± standard deviation over the seeds"] if self.repeated else [])]


def _known(value: float | int | None) -> TypeGuard[float | int]:
    return value is not None and not math.isnan(value)


def _mean(values: Sequence[float | int]) -> float | int | None:
    if not values:
        return None
    return values[0] if len(set(values)) == 1 else statistics.fmean(values)


def _deviation(values: Sequence[float | int]) -> float | None:
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    return statistics.stdev(values)


def _told(values: Sequence[float | int]) -> str:
    mean, deviation = _mean(values), _deviation(values)
    if mean is None:
        return "–"
    if len(set(values)) == 1 and float(mean).is_integer():  # what was counted
        return f"{mean:,.0f}"
    told = number(mean)
    return told if deviation is None else f"{told} ± {number(deviation)}"


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
