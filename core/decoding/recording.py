"""What a search notes besides what it needs: ranks, entropies, alternatives, and what the processors took away.

Measuring a small step costs more in calls than in arithmetic, so that steps wait until several can be measured at
once; a large step is measured at once.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .choosing import Candidates

_ENOUGH = 2**16
"""Numbers that wait to be measured; more would not fit into a fast cache."""
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
    best: tuple[NDArray[np.float32], NDArray[np.int64]]  # the best of the scores (b·r, m)
    candidates: Candidates
    candidate_logprob: NDArray[np.float32]


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

    def add(
        self,
        logprob: Tensor,
        scores: Tensor,
        best: tuple[NDArray[np.float32], NDArray[np.int64]],
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
            self.flush()

    def flush(self) -> None:
        """Measure the steps that wait."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        logprob = _joined([each.logprob for each in waiting])
        chances = logprob.exp()
        entropy = (-_dot(chances, logprob) * _BITS).cpu().numpy()
        first = 0
        for each in waiting:
            rows = slice(first, first + len(each.logprob))
            first = rows.stop
            self.steps.append(self._step(each, chances[rows], entropy[rows]))

    def add_prompts(self, owners: Tensor, logprob: Tensor, ids: Tensor) -> None:
        """Measure tokens of prompts: (n,) whose they are, in rising order, (n, vocabulary) and (n,)."""
        measured = measure(logprob, ids, self.alternatives)
        prompts, starts = np.unique(owners.cpu().numpy(), return_index=True)
        for prompt, start, end in zip(prompts, starts, [*starts[1:], len(ids)], strict=True):
            part = Measured(**{name: column[start:end] for name, column in vars(measured).items()})
            self.prompts.setdefault(int(prompt), []).append(part)

    def _step(self, step: _Waiting, chances: Tensor, entropy: NDArray[Any]) -> StepNumbers:
        b, _ = step.candidates.ids.shape
        rows = len(step.logprob) // b
        at = np.arange(b)[:, None] * rows + step.candidates.parents
        left, blocked = np.zeros((2, len(step.logprob)), np.float32)
        values, ids = step.best
        changed = _changed(step)
        if len(changed):  # often the processors find nothing to block
            place = torch.from_numpy(changed).to(chances.device)
            scores, chances = step.scores[place], chances[place]
            left[changed] = scores.logsumexp(1).cpu().numpy()
            gone = torch.linalg.vecdot(chances, torch.isneginf(scores).to(chances.dtype))
            blocked[changed] = gone.clamp(0, 1).cpu().numpy()
            values, ids = values.copy(), ids.copy()
            values[changed], ids[changed] = _best(step.logprob[place], values.shape[1])
        shares = np.exp(np.minimum(step.candidates.scores - left[at], 0))
        return StepNumbers(
            renormalised=shares.astype(np.float32),
            rank=_ranks(step, values, at),
            entropy=entropy.reshape(b, rows),
            blocked=blocked.reshape(b, rows),
            alternative_ids=ids[:, : self.alternatives].reshape(b, rows, self.alternatives),
            alternative_logprob=values[:, : self.alternatives].reshape(b, rows, self.alternatives),
        )


def measure(logprob: Tensor, ids: Tensor, alternatives: int) -> Measured:
    """Numbers of tokens (n,) under log-probabilities (n, vocabulary)."""
    chosen = logprob.gather(1, ids[:, None])
    values, likeliest = _best(logprob, alternatives)
    return Measured(
        logprob=chosen[:, 0].cpu().numpy(),
        rank=(logprob > chosen).sum(1).add(1).cpu().numpy(),
        entropy=(-_dot(logprob.exp(), logprob) * _BITS).cpu().numpy(),
        alternative_ids=likeliest,
        alternative_logprob=values,
    )


def _best(logprob: Tensor, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    found = logprob.topk(min(count, logprob.shape[1]))
    return found.values.cpu().numpy(), found.indices.cpu().numpy()


def _ranks(step: _Waiting, best: NDArray[np.float32], at: NDArray[np.int64]) -> NDArray[np.int64]:
    """(b, c); what is not among the best of its row is counted out."""
    chosen = step.candidate_logprob
    ranks = (best[at] > chosen[:, :, None]).sum(2) + 1
    if best.shape[1] == step.logprob.shape[1]:
        return ranks
    beyond = (ranks > best.shape[1]) & step.candidates.live
    if beyond.any():
        device = step.logprob.device
        rows = step.logprob[torch.from_numpy(at[beyond]).to(device)]
        ranks[beyond] = (rows > torch.from_numpy(chosen[beyond]).to(device)[:, None]).sum(1).add(1).cpu().numpy()
    return ranks


def _changed(step: _Waiting) -> NDArray[np.int64]:
    """The rows whose scores are not the model's."""
    if step.scores is step.logprob:
        return np.zeros(0, np.int64)
    difference = (step.scores - step.logprob).abs().amax(1).cpu().numpy()
    return np.flatnonzero(difference != 0)


def _dot(chances: Tensor, logprob: Tensor) -> Tensor:
    """Row by row; 0 · log 0 counts as 0."""
    found = torch.linalg.vecdot(chances, logprob)
    if found.isnan().any():
        found = torch.linalg.vecdot(chances, logprob.clamp_min(torch.finfo(logprob.dtype).min))
    return found


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
