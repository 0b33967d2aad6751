"""What a search notes besides what it needs: ranks, entropies, alternatives, and what the processors took away.

Measuring a small step costs more in calls than in arithmetic, so that steps wait until several can be measured at
once. What needs the vocabulary is measured first, while it is still in a fast cache; the rest, later, for many steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .choosing import Candidates
from .taking import Best, Taken, best_of, what_was_taken

_ENOUGH = 2**16
"""Numbers that wait to be measured; more would not fit into a fast cache."""
_ENOUGH_SEEN = 2**18
"""Comparisons with a row's best that wait for others."""
_BITS = float(1 / np.log(2))


@dataclass(frozen=True)
class Measured:
    """Numbers of n tokens, given those before them; a alternatives.

    Attributes:
        logprob: (n,) float32, natural logarithm.
        rank: (n,) int64, 1 is the likeliest.
        entropy: (n,) float32, bits.
        alternative_ids: (n, a) int64, likeliest first.
        alternative_logprob: (n, a) float32.
    """

    logprob: NDArray[np.float32]
    rank: NDArray[np.int64]
    entropy: NDArray[np.float32]
    alternative_ids: NDArray[np.int64]
    alternative_logprob: NDArray[np.float32]


@dataclass(frozen=True)
class StepNumbers:
    """Numbers of one step: b prompts, r rows of each, c candidates, a alternatives.

    Attributes:
        renormalised: (b, c) float32.
        rank: (b, c) int64.
        entropy: (b, r) float32, bits.
        blocked: (b, r) float32.
        alternative_ids: (b, r, a) int64.
        alternative_logprob: (b, r, a) float32.
    """

    renormalised: NDArray[np.float32]
    rank: NDArray[np.int64]
    entropy: NDArray[np.float32]
    blocked: NDArray[np.float32]
    alternative_ids: NDArray[np.int64]
    alternative_logprob: NDArray[np.float32]


@dataclass(frozen=True)
class _Waiting:
    """A step that is still to be measured; rows are those of all prompts, one below the other."""

    logprob: Tensor  # (b·r, vocabulary)
    scores: Tensor  # the same tensor if there are no processors
    best: Best  # of the scores (b·r, m)
    candidates: Candidates
    candidate_logprob: NDArray[np.float32]


@dataclass(frozen=True)
class _Seen:
    """A step of which the vocabulary is not needed any more."""

    candidates: Candidates
    candidate_logprob: NDArray[np.float32]
    entropy: NDArray[np.float32]  # (b·r,)
    taken: Taken
    beyond: NDArray[np.int64]  # candidates, counted through, that are not among the best of their rows
    beyond_rank: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Prompts, candidates, rows and best of each; steps of one shape can be put together."""
        return *self.candidates.ids.shape, *self.taken.best[0].shape


class Recorder:
    """Measures steps and prompts.

    Attributes:
        alternatives: how many to record beside each token; not more than the vocabulary has.
        prompts_too: measure the tokens of prompts as well.
        steps: one for each step that is measured.
        prompts: by prompt, the numbers of its tokens from the second on; none if they are not measured.
    """

    def __init__(self, alternatives: int, prompts_too: bool):
        """Begin with nothing recorded."""
        self.alternatives = alternatives
        self.prompts_too = prompts_too
        self.steps: list[StepNumbers] = []
        self.prompts: dict[int, list[Measured]] = {}
        self._waiting: list[_Waiting] = []
        self._seen: list[_Seen] = []

    def add(
        self,
        logprob: Tensor,
        scores: Tensor,
        best: Best,
        candidates: Candidates,
        candidate_logprob: NDArray[np.float32],
    ) -> None:
        """Note a step; `flush` sees to it that it is in `steps`.

        Args:
            logprob: (b·r, vocabulary), the model's; must not be changed any more.
            scores: the same after the processors; the same tensor if there are none.
            best: values and ids (b·r, m) of the best of `scores`, m >= alternatives.
            candidates: (b, c).
            candidate_logprob: (b, c), the model's.
        """
        self._waiting.append(_Waiting(logprob, scores, best, candidates, candidate_logprob))
        if sum(each.logprob.numel() for each in self._waiting) >= _ENOUGH:
            self._look()

    def flush(self) -> None:
        """Measure the steps that wait."""
        self._look()
        seen, self._seen = self._seen, []
        for _, alike in groupby(seen, key=lambda each: each.shape):
            self.steps.extend(_steps(list(alike), self.alternatives))

    def _look(self) -> None:
        """Measure what needs the vocabulary."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        entropy = _entropy(_joined([each.logprob for each in waiting]))
        first = 0
        for each in waiting:
            rows = slice(first, first + len(each.logprob))
            first = rows.stop
            taken = what_was_taken(each.logprob, each.scores, each.best)
            beyond = _beyond(each, taken.best[0])
            self._seen.append(_Seen(each.candidates, each.candidate_logprob, entropy[rows], taken, *beyond))
        if sum(each.candidates.ids.size * each.shape[-1] for each in self._seen) >= _ENOUGH_SEEN:
            self.flush()

    def add_prompts(self, owners: Tensor, logprob: Tensor, ids: Tensor) -> None:
        """Measure tokens of prompts: (n,) whose they are, in rising order, (n, vocabulary) and (n,)."""
        measured = measure(logprob, ids, self.alternatives)
        prompts, starts = np.unique(owners.cpu().numpy(), return_index=True)
        for prompt, start, end in zip(prompts, starts, [*starts[1:], len(ids)], strict=True):
            part = Measured(**{name: column[start:end] for name, column in vars(measured).items()})
            self.prompts.setdefault(int(prompt), []).append(part)


