"""What a stage has reached and what it took, in words."""

from collections.abc import Iterator
from typing import Any

from .. import words

_OF_TRAINING = ("steps", "result_step", "parameters", "trained", "trained_percent", "bad_steps")
_TOLD = {*_OF_TRAINING, "seconds", "seconds_per_step", "peak_bytes"}
"""Figures of training that are told in sentences."""


def result_line(summary: dict[str, Any]) -> str:
    """What it has reached, in one line: ``test accuracy 0.85 · validation loss 0.41, accuracy 0.84``."""
    if "models" in summary:
        return " · ".join(f"{name} {told}" for name, told in list(_side_by_side(summary))[:1])
    if told := summary.get("told"):
        return " · ".join(f"{name}: {line}" for name, line in list(told.items())[:1])
    return " · ".join(f"{name} {told}" for name, told in _scores(summary) if not name.endswith("before"))


def result_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What it has reached, then what it took: names and texts, to be set below each other."""
    yield from _side_by_side(summary) if "models" in summary else _scores(summary)
    yield from ((str(name), str(line)) for name, line in summary.get("told", {}).items())
    for name, value in summary.items():
        if name not in _TOLD and _is_number(value):
            yield name.replace("_", " "), _told(value)
    if "steps" in summary:
        of_step = summary.get("result_step", summary["steps"])
        told = "" if of_step == summary["steps"] else f", the result is of step {words.count(of_step)}"
        yield "steps", words.count(summary["steps"]) + told
    if "trained" in summary:
        trained, total = summary["trained"], summary["parameters"]
        share = "all" if trained == total else f"{words.count(trained)} of"
        percent = "" if trained == total else f" ({100 * trained / total:.3g} %)"
        yield "trained", f"{share} {words.count(total)} weights{percent}"
    if "seconds" in summary:
        told = f"{words.duration(summary['seconds'])}, {words.number(summary['seconds_per_step'])} s a step"
        yield "took", f"{told}, {words.size(summary['peak_bytes'])} of memory at most"
    if summary.get("bad_steps"):
        yield "left out", f"{words.count(summary['bad_steps'])} steps whose gradients were not finite"


def _side_by_side(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a stage has measured of models: each figure of all of them."""
    groups = {model: summary[f"test/{model}"] for model in summary["models"]}
    for name in dict.fromkeys(name for group in groups.values() for name in group):
        values = {model: group[name] for model, group in groups.items() if _is_number(group.get(name))}
        if values:
            yield name, ", ".join(f"{model} {_told(value)}" for model, value in values.items())


def _scores(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Groups of figures, the most telling first: of the test, of the end, of the beginning."""
    for name in reversed(summary):
        group = summary[name]
        figures = [] if not isinstance(group, dict) else [(key, group[key]) for key in group if _is_number(group[key])]
        if figures:
            yield name.replace("/", " "), ", ".join(f"{key} {_told(value)}" for key, value in figures)


def _told(value: float) -> str:
    return words.count(value) if isinstance(value, int) else words.number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
