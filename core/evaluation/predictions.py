"""Figures of predictions that stand in a table beside the truth, whoever made them: classes, scores or texts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ..data.sources import read_table
from ..errors import UsageError
from ..recipe.problems import quoted
from ..text import printable
from .measure import Measured
from .metrics import CLASS_FIGURES, Confusion, Scores
from .rouge import rouge

Kind = Literal["classes", "scores", "texts"]
_MOST_CLASSES = 1000


def measure_predictions(
    table: Path, kind: Kind, predicted: str = "predicted", gold: str = "gold", gold_table: Path | None = None
) -> Measured:
    """Measure a table of predictions. Rows without truth are left out and counted.

    Args:
        table: .csv, .tsv, .json, .jsonl or .parquet, each also .gz.
        kind: `classes`: accuracy, F1, Matthews; `scores`: Pearson, Spearman; `texts`: ROUGE.
        predicted: the column with the predictions.
        gold: the column with the truth.
        gold_table: where that column is, row by row, if it is in another table.

    Raises:
        SourceError: a table cannot be read.
        UsageError: there is no such column, or the values are not of this kind.
    """
    said = _column(table, predicted)
    true = _column(gold_table or table, gold)
    if len(said) != len(true):
        raise UsageError(
            f"{printable(str(table))} has {len(said):,} rows and {printable(str(gold_table))} has {len(true):,}; they "
            "must go together row by row"
        )
    pairs = [(a, b) for a, b in zip(said, true, strict=True) if b or kind == "texts"]
    if not pairs:
        raise UsageError(f"no row has anything in column {quoted(gold)}")
    found = _KINDS[kind]([a for a, _ in pairs], [b for _, b in pairs])
    left_out = [f"rows without anything in {quoted(gold)}, left out: {len(said) - len(pairs):,}"]
    notes = (*found.notes, *(left_out if len(pairs) < len(said) else []))
    return Measured({**found.figures, "rows": len(pairs)}, notes)


def classes(predicted: Sequence[str], gold: Sequence[str]) -> Measured:
    """Accuracy, macro F1 and Matthews' correlation; for two classes also F1 of the one that is last in order.

    Raises:
        UsageError: there are so many classes that they can be none.
    """
    labels = sorted(
        {*predicted, *gold}, key=lambda label: (not label.isdecimal(), int(label) if label.isdecimal() else 0, label)
    )
    if len(labels) > _MOST_CLASSES:
        raise UsageError(f"{len(labels):,} different labels are no classes; are these scores or texts?")
    number = {label: at for at, label in enumerate(labels)}
    account = Confusion(len(labels))
    account.add(np.array([number[each] for each in predicted]), np.array([number[each] for each in gold]))
    names = ("accuracy", "f1", "macro_f1", "matthews") if len(labels) == 2 else ("accuracy", "macro_f1", "matthews")
    shown = ", ".join(map(quoted, labels[:8])) + (f" and {len(labels) - 8:,} more" if len(labels) > 8 else "")
    notes = [f"classes: {shown}"]
    if len(labels) == 2:
        notes.append(f"f1 is that of class {quoted(labels[1])}")
    return Measured({name: CLASS_FIGURES[name](account) for name in names}, tuple(notes))


def scores(predicted: Sequence[str], gold: Sequence[str]) -> Measured:
    """Pearson's and Spearman's correlation.

    Raises:
        UsageError: a value is no number.
    """
    account = Scores()
    account.add(_numbers(predicted), _numbers(gold))
    return Measured({"pearson": account.pearson(), "spearman": account.spearman()}, ())


def texts(predicted: Sequence[str], gold: Sequence[str]) -> Measured:
    """ROUGE; pooled over words between white space."""
    found = rouge(predicted, gold)
    return Measured(found.figures(), tuple(found.notes()))


_KINDS: dict[Kind, Callable[[Sequence[str], Sequence[str]], Measured]] = {
    "classes": classes,
    "scores": scores,
    "texts": texts,
}


def _column(table: Path, column: str) -> list[str]:
    """Its cells as texts; empty where there is nothing."""
    found: list[str] = []
    for _, row in read_table(str(table)):
        if column not in row:
            names = ", ".join(map(printable, row))
            raise UsageError(f"{printable(str(table))} has no column {quoted(column)}; it has {names}")
        value = row[column]
        found.append("" if value is None else str(value))
    return found


def _numbers(cells: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    try:
        found = np.array(list(map(float, cells)), np.float64)
    except ValueError as error:
        raise UsageError(f"these are no scores: {printable(str(error))}; say what they are with --as") from None
    if not np.isfinite(found).all():
        raise UsageError(f"row {int(np.isfinite(found).argmin()) + 1} has a score that is not finite")
    return found
