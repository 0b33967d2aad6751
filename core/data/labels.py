"""From labels as they are written to the numbers of classes, and to scores."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..recipe.keys import nearest
from ..text import printable, shorten
from .sources import SourceError

_WHOLE = re.compile(r"[+-]?\d+(\.0*)?")
_SHOWN = 12


@dataclass(frozen=True)
class Written:
    """The labels of a source as they are written.

    Attributes:
        source: for messages.
        key: the recipe's key that names the source.
        places: where each label stands.
        labels: what is written there.
    """

    source: str
    key: str
    places: Sequence[str]
    labels: Sequence[str]

    def wrong(self, label: str, what: str, key: str | None = None) -> SourceError:
        """The error about the first row that has this label."""
        row = self.labels.index(label)
        place = f"{printable(self.source)}: {printable(self.places[row])}"
        return SourceError(f"{place} {what}", key=key or self.key)


def find_names(train: Written) -> list[str]:
    """The classes that occur in the training rows: numbers in their order, names in the alphabet's.

    Raises:
        SourceError: there are not two of them, they are names and numbers mixed, or they are scores.
    """
    distinct = list(dict.fromkeys(train.labels))
    numbers = [label for label in distinct if _WHOLE.fullmatch(label)]
    fractions = [label for label in distinct if label not in numbers and _is_number(label)]
    names = [label for label in distinct if label not in numbers and label not in fractions]
    _check_kinds(train, numbers + fractions, names)
    if fractions:
        label = fractions[0]
        raise train.wrong(
            label, f'has the label {label}, which is no class; for scores say objective = "regression"', "data.label"
        )
    found = sorted(names) or [str(number) for number in sorted({_whole(label) for label in numbers})]
    if len(found) < 2:
        raise SourceError(
            f"all rows of {printable(train.source)} have the label '{printable(found[0])}'; a classifier needs two or "
            "more",
            key="data.label",
        )
    return found


def class_numbers(written: Written, names: Sequence[str], given: bool) -> NDArray[np.int64]:
    """The number of each label's class, (rows,).

    Args:
        written: the labels.
        names: of the classes, in the order of their numbers.
        given: the names do not stem from the training rows; then labels may be numbers from 0 as well as names.

    Raises:
        SourceError: a label is none of these, or some are names and some numbers.
    """
    known = {name: number for number, name in enumerate(names)}
    numbered = {str(number): number for number in range(len(names))} if given else {}
    distinct = list(dict.fromkeys(written.labels))
    meaning: dict[str, int] = {}
    for label in distinct:
        canonical = str(_whole(label)) if _WHOLE.fullmatch(label) else label
        number = known.get(label, known.get(canonical, numbered.get(canonical)))
        if number is None:
            raise _unknown(written, label, names, given)
        meaning[label] = number
    if given:
        by_number = [label for label in distinct if label not in known and _WHOLE.fullmatch(label)]
        _check_kinds(written, by_number, [label for label in distinct if label not in by_number])
    return np.fromiter((meaning[label] for label in written.labels), np.int64, len(written.labels))


def scores(written: Written) -> NDArray[np.float32]:
    """The labels as numbers, (rows,).

    Raises:
        SourceError: one is no finite number.
    """
    wrong = next((label for label in written.labels if not _is_number(label)), None)
    if wrong is not None:
        said = printable(shorten(wrong, 40))
        raise written.wrong(wrong, f"has the label '{said}', which is not a finite number")
    return np.asarray([float(label) for label in written.labels], np.float32)


def described(names: Sequence[str], numbers: NDArray[np.int64]) -> str:
    """The classes with how many rows have each."""
    counts = Counter(numbers.tolist())
    shown = [
        f"{'' if name == str(i) else f'{i} '}{printable(name)} ({counts[i]:,} rows)"
        for i, name in enumerate(names[:_SHOWN])
    ]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _check_kinds(written: Written, numbers: Sequence[str], names: Sequence[str]) -> None:
    """Both in the order in which they occur."""
    if not numbers or not names:
        return
    name, number = names[0], numbers[0]
    other = written.places[written.labels.index(number)]
    raise written.wrong(
        name,
        f"has the name '{printable(shorten(name, 40))}' as its label where {printable(other)} has the number {number}; "
        "write all labels as names or all as numbers",
    )


def _unknown(written: Written, label: str, names: Sequence[str], given: bool) -> SourceError:
    shown = ", ".join(printable(name) for name in names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    close = nearest(label, names)
    said = f"has the label '{printable(shorten(label, 40))}'"
    if label == "-1":
        return written.wrong(label, f"{said}, which stands for none; name rows without labels with 'predict'")
    if given:
        hint = f"; did you mean '{printable(close)}'?" if close else ""
        numbers = "" if not _is_number(label) else f", numbered from 0 to {len(names) - 1}"
        return written.wrong(label, f"{said}; the labels are {shown}{numbers}{hint}")
    return written.wrong(
        label, f"{said}, which no training row has; they have {shown}; remove the row, or list all in 'labels'"
    )


def _whole(label: str) -> int:
    return int(label.partition(".")[0])


def _is_number(label: str) -> bool:
    try:
        return math.isfinite(float(label))
    except ValueError:
        return False
