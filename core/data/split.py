"""Setting texts aside for validation."""

import random
from collections.abc import Sequence


def set_aside(documents: Sequence[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Split texts into those to train on and those to validate on.

    Whole documents are drawn at random. Where there are too few of them for that (fewer than two would be
    set aside), the end of each text is set aside instead, cut at a line break.

    Args:
        documents: the texts.
        share: how much to set aside, in [0, 1).
        seed: the same seed draws the same documents.
    """
    if share == 0:
        return list(documents), []
    count = min(round(len(documents) * share), len(documents) - 1)
    if count < 2:
        return _cut_ends(documents, share)
    kept, chosen = _draw(len(documents), count, seed)
    return [documents[i] for i in kept], [documents[i] for i in chosen]


def set_rows_aside(rows: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split row numbers into those to train on and those to validate on: of two rows or more at least one each.

    Args:
        rows: how many there are.
        share: how much to set aside, in [0, 1).
        seed: the same seed draws the same rows.
    """
    wanted = max(1, round(rows * share)) if share else 0
    return _draw(rows, min(wanted, rows - 1) if rows else 0, seed)


def _draw(rows: int, count: int, seed: int) -> tuple[list[int], list[int]]:
    """The numbers left, and `count` numbers drawn, each in order."""
    chosen = set(random.Random(f"validation {seed}").sample(range(rows), count))
    return [i for i in range(rows) if i not in chosen], sorted(chosen)


def _cut_ends(documents: Sequence[str], share: float) -> tuple[list[str], list[str]]:
    fronts: list[str] = []
    ends: list[str] = []
    for document in documents:
        target = round(len(document) * (1 - share))
        cut = document.rfind("\n", 0, target) + 1 or target
        fronts.append(document[:cut])
        ends.append(document[cut:])
    return [front for front in fronts if front.strip()], [end for end in ends if end.strip()]


def draw_rows(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split row numbers into those to train on and those to validate on, both in order; drawn at random.

    Args:
        count: how many rows there are.
        share: how much to set aside, in [0, 1); 0 for nothing. Otherwise at least one row is, and one is not.
        seed: the same seed draws the same rows.

    Raises:
        ValueError: there are fewer than two rows.
    """
    if share == 0:
        return list(range(count)), []
    if count < 2:
        raise ValueError(f"{count} row cannot be split")
    wanted = min(max(1, round(count * share)), count - 1)
    chosen = set(random.Random(f"validation {seed}").sample(range(count), wanted))
    return [i for i in range(count) if i not in chosen], sorted(chosen)
