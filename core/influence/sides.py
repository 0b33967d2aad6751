"""The two sides of a score: rows of an objective that are asked about, and those that may have made it so."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..training.objective import Objective
from .passes import Begin, Measure, See, Subject, walk
from .tracking import Layer
from .watch import Watch


@dataclass(frozen=True)
class Side:
    """Rows on one side of a score.

    Attributes:
        objective: that they belong to.
        rows: their numbers.
        measure: what is asked of them; None for the loss.
        name: tells measures from each other where scores are kept.
    """

    objective: Objective
    rows: Sequence[int]
    measure: Measure | None = None
    name: str = "loss"

    @classmethod
    def all_of(cls, objective: Objective) -> "Side":
        """All rows of an objective, and their loss."""
        return cls(objective, range(len(objective)))

    def only(self, rows: Sequence[int]) -> "Side":
        """Some of the rows."""
        return Side(self.objective, rows, self.measure, self.name)


def pass_over(
    subject: Subject,
    side: Side,
    see: See,
    watch: Watch,
    phase: str,
    layers: Sequence[Layer] | None = None,
    begin: Begin | None = None,
) -> Iterator[Sequence[int]]:
    """`walk` over the rows of a side."""
    return walk(
        subject, side.objective, side.rows, see, watch, phase, measure=side.measure, layers=layers,
        begin=begin or _nothing,
    )  # fmt: skip


def _nothing(*_: object) -> None:
    pass
