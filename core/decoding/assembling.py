"""From what a search noted to what people read: generations, their hypotheses, and the tree."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..recipe.schema import Decoding
from ..tokens import TokenTrace
from .choosing import Ending
from .recording import Measured, Recorder
from .records import Generation, Hypothesis, Step
from .search import Found, Trail


@dataclass(frozen=True)
class Batch:
    """A batch of prompts that is searched.

    Attributes:
        prompts: their ids.
        settings: how they are searched.
        recorder: that took the numbers; None if nothing was recorded.
    """

    prompts: Sequence[Sequence[int]]
    settings: Decoding
    recorder: Recorder | None

    def known_ids(self, found: Found) -> list[int]:
        """Every id that is shown anywhere."""
        parts: list[NDArray[Any]] = [np.asarray(prompt, np.int64) for prompt in self.prompts]
        parts.extend(trail.candidates.ids.ravel() for trail in found.trails)
        if self.recorder is not None:
            parts.extend(step.alternative_ids.ravel() for step in self.recorder.steps)
            parts.extend(m.alternative_ids.ravel() for parts_ in self.recorder.prompts.values() for m in parts_)
        return np.unique(np.concatenate(parts)).tolist()

    def generations(self, found: Found, pieces: Mapping[int, bytes], special: frozenset[int]) -> Iterator[Generation]:
        """One for each prompt."""
        trees = [self.step(number, trail) for number, trail in enumerate(found.trails)]
        for prompt, ids in enumerate(self.prompts):
            steps = tuple(tree[prompt] for tree in trees if prompt in tree)
            hypotheses = tuple(
                self._hypothesis(found, prompt, ending, pieces, special) for ending in found.endings[prompt]
            )
            text = b"".join(pieces.get(i, b"") for i in ids if i not in special).decode("utf-8", "replace")
            yield Generation(text, hypotheses, steps, pieces, special, tuple(self._notes(found, prompt, steps)))

    def step(self, number: int, trail: Trail) -> dict[int, Step]:
        """By prompt, one step of its tree; none if nothing was recorded."""
        if self.recorder is None:
            return {}
        numbers = self.recorder.steps[number]
        live = trail.candidates.live.sum(1)
        rows = (trail.before > -np.inf).sum(1)
        columns: dict[str, NDArray[Any]] = {
            "parents": trail.candidates.parents.astype(np.uint32),
            "ids": trail.candidates.ids.astype(np.uint32),
            "logprob": trail.logprob,
            "score": trail.candidates.scores,
            "renormalised": numbers.renormalised,
            "rank": numbers.rank.astype(np.uint32),
            "total": trail.candidates.totals,
            "fate": trail.fates,
        }
        of_rows: dict[str, NDArray[Any]] = {
            "entropy": numbers.entropy,
            "blocked": numbers.blocked,
            "alternative_ids": numbers.alternative_ids.astype(np.uint32),
            "alternative_logprob": numbers.alternative_logprob,
        }
        return {
            prompt: Step(
                **{name: column[place, : live[place]] for name, column in columns.items()},
                **{name: column[place, : rows[place]] for name, column in of_rows.items()},
            )
            for place, prompt in enumerate(trail.active)
            if live[place]
        }

    def _hypothesis(
        self, found: Found, prompt: int, ending: Ending, pieces: Mapping[int, bytes], special: frozenset[int]
    ) -> Hypothesis:
        way = found.path(prompt, ending)
        given = len(self.prompts[prompt])
        numbers = _Numbers.empty(given + len(way), 0 if self.recorder is None else self.recorder.alternatives)
        if self.recorder is not None:
            for start, part in _placed(self.recorder.prompts.get(prompt, [])):
                numbers.take_prompt(slice(start, start + len(part.rank)), part)
        ids = [*self.prompts[prompt]]
        for place, (step, b, candidate) in enumerate(way, given):
            trail = found.trails[step]
            ids.append(int(trail.candidates.ids[b, candidate]))
            numbers.logprob[place] = trail.logprob[b, candidate]
            numbers.score[place] = trail.candidates.scores[b, candidate]
            if self.recorder is not None:
                numbers.take_step(
                    place, self.recorder.steps[step], b, candidate, trail.candidates.parents[b, candidate]
                )
        return Hypothesis(
            trace=TokenTrace(
                ids=np.asarray(ids, np.uint32),
                prompt_length=given,
                logprob=numbers.logprob,
                rank=numbers.rank,
                entropy=numbers.entropy,
                alternative_ids=numbers.alternative_ids,
                alternative_logprob=numbers.alternative_logprob,
                pieces=pieces,
                special=special,
            ),
            score=numbers.score,
            renormalised=numbers.renormalised,
            blocked=numbers.blocked,
            path=np.asarray([candidate for _, _, candidate in way], np.uint32),
            total=ending.total,
            final=ending.final,
            finished=ending.finished,
        )

    def _notes(self, found: Found, prompt: int, steps: Sequence[Step]) -> Iterator[str]:
        there, wanted = len(found.endings[prompt]), self.settings.rows
        if there < wanted:
            yield f"{there} of {wanted} texts: there were not enough tokens left to go on with"
        if prompt in found.starved:
            shortest = min(ending.step + 1 for ending in found.endings[prompt] if not ending.finished)
            yield f"a text ends after {shortest} tokens, since every token that could follow was blocked"
        if near := [str(number) for number, step in enumerate(steps, 1) if step.near_tie]:
            shown = ", ".join(near[:5]) + (f" and {len(near) - 5} more" if len(near) > 5 else "")
            yield f"near ties at step {shown}: other hardware may choose otherwise"


@dataclass(frozen=True)
class _Numbers:
    """Arrays of one hypothesis that are filled place by place."""

    logprob: NDArray[np.float32]
    rank: NDArray[np.uint32]
    entropy: NDArray[np.float32]
    score: NDArray[np.float32]
    renormalised: NDArray[np.float32]
    blocked: NDArray[np.float32]
    alternative_ids: NDArray[np.uint32]
    alternative_logprob: NDArray[np.float32]

    @classmethod
    def empty(cls, length: int, alternatives: int) -> "_Numbers":
        def unknown(*shape: int) -> NDArray[np.float32]:
            return np.full(shape, np.nan, np.float32)

        return cls(
            logprob=unknown(length),
            rank=np.zeros(length, np.uint32),
            entropy=unknown(length),
            score=unknown(length),
            renormalised=unknown(length),
            blocked=unknown(length),
            alternative_ids=np.zeros((length, alternatives), np.uint32),
            alternative_logprob=unknown(length, alternatives),
        )

    def take_prompt(self, places: slice, part: Measured) -> None:
        self.logprob[places], self.rank[places], self.entropy[places] = part.logprob, part.rank, part.entropy
        self.alternative_ids[places] = part.alternative_ids
        self.alternative_logprob[places] = part.alternative_logprob

    def take_step(self, place: int, step: Any, b: int, candidate: int, row: int) -> None:
        self.rank[place] = step.rank[b, candidate]
        self.renormalised[place] = step.renormalised[b, candidate]
        self.entropy[place], self.blocked[place] = step.entropy[b, row], step.blocked[b, row]
        self.alternative_ids[place] = step.alternative_ids[b, row]
        self.alternative_logprob[place] = step.alternative_logprob[b, row]


def _placed(parts: Sequence[Measured]) -> Iterator[tuple[int, Measured]]:
    """Parts of a prompt with the place of their first token; the text's first token has no numbers."""
    start = 1
    for part in parts:
        yield start, part
        start += len(part.rank)
