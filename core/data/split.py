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
    chosen = set(random.Random(f"validation {seed}").sample(range(len(documents)), count))
    return (
        [document for i, document in enumerate(documents) if i not in chosen],
        [document for i, document in enumerate(documents) if i in chosen],
    )


def _cut_ends(documents: Sequence[str], share: float) -> tuple[list[str], list[str]]:
    fronts: list[str] = []
    ends: list[str] = []
    for document in documents:
        target = round(len(document) * (1 - share))
        cut = document.rfind("\n", 0, target) + 1 or target
        fronts.append(document[:cut])
        ends.append(document[cut:])
    return [front for front in fronts if front.strip()], [end for end in ends if end.strip()]
