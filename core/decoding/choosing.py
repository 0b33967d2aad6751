"""Which continuations a search keeps: the bookkeeping of beams, over several prompts at once. Knows no torch.

Shapes: b prompts, r rows of each (texts that are being continued; places without one have a total of -inf), c
candidates. Beam search in the manner of Wu et al. 2016, section 7, with the rules by which `transformers.generate`
finishes texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..recipe.schema import Decoding
from .records import Fate


@dataclass(frozen=True)
class Candidates:
    """What could come next: (b, c) each, best first within a prompt; a total of -inf is none.

    Attributes:
        parents: int64, the row that is continued.
        ids: int64, the token.
        scores: float32, of the token.
        totals: float64, of the text.
        texts: int64, which of a prompt's texts it belongs to, if each goes its own way.
    """

    parents: NDArray[np.int64]
    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    totals: NDArray[np.float64]
    texts: NDArray[np.int64]

    @property
    def live(self) -> NDArray[np.bool_]:
        """(b, c) which are there."""
        return self.totals > -np.inf


@dataclass(frozen=True)
class Rows:
    """What is gone on with: (b, r) each, in order.

    Attributes:
        candidates: int64, the candidate that each row was; 0 where there is no row.
        totals: float64, -inf where there is no row.
        texts: int64, which of the prompt's texts it belongs to, if each goes its own way.
    """

    candidates: NDArray[np.int64]
    totals: NDArray[np.float64]
    texts: NDArray[np.int64]

    @classmethod
    def first(cls, prompts: int) -> "Rows":
        """One row for each prompt."""
        return cls(np.zeros((prompts, 1), np.int64), np.zeros((prompts, 1)), np.zeros((prompts, 1), np.int64))

    def of(self, places: NDArray[np.int64]) -> "Rows":
        """Those of some of the prompts."""
        return Rows(self.candidates[places], self.totals[places], self.texts[places])


@dataclass(frozen=True)
class Ending:
    """A text that goes no further: a candidate of a step; step -1 is the prompt itself."""

    step: int
    candidate: int
    total: float
    final: float
    finished: bool


def best_candidates(
    values: NDArray[np.float32], ids: NDArray[np.int64], totals: NDArray[np.float64], count: int
) -> Candidates:
    """The best of all continuations of each prompt's rows.

    Equal totals go by the lower row, then by the lower id.

    Args:
        values: (b, r, m), scores of each row's m best tokens, best first, equals by id.
        ids: (b, r, m), these tokens.
        totals: (b, r), of the rows.
        count: how many at most.
    """
    b, r, m = values.shape
    sums = (totals[:, :, None] + values.astype(np.float64)).reshape(b, r * m)
    order = np.argsort(-sums, axis=1, kind="stable")[:, :count]
    return Candidates(
        parents=order // m,
        ids=take(ids.reshape(b, r * m), order),
        scores=take(values.reshape(b, r * m), order),
        totals=take(sums, order),
        texts=np.zeros_like(order),
    )


def take(values: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """(b, k) of (b, n), each row its own places; numpy's `take_along_axis` at a sixth of the cost."""
    return values[np.arange(len(values))[:, None], places]


