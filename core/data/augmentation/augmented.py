"""From texts and augmenters to new texts worth keeping: with their origin, without echoes, everything counted."""

from collections.abc import Sequence
from dataclasses import dataclass

from .augmenter import Augmenter


@dataclass(frozen=True)
class NewText:
    """A text that an augmenter has made.

    Attributes:
        row: number of the row that it was made of, from 0.
        text: what it says.
        origin: where it comes from: `train-1-aug-fi`, `train-1-aug-fi-2` for the second of several.
    """

    row: int
    text: str
    origin: str


@dataclass(frozen=True)
class Count:
    """What became of an augmenter's texts.

    Attributes:
        name: the augmenter's.
        kept: new texts.
        unchanged: texts that say what their own row says.
        duplicates: texts that another row, or another new text, says already.
        blank: texts with nothing in them.
        none: rows that it made no text for.
    """

    name: str
    kept: int = 0
    unchanged: int = 0
    duplicates: int = 0
    blank: int = 0
    none: int = 0

    def sentence(self) -> str:
        """All of it, for people."""
        dropped = (
            (self.unchanged, "unchanged and dropped"),
            (self.duplicates, "duplicates and dropped"),
            (self.blank, "blank and dropped"),
            (self.none, "rows without any"),
        )
        return ", ".join([f"{self.name}: {self.kept:,} new texts", *(f"{n:,} {what}" for n, what in dropped if n)])


def sameness(text: str) -> str:
    """What two texts share that say the same: letters and marks, whatever the spaces and capitals."""
    return "".join(text.casefold().split())


def augment(
    texts: Sequence[str], augmenters: Sequence[Augmenter], names: Sequence[str]
) -> tuple[list[NewText], list[Count]]:
    """All new texts: augmenter by augmenter, in the order of the rows; each says what no other text says.

    Args:
        texts: of the rows; blank ones are left alone.
        augmenters: each is given the texts as they are.
        names: of the rows, such as `train-1`.
    """
    rows = [row for row, text in enumerate(texts) if text.strip()]
    said = {sameness(text) for text in texts}
    found: list[NewText] = []
    counts: list[Count] = []
    for augmenter in augmenters:
        answers = augmenter.augment([texts[row] for row in rows], rows)
        number = {"kept": 0, "unchanged": 0, "duplicates": 0, "blank": 0, "none": 0}
        for row, answer in zip(rows, answers, strict=True):
            number["none"] += not answer
            for variant, text in enumerate(answer, 1):
                what = _fate(text, texts[row], said)
                number[what] += 1
                if what == "kept":
                    said.add(sameness(text))
                    suffix = "" if variant == 1 else f"-{variant}"
                    found.append(NewText(row, text, f"{names[row]}-aug-{augmenter.name}{suffix}"))
        counts.append(Count(augmenter.name, **number))
    return found, counts


def _fate(text: str, original: str, said: set[str]) -> str:
    if not text.strip():
        return "blank"
    if sameness(text) == sameness(original):
        return "unchanged"
    return "duplicates" if sameness(text) in said else "kept"
