"""Choosing the rows of each step from an endless series of candidates, by what a learner says of them.

A candidate is looked at once, in its turn: it is taken, or passed over for good. What is chosen is a function of the
candidates, the learner and the threshold alone; neither batches nor interruptions change it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...errors import TrainingError
from ...training.method import Steps

Score = Callable[[Sequence[int]], NDArray[np.float32]]
"""From row numbers to their predicted standardised gains, (rows,)."""

_PATIENCE = 1000
"""Candidates to look at for each row that is wanted, at most."""


@dataclass
class Seen:
    """Of the candidates of a step, or of all so far: how many, and the sums of their predicted gains.

    Attributes:
        looked_at, taken: candidates.
        offered: sum over all that were looked at.
        gained: sum over those that were taken.
    """

    looked_at: int = 0
    taken: int = 0
    offered: float = 0.0
    gained: float = 0.0

    def add(self, q: float, taken: bool) -> None:
        """One more candidate."""
        self.looked_at += 1
        self.offered += q
        if taken:
            self.taken += 1
            self.gained += q

    def plus(self, other: "Seen") -> "Seen":
        """Both together."""
        mine, theirs = vars(self), vars(other)
        return Seen(**{name: mine[name] + theirs[name] for name in mine})


@dataclass
class Chosen:
    """Steps whose rows were chosen.

    Attributes:
        planned: gives the candidates, step after step.
        score: predicts gains.
        threshold: of a step.
        batch_size, accumulation: rows of a micro-batch, and micro-batches of a step.
        decoys: to choose at random, as many as by the threshold: a candidate is taken if the decoy in its place
            reaches the threshold. None to judge candidates by themselves.
        last: the step made last: what was seen, with its threshold.
        before: all steps before that.
        step: which step that was; 0 before the first.
    """

    planned: Steps
    score: Score
    threshold: Callable[[int], float]
    batch_size: int
    accumulation: int
    decoys: Steps | None = None
    last: Seen = field(default_factory=Seen)
    before: Seen = field(default_factory=Seen)
    step: int = 0
    _source: int = 1
    _used: int = 0
    _candidates: list[tuple[int, float, float]] | None = None

    @property
    def seed(self) -> int:
        """Of what is drawn in each step."""
        return self.planned.seed

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.planned.total

    @property
    def seen(self) -> Seen:
        """All candidates so far."""
        return self.before.plus(self.last)

    def micro_batches(self, step: int) -> Sequence[Sequence[int]]:
        """The rows of a step, in the order of the candidates; to be asked for one step after the other.

        Raises:
            TrainingError: hardly any candidate reaches the threshold.
        """
        wanted = self.batch_size * self.accumulation
        threshold = self.threshold(step)
        self.before, self.last, self.step = self.seen, Seen(), step
        rows: list[int] = []
        best = -np.inf
        while len(rows) < wanted:
            row, q, judged = self._next()
            best = max(best, judged)
            self.last.add(q, judged >= threshold)
            if judged >= threshold:
                rows.append(row)
            elif self.last.looked_at >= _PATIENCE * wanted:
                raise TrainingError(
                    f"step {step}: of {self.last.looked_at:,} contexts {len(rows)} reach the threshold {threshold:g}; "
                    f"the best comes to {best:.3g}; lower the threshold, or say threshold.kind 'quantile'"
                )
        return [rows[i : i + self.batch_size] for i in range(0, wanted, self.batch_size)]

    def state(self) -> Mapping[str, int | Mapping[str, float]]:
        """Where in the series it is, and what was seen."""
        return {
            "source": self._source,
            "used": self._used,
            "step": self.step,
            "last": vars(self.last),
            "before": vars(self.before),
        }

    def load_state(self, state: Mapping[str, int | Mapping[str, float]]) -> None:
        """Take up what `state` saved."""
        self._source, self._used, self.step = (int(state[name]) for name in ("source", "used", "step"))  # type: ignore[arg-type]
        self.last, self.before = (Seen(**state[name]) for name in ("last", "before"))  # type: ignore[arg-type]
        self._candidates = None

    def _next(self) -> tuple[int, float, float]:
        """The next candidate, what is predicted of it, and what it is judged by."""
        if self._candidates is None:
            self._candidates = self._read()
        if self._used == len(self._candidates):
            self._source, self._used = self._source + 1, 0
            self._candidates = self._read()
        self._used += 1
        return self._candidates[self._used - 1]

    def _read(self) -> list[tuple[int, float, float]]:
        """The candidates that one of the planned steps would have had."""
        rows = _flat(self.planned.micro_batches(self._source))
        qs = self.score(rows).tolist()
        judged = qs if self.decoys is None else self.score(_flat(self.decoys.micro_batches(self._source))).tolist()
        return list(zip(rows, qs, judged, strict=True))


def _flat(batches: Sequence[Sequence[int]]) -> list[int]:
    return [row for batch in batches for row in batch]
