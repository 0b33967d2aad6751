"""The GLUE tasks (Wang et al. 2018): columns, labels, parts, official figures, and the quirks of the official files."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..text import printable
from .sources import HUB, TABLES, SourceError, kind_of, read_rows, read_text

_ON_HUB = "nyu-mll/glue"
_OFFICIAL_COLUMNS = {"index", "id", "Quality", "promptID"}
"""The first columns of the official files, which know no quoting."""


@dataclass(frozen=True)
class GlueTask:
    """What is known of a task.

    Attributes:
        text, pair, label: what the columns are called: on the hub, and in the official files.
        labels: names of the classes in the order of their numbers; none for scores.
        figures: what the benchmark reports; for scores both correlations.
    """

    text: tuple[str, ...] = ("sentence",)
    pair: tuple[str, ...] | None = None
    label: tuple[str, ...] = ("label",)
    labels: tuple[str, ...] | None = None
    figures: tuple[str, ...] = ("accuracy",)


_FIRST, _SECOND = ("sentence1",), ("sentence2",)
_ENTAILED = ("entailment", "not_entailment")

TASKS: Mapping[str, GlueTask] = {
    "cola": GlueTask(labels=("unacceptable", "acceptable"), figures=("matthews",)),
    "sst2": GlueTask(labels=("negative", "positive")),
    "mrpc": GlueTask(
        ("sentence1", "#1 String"),
        ("sentence2", "#2 String"),
        ("label", "Quality"),
        ("not_equivalent", "equivalent"),
        ("accuracy", "f1"),
    ),
    "stsb": GlueTask(_FIRST, _SECOND, ("label", "score")),
    "qqp": GlueTask(
        ("question1",),
        ("question2",),
        ("label", "is_duplicate"),
        ("not_duplicate", "duplicate"),
        ("accuracy", "f1"),
    ),
    "mnli": GlueTask(
        ("premise", "sentence1"),
        ("hypothesis", "sentence2"),
        ("label", "gold_label"),
        ("entailment", "neutral", "contradiction"),
    ),
    "qnli": GlueTask(("question",), ("sentence",), labels=_ENTAILED),
    "rte": GlueTask(_FIRST, _SECOND, labels=_ENTAILED),
    "wnli": GlueTask(_FIRST, _SECOND, labels=("not_entailment", "entailment")),
}

_PARTS = {"train": ("train",), "validation": ("dev", "validation"), "predict": ("test",)}
_MNLI_PARTS = {
    "train": ("train",),
    "validation": ("dev_matched", "validation_matched"),
    "validation-mismatched": ("dev_mismatched", "validation_mismatched"),
    "predict": ("test_matched",),
    "predict-mismatched": ("test_mismatched",),
}
"""By the part's name here: what its file may be called, the hub's name last."""


def parts_of(task: str, source: str | None) -> dict[str, str]:
    """A task's parts: `train`, `validation`, `predict`, and for MNLI also `-mismatched` ones, each with its source.

    Args:
        task: its name.
        source: the folder of its files, or a dataset on the hub; the official one if not given.

    Raises:
        SourceError: the folder has no file to train on.
    """
    stems = _MNLI_PARTS if task == "mnli" else _PARTS
    if source is None or source.startswith(HUB):
        name = (source or f"{HUB}{_ON_HUB}/{task}").removeprefix(HUB).partition(":")[0]
        return {part: f"{HUB}{name}:{names[-1]}" for part, names in stems.items()}
    folder = Path(source)
    found = {part: file for part, names in stems.items() if (file := _file(folder, names))}
    if "train" not in found:
        raise SourceError(f"the folder {printable(source)} has no train.tsv; name the folder of the task's files")
    return {part: str(file) for part, file in found.items()}


def read_glue_rows(task: str, path: Path, skipped: Callable[[int], None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a task's file with their line numbers: an official one, or any other table with the columns.

    QQP's files have lines that break off; `skipped` gets their numbers.

    Raises:
        SourceError: the file or a line of it cannot be read.
    """
    if kind_of(path) != ".tsv":
        yield from read_rows(path)
        return
    lines = read_text(path).split("\n")
    header = lines[0].split("\t")
    headless = task == "cola" and len(header) == 4 and "sentence" not in header
    if not headless and header[0] not in _OFFICIAL_COLUMNS and _is_quoted(lines):
        yield from read_rows(path)
        return
    if headless:
        header = ["source", "label", "star", "sentence"]
    for number, line in enumerate(lines if headless else lines[1:], 1 if headless else 2):
        cells = line.split("\t")
        if len(cells) == len(header):
            yield number, dict(zip(header, cells, strict=True))
        elif line and task == "qqp" and len(cells) < len(header):
            skipped(number)
        elif line:
            raise SourceError(
                f"{printable(str(path))}: line {number} has {len(cells)} columns where {len(header)} are wanted"
            )


def _file(folder: Path, stems: tuple[str, ...]) -> Path | None:
    names = [stem + kind + packed for stem in stems for kind in (".tsv", *TABLES) for packed in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _is_quoted(lines: list[str]) -> bool:
    """Whether quotes are marks of the format: only then does a strict reader find the header's columns in all rows."""
    rows = csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter="\t", strict=True)
    try:
        columns = len(next(rows))
        return all(len(cells) in (0, columns) for cells in rows)
    except (csv.Error, StopIteration):
        return False
