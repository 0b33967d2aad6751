"""What a search leaves behind: its hypotheses, token by token, and every step's tree. Knows no torch.

Three numbers of a token are never confused: `logprob` is the model's, `score` is what was left after the score
processors and what a beam adds up, `renormalised` is the probability by which sampling would draw after them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..tokens import TokenTrace

NEAR_TIE = 1e-5
"""Totals that differ by less may change places on other hardware or in other batches."""


class Fate(IntEnum):
    """What became of a candidate."""

    DROPPED = 0
    KEPT = 1
    FINISHED = 2


@dataclass(frozen=True)
class Step:
    """One step of a search: p rows went in, c candidates were the best of all that could follow.

    The kept candidates, in their order, are the rows that go into the next step.

    Attributes:
        parents: (c,) uint32, the row that the candidate goes on from.
        ids: (c,) uint32, its token.
        logprob: (c,) float32, the model's, natural logarithm.
        score: (c,) float32, after the processors; -inf is never a candidate.
        renormalised: (c,) float32, probability after the processors.
        rank: (c,) uint32 in the model's distribution, 1 is the likeliest.
        total: (c,) float64, sum of the scores from the prompt's end to here; best first, unless each text was drawn.
        fate: (c,) uint8, a `Fate`.
        entropy: (p,) float32, of the model's distribution for each row, in bits.
        blocked: (p,) float32, the model's probability mass that the processors took away altogether.
        alternative_ids: (p, a) uint32, the likeliest tokens of each row as the model sees it.
        alternative_logprob: (p, a) float32.
    """

    parents: NDArray[np.uint32]
    ids: NDArray[np.uint32]
    logprob: NDArray[np.float32]
    score: NDArray[np.float32]
    renormalised: NDArray[np.float32]
    rank: NDArray[np.uint32]
    total: NDArray[np.float64]
    fate: NDArray[np.uint8]
    entropy: NDArray[np.float32]
    blocked: NDArray[np.float32]
    alternative_ids: NDArray[np.uint32]
    alternative_logprob: NDArray[np.float32]

    @property
    def near_tie(self) -> bool:
        """The best that was dropped is as good as the worst that was kept."""
        dropped = self.total[self.fate == Fate.DROPPED]
        kept = self.total[self.fate != Fate.DROPPED]
        return bool(len(dropped) and len(kept) and kept.min() - dropped.max() < NEAR_TIE)


@dataclass(frozen=True)
class Hypothesis:
    """One text that a search has found: the prompt and what follows it, n tokens in all.

    Attributes:
        trace: all tokens; those of the prompt have the model's numbers too, the very first has none.
        score: (n,) float32, after the processors; NaN for given tokens.
        renormalised: (n,) float32, probability after the processors; NaN for given tokens.
        blocked: (n,) float32, mass that the processors took away before each token; NaN for given tokens.
        path: (steps,) uint32, the candidate of each step that leads here.
        total: sum of the scores.
        final: what hypotheses are ranked by: the total, or the total after the length penalty.
        finished: it ended with an end of text.
    """

    trace: TokenTrace
    score: NDArray[np.float32]
    renormalised: NDArray[np.float32]
    blocked: NDArray[np.float32]
    path: NDArray[np.uint32]
    total: float
    final: float
    finished: bool


@dataclass(frozen=True)
class Generation:
    """Everything about one prompt.

    Attributes:
        prompt: as it was given: foreign text.
        hypotheses: best first.
        steps: the tree; empty if it was not recorded.
        pieces: token id to the bytes that it stands for, for every id in the tree.
        special: ids that are special tokens.
        notes: what a reader must know: fewer beams than asked for, near ties; sentences.
    """

    prompt: str
    hypotheses: tuple[Hypothesis, ...]
    steps: tuple[Step, ...]
    pieces: Mapping[int, bytes]
    special: frozenset[int]
    notes: tuple[str, ...] = ()
