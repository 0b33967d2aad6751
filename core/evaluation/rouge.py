"""ROUGE in three definitions that give different numbers, each with its name; tables print the definition.

`pooled` rewards repetition and can exceed 1; it is no recall. It is there because published figures use it. What the
gold text has no n-grams for is None, not 0.
"""

import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_WORD = re.compile("[a-z0-9]")

STANDARD = ("rouge1", "rouge2", "rouge3", "rougeL")
"""The figures of the package rouge-score."""


def definitions(order: int, unit: str) -> dict[str, str]:
    """What each figure is, for n-grams up to an order over units such as `token ids`."""
    what = f"n-grams of orders 1 to {order} together, over {unit}"
    return {
        f"rouge_pooled_{order}": f"{what}: for each kind of gold n-gram its occurrences in the prediction, summed, / "
        "number of gold n-grams; not clipped: repetition is rewarded, and it can exceed 1",
        f"rouge_pooled_clipped_{order}": f"{what}: the same, each kind counted at most as often as gold has it",
        "rouge1, rouge2, rouge3, rougeL": "precision, recall and F1 of n-grams, and of the longest common subsequence "
        "(Lin 2004), by the package rouge-score without stemming: lower case, everything but a-z and 0-9 dropped",
    }


def pooled(
    predicted: Sequence[Hashable], gold: Sequence[Hashable], order: int = 3, clipped: bool = False
) -> float | None:
    """The n-grams of all orders up to `order` in one pool: sum over the kinds of gold n-grams of how often the
    prediction has them, divided by the number of gold n-grams.

    Args:
        predicted, gold: units that can be compared, such as token ids.
        order: of the longest n-grams, at least 1.
        clipped: count each kind at most as often as gold has it; then the figure is at most 1.

    Returns:
        None if gold is empty.
    """
    there, wanted = _ngrams(predicted, order), _ngrams(gold, order)
    if not wanted:
        return None
    found = sum(min(there[kind], count) if clipped else there[kind] for kind, count in wanted.items())
    return found / sum(wanted.values())


@dataclass(frozen=True)
class Overlap:
    """One of the standard figures for a pair of texts."""

    precision: float
    recall: float
    f1: float


def standard(predicted: str, gold: str) -> dict[str, Overlap] | None:
    """ROUGE-1, -2, -3 and -L by the package rouge-score, without stemming.

    Returns:
        By name; None if gold has no word in its sense, which are made of a-z and 0-9.
    """
    if not _WORD.search(gold.lower()):
        return None
    found = _scorer().score(gold, predicted)
    return {name: Overlap(each.precision, each.recall, each.fmeasure) for name, each in found.items()}


@dataclass(frozen=True)
class Rouge:
    """Means over pairs of texts.

    Attributes:
        pairs: how many there were.
        order: of the longest n-grams that are pooled.
        unit: what they are made of.
        pooled, pooled_clipped: means over the pairs whose gold is not empty; None if all are.
        overlaps: means over the pairs whose gold has words; None if none has.
        empty: pairs whose gold is empty, left out of the first two.
        wordless: pairs whose gold has no word for rouge-score, left out of the others.
    """

    pairs: int
    order: int
    unit: str
    pooled: float | None
    pooled_clipped: float | None
    overlaps: dict[str, Overlap] | None
    empty: int
    wordless: int

    def figures(self) -> dict[str, float | int | None]:
        """Everything by the names that tables give it; the averages first, then what was counted."""
        found: dict[str, float | int | None] = {
            f"rouge_pooled_{self.order}": self.pooled,
            f"rouge_pooled_clipped_{self.order}": self.pooled_clipped,
        }
        for name in STANDARD:
            of = None if self.overlaps is None else self.overlaps[name]
            for part in ("precision", "recall", "f1"):
                found[f"{name}_{part}"] = None if of is None else getattr(of, part)
        return {**found, "rouge_pairs": self.pairs}

    def notes(self) -> list[str]:
        """The definitions, and what was left out."""
        found = [f"{name}: {text}" for name, text in definitions(self.order, self.unit).items()]
        if self.empty:
            found.append(f"pairs with nothing in gold, left out of pooled ROUGE: {self.empty:,}")
        if self.wordless:
            found.append(f"pairs whose gold has no word of a-z and 0-9, left out of ROUGE-1 to -L: {self.wordless:,}")
        return found


def rouge(
    predicted: Sequence[str],
    gold: Sequence[str],
    predicted_units: Sequence[Sequence[Hashable]] | None = None,
    gold_units: Sequence[Sequence[Hashable]] | None = None,
    order: int = 3,
    unit: str = "token ids",
) -> Rouge:
    """All figures of predictions beside gold texts.

    Args:
        predicted, gold: the texts, pair by pair.
        predicted_units, gold_units: the same in units that pooled ROUGE counts; words between white space if not given.
        order: of the longest n-grams that are pooled.
        unit: what the units are called.
    """
    if predicted_units is None or gold_units is None:
        predicted_units, gold_units = [text.split() for text in predicted], [text.split() for text in gold]
        unit = "words between white space"
    units = list(zip(predicted_units, gold_units, strict=True))
    plain = [value for there, wanted in units if (value := pooled(there, wanted, order)) is not None]
    clipped = [value for there, wanted in units if (value := pooled(there, wanted, order, clipped=True)) is not None]
    overlaps = [each for there, wanted in zip(predicted, gold, strict=True) if (each := standard(there, wanted))]
    return Rouge(
        pairs=len(units),
        order=order,
        unit=unit,
        pooled=_mean(plain),
        pooled_clipped=_mean(clipped),
        overlaps={name: _mean_overlap([each[name] for each in overlaps]) for name in STANDARD} if overlaps else None,
        empty=len(units) - len(plain),
        wordless=len(units) - len(overlaps),
    )


def _ngrams(units: Sequence[Hashable], order: int) -> Counter[tuple[Hashable, ...]]:
    return Counter(tuple(units[at : at + n]) for n in range(1, order + 1) for at in range(len(units) - n + 1))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _mean_overlap(found: Sequence[Overlap]) -> Overlap:
    n = len(found)
    return Overlap(*(sum(getattr(each, name) for each in found) / n for name in ("precision", "recall", "f1")))


@lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(STANDARD), use_stemmer=False)