def measure(logprob: Tensor, ids: Tensor, alternatives: int) -> Measured:
    """Numbers of tokens (n,) under log-probabilities (n, vocabulary)."""
    chosen = logprob.gather(1, ids[:, None])
    values, likeliest = best_of(logprob, alternatives)
    return Measured(
        logprob=chosen[:, 0].cpu().numpy(),
        rank=(logprob > chosen).sum(1).add(1).cpu().numpy(),
        entropy=_entropy(logprob),
        alternative_ids=likeliest,
        alternative_logprob=values,
    )


def _steps(seen: Sequence[_Seen], alternatives: int) -> Iterator[StepNumbers]:
    """The numbers of steps of one shape."""
    steps = len(seen)
    b, c, all_rows, _ = seen[0].shape
    rows = all_rows // b
    candidates = [each.candidates for each in seen]
    at = np.arange(steps * b).reshape(steps, b, 1) * rows + np.stack([each.parents for each in candidates])
    values = np.concatenate([each.taken.best[0] for each in seen])
    ids = np.concatenate([each.taken.best[1] for each in seen])
    left = np.concatenate([each.taken.left for each in seen])
    chosen = np.stack([each.candidate_logprob for each in seen])
    renormalised = np.exp(np.minimum(np.stack([each.scores for each in candidates]) - left[at], 0)).astype(np.float32)
    rank = (values[at] > chosen[..., None]).sum(3) + 1
    for number, each in enumerate(seen):
        rank[number].reshape(b * c)[each.beyond] = each.beyond_rank
    shape = steps, b, rows, -1
    shown = ids[:, :alternatives].reshape(shape), values[:, :alternatives].reshape(shape)
    for number, each in enumerate(seen):
        yield StepNumbers(
            renormalised=renormalised[number],
            rank=rank[number],
            entropy=each.entropy.reshape(b, rows),
            blocked=each.taken.blocked.reshape(b, rows),
            alternative_ids=shown[0][number],
            alternative_logprob=shown[1][number],
        )


def _beyond(step: _Waiting, best: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The candidates, counted through, that are not among the best of their rows, and their ranks, counted out."""
    none = np.zeros(0, np.int64)
    if best.shape[1] == step.logprob.shape[1]:
        return none, none
    at = np.arange(len(step.candidates.ids))[:, None] * (len(best) // len(step.candidates.ids))
    at = at + step.candidates.parents
    beyond = (best[at, -1] > step.candidate_logprob) & step.candidates.live
    if not beyond.any():
        return none, none
    device = step.logprob.device
    rows = step.logprob[torch.from_numpy(at[beyond]).to(device)]
    chosen = torch.from_numpy(step.candidate_logprob[beyond]).to(device)
    return np.flatnonzero(beyond), (rows > chosen[:, None]).sum(1).add(1).cpu().numpy()


def _entropy(logprob: Tensor) -> NDArray[np.float32]:
    """(n,) bits; 0 · log 0 counts as 0."""
    chances = logprob.exp()
    found = _dot(chances, logprob)
    if np.isnan(found).any():
        found = _dot(chances, logprob.clamp_min(torch.finfo(logprob.dtype).min))
    return -found * np.float32(_BITS)


def _dot(one: Tensor, other: Tensor) -> NDArray[np.float32]:
    """Row by row; on a CPU numpy takes half as long as torch."""
    if one.device.type == "cpu":
        with np.errstate(invalid="ignore"):
            return np.vecdot(one.numpy(), other.numpy())
    return torch.linalg.vecdot(one, other).cpu().numpy()


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