def in_order(values: NDArray[np.float32], ids: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores and ids (rows, m), best first, equals by id."""
    if not (values[:, 1:] == values[:, :-1]).any():
        return values, ids
    by_id = np.argsort(ids, axis=1, kind="stable")
    values, ids = take(values, by_id), take(ids, by_id)
    order = np.argsort(-values, axis=1, kind="stable")
    return take(values, order), take(ids, order)


class Chooser:
    """Decides what becomes of the candidates of one search, step by step.

    Attributes:
        rows: texts that are kept for each prompt.
        width: candidates that are looked at for each prompt.
        competing: rows take places from one another; else each goes its own way.
        ended: for each prompt, the texts that go no further.
    """

    def __init__(self, settings: Decoding, prompts: int, ends: Sequence[int], steps: int):
        """Begin a search over some prompts that goes on for so many steps at most."""
        self.rows = settings.rows
        self.width = 2 if settings.search == "greedy" else settings.rows
        if settings.search == "beam":
            # as many again for each end of text: that many candidates can end without leaving fewer rows
            self.width = max(2, 1 + len(ends)) * settings.rows
        self.ended: list[list[Ending]] = [[] for _ in range(prompts)]
        self.competing = settings.search == "beam"
        self._early = settings.early_stopping
        self._penalty = settings.length_penalty
        self._ends = np.asarray(ends, np.int64)
        self._steps = steps

    def fates(self, candidates: Candidates, step: int) -> NDArray[np.uint8]:
        """(b, c) what becomes of each candidate."""
        live = candidates.live
        first = np.arange(live.shape[1]) < self.rows
        if len(self._ends) == 0:
            return np.where(live & first, Fate.KEPT, Fate.DROPPED).astype(np.uint8)
        over = np.isin(candidates.ids, self._ends) & live
        going = live & ~over
        kept = going & first
        if self.competing and step < self._steps - 1:
            kept = going & (np.cumsum(going, axis=1) <= self.rows)
        return np.where(over & first, Fate.FINISHED, np.where(kept, Fate.KEPT, Fate.DROPPED)).astype(np.uint8)

    def next_rows(self, candidates: Candidates, fates: NDArray[np.uint8]) -> Rows:
        """The rows that the kept candidates become."""
        if len(self._ends) == 0:  # the first ones, and none is there behind one that is not
            totals = candidates.totals[:, : self.rows]
            places = np.broadcast_to(np.arange(totals.shape[1]), totals.shape)
        else:
            dropped = fates != Fate.KEPT
            places = np.argsort(dropped, axis=1, kind="stable")[:, : self.rows]
            totals = np.where(take(dropped, places), -np.inf, take(candidates.totals, places))
        places = np.where(totals > -np.inf, places, 0)
        if places.shape[1] < self.rows:  # a vocabulary smaller than the rows
            missing = ((0, 0), (0, self.rows - places.shape[1]))
            places, totals = np.pad(places, missing), np.pad(totals, missing, constant_values=-np.inf)
        return Rows(places, totals, take(candidates.texts, places))

    def end(
        self, active: Sequence[int], candidates: Candidates, fates: NDArray[np.uint8], rows: Rows, step: int
    ) -> NDArray[np.bool_]:
        """Collect the texts that end at this step; returns (b,) which prompts are through.

        Args:
            active: which prompts these are.
            candidates: of this step.
            fates: theirs.
            rows: what they become.
            step: from 0.
        """
        last = step == self._steps - 1
        alive = rows.totals[:, 0] > -np.inf
        if len(self._ends) == 0 and not last:
            return ~alive
        ending = (fates == Fate.FINISHED) | ((fates == Fate.KEPT) & last)
        for place in np.flatnonzero(ending.any(1)).tolist():
            totals = candidates.totals[place]
            self._add(
                active[place],
                [
                    Ending(
                        step,
                        int(i),
                        float(totals[i]),
                        self._final(totals[i], step),
                        bool(fates[place, i] == Fate.FINISHED),
                    )
                    for i in np.flatnonzero(ending[place])
                ],
            )
        if last:
            return np.ones(len(active), bool)
        if not self.competing:
            return ~alive
        return np.array([not alive[i] or self._hopeless(p, rows.totals[i, 0], step) for i, p in enumerate(active)])

    def starve(self, prompt: int, before: Sequence[tuple[int, float]], step: int) -> None:
        """Rows of a prompt, (candidate, total) of the step before this one, that nothing can follow."""
        self._add(prompt, [Ending(step - 1, i, total, self._final(total, step - 1), False) for i, total in before])

    def _add(self, prompt: int, endings: list[Ending]) -> None:
        """Keep the best; with early stopping, those that were there first."""
        known = self.ended[prompt]
        if not (self._early and len(known) >= self.rows):
            known.extend(endings)
            if self.competing:
                known.sort(key=lambda ending: -ending.final)
                del known[self.rows :]

    def _final(self, total: float, step: int) -> float:
        return float(total) / (step + 1) ** self._penalty if step >= 0 else 0.0

    def _hopeless(self, prompt: int, best: float, step: int) -> bool:
        """No row can come to be better than the finished texts, as far as one can tell from the present length."""
        known = self.ended[prompt]
        if len(known) < self.rows:
            return False
        return self._early or self._final(best, step) <= known[-1].final
