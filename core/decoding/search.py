"""The search itself, over ids: prompts in, the texts found and how they were found out.

A prompt is read once, alone or with others of about its length, padded on the left; its memory is repeated for each
row. A step then costs the model's last position, the best few tokens of each row, and one new order of what the cache
holds of the generated part.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import TrainingError, UsageError
from ..recipe.schema import Decoding
from . import cache as caches
from .choosing import Candidates, Chooser, Ending, Rows, take
from .picking import picker
from .processors import Step as Processing
from .recording import Recorder

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CHUNK = 2**24
"""Logits of prompts that are held at a time."""


@dataclass(frozen=True)
class Trail:
    """One step of a batch: everything needed to walk back from a text to its prompt.

    Attributes:
        active: the prompts (places in the batch) that the rows of the arrays are for.
        before: (b, r) float64, totals of the rows that went in.
        candidates: (b, c).
        fates: (b, c).
        rows: (b, r) the candidate that each row of the next step was.
        logprob: (b, c) float32, the model's.
    """

    active: tuple[int, ...]
    before: NDArray[np.float64]
    candidates: Candidates
    fates: NDArray[np.uint8]
    rows: NDArray[np.int64]
    logprob: NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """What a search over a batch of prompts has found.

    Attributes:
        endings: for each prompt, its texts, best first.
        starved: prompts with a row that nothing could follow.
        trails: one for each step.
    """

    endings: list[list[Ending]]
    starved: frozenset[int]
    trails: list[Trail]

    def path(self, prompt: int, ending: Ending) -> list[tuple[int, int, int]]:
        """(step, the prompt's place in the step's arrays, candidate) from the first generated token to the last."""
        way: list[tuple[int, int, int]] = []
        candidate = ending.candidate
        for step in range(ending.step, -1, -1):
            trail = self.trails[step]
            place = trail.active.index(prompt)
            way.append((step, place, candidate))
            if step:
                row = trail.candidates.parents[place, candidate]
                earlier = self.trails[step - 1]
                candidate = int(earlier.rows[earlier.active.index(prompt), row])
        return way[::-1]


@torch.inference_mode()
def search(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    settings: Decoding,
    ends: Sequence[int] = (),
    processors: Sequence[Processing] = (),
    recorder: Recorder | None = None,
    on_step: Callable[[int, Trail], None] | None = None,
    numbers: Sequence[int] | None = None,
) -> Found:
    """Search over a batch of prompts.

    Args:
        model: in evaluation mode.
        prompts: ids, none empty, none too long.
        settings: how to search.
        ends: ids that end a text; none if the end of text is a token like any other.
        processors: in order.
        recorder: takes the numbers that hypotheses and trees show.
        on_step: hears of every step, from 0; the recorder has measured it then.
        numbers: what errors call the prompts, from 0; their places in the batch if not given.

    Raises:
        UsageError: the model keeps no memory of what it has read.
        TrainingError: the model's numbers are not finite.
    """
    reader = _Reader(model, prompts, settings)
    chooser = Chooser(settings, len(prompts), ends, settings.tokens)
    pick = picker(settings, chooser.width, 0 if recorder is None else recorder.alternatives)
    trails: list[Trail] = []
    starved: set[int] = set()
    active = list(range(len(prompts)))
    numbers = active if numbers is None else numbers
    rows = Rows.first(len(prompts))
    logits = reader.read(recorder)
    for step in range(settings.tokens):
        logprob = logits.float().log_softmax(1)
        scores = reader.processed(logprob, processors)
        candidates, best = pick(scores, rows, step)
        _check_finite(logprob, scores, candidates, best, step, [numbers[prompt] for prompt in active])
        plain = scores is logprob
        chosen = candidates.scores if plain else _gathered(logprob, candidates, rows)
        fates = chooser.fates(candidates, step)
        starved |= _starve(chooser, candidates, rows, active, step)
        following = chooser.next_rows(candidates, fates)
        through = chooser.end(active, candidates, fates, following, step)
        trails.append(Trail(tuple(active), rows.totals, candidates, fates, following.candidates, chosen))
        if recorder is not None:
            recorder.add(logprob, scores, best, candidates, chosen)
        if on_step is not None:
            if recorder is not None:
                recorder.flush()
            on_step(step, trails[-1])
        if through.all():
            break
        stay = np.flatnonzero(~through)
        logits = reader.advance(stay, candidates, following)
        active = [active[place] for place in stay]
        rows = following.of(stay)
    if recorder is not None:
        recorder.flush()
    endings = [sorted(known, key=lambda ending: -ending.final) for known in chooser.ended]
    return Found(endings, frozenset(starved), trails)


class _Reader:
    """Lets the model read: the prompts, then one token for each row."""

    def __init__(self, model: "PreTrainedModel", prompts: Sequence[Sequence[int]], settings: Decoding):
        self._model: Any = model
        self._device = next(model.parameters()).device
        self._knows = frozenset(inspect.signature(model.forward).parameters)
        if "past_key_values" not in self._knows:
            raise UsageError(f"a {type(model).__name__} keeps no keys and values, which searching needs")
        self._steps = settings.tokens
        self._lengths = np.array([len(prompt) for prompt in prompts])
        self._longest = int(self._lengths.max())
        self._step = 0
        self._width = 1
        ids = np.zeros((len(prompts), self._longest), np.int64)
        for place, prompt in enumerate(prompts):
            ids[place, self._longest - len(prompt) :] = prompt
        self._ids = torch.from_numpy(ids).to(self._device)
        self._texts: Tensor | None = None
        self._mask: Tensor | None = None
        if (self._lengths < self._longest).any():
            real = np.ones((len(prompts), self._longest + self._steps), np.int64)
            real[:, : self._longest] = np.arange(self._longest) >= (self._longest - self._lengths)[:, None]
            self._mask = torch.from_numpy(real).to(self._device)
        self._cache = caches.empty(model)

    def read(self, recorder: Recorder | None) -> Tensor:
        """(prompts, vocabulary) the logits that follow the prompts."""
        if recorder is None or not recorder.prompts_too:
            return self._forward(self._ids, 0, last=True)
        chunk = max(1, _CHUNK // (len(self._ids) * self._model.config.get_text_config().vocab_size))
        logits = None
        for start in range(0, self._longest, chunk):
            part = self._ids[:, start : start + chunk]
            logits = self._forward(part, start, last=False)
            self._measure_prompts(recorder, logits, start)
            logits = logits[:, -1]
        assert logits is not None
        return logits

    def _measure_prompts(self, recorder: Recorder, logits: Tensor, start: int) -> None:
        """Logits of the prompts' places from `start` on tell of the tokens one further on."""
        targets = self._ids[:, start + 1 : start + 1 + logits.shape[1]]
        logits = logits[:, : targets.shape[1]]
        real = torch.ones_like(targets, dtype=torch.bool)
        if self._mask is not None:
            real = self._mask[:, start : start + targets.shape[1]].bool()
        if real.any():
            owners = torch.arange(len(targets), device=self._device)[:, None].expand_as(targets)
            recorder.add_prompts(owners[real], logits[real].float().log_softmax(1), targets[real])

    def processed(self, logprob: Tensor, processors: Sequence[Processing]) -> Tensor:
        """The scores that the processors make of log-probabilities."""
        if not processors:
            return logprob
        if self._texts is None:  # padding is told by an id that no token has
            self._texts = self._ids.clone()
            if self._mask is not None:
                self._texts[self._mask[:, : self._longest] == 0] = logprob.shape[1]
        scores = logprob
        for process in processors:
            scores = process(self._texts, self._longest, scores)
        return scores

    def advance(self, stay: NDArray[np.int64], candidates: Candidates, rows: Rows) -> Tensor:
        """(rows, vocabulary) the logits that follow the rows of the prompts that stay."""
        chosen = rows.candidates[stay]
        parents = take(candidates.parents[stay], chosen)
        tokens = take(candidates.ids[stay], chosen)
        order = (stay[:, None] * self._width + parents).ravel()
        index = torch.from_numpy(order).to(self._device)
        ids = torch.from_numpy(np.ascontiguousarray(tokens).reshape(-1, 1)).to(self._device)
        width = chosen.shape[1]
        if self._step == 0:
            caches.spread(self._cache, torch.from_numpy(stay).to(self._device), width, self._steps - 1)
        elif len(order) != len(candidates.ids) * self._width or (order[1:] <= order[:-1]).any() or order[0] != 0:
            caches.follow(self._cache, index, same_prompts=len(stay) == len(candidates.ids))
        if self._texts is not None:
            self._texts = torch.cat([self._texts.index_select(0, index), ids], 1)
        if self._mask is not None and (self._step == 0 or len(stay) < len(candidates.ids)):
            self._mask = self._mask.index_select(0, index)
        self._lengths = self._lengths[stay]
        self._width = width
        self._step += 1
        return self._forward(ids, self._longest + self._step - 1, last=True)

    def _forward(self, ids: Tensor, start: int, last: bool) -> Tensor:
        """Logits of ids (rows, n) that stand from `start` on: of the last place (rows, vocabulary), or of all."""
        end = start + ids.shape[1]
        more: dict[str, Any] = {}
        if self._mask is not None:
            more["attention_mask"] = self._mask[:, :end]
            if "position_ids" in self._knows:
                more["position_ids"] = self._positions(start, end)
        if last and ids.shape[1] > 1 and "logits_to_keep" in self._knows:
            more["logits_to_keep"] = 1
        logits = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, **more).logits
        return logits[:, -1] if last else logits

    def _positions(self, start: int, end: int) -> Tensor:
        """(rows, places) each token's place in its own text; 0 for padding."""
        padding = np.repeat(self._longest - self._lengths, self._width)
        places = np.maximum(np.arange(start, end) - padding[:, None], 0)
        return torch.from_numpy(places).to(self._device)


def _starve(chooser: Chooser, candidates: Candidates, rows: Rows, active: Sequence[int], step: int) -> set[int]:
    """Let texts end that nothing can follow: a prompt's rows all together, or one by one if they do not compete."""
    live = candidates.live
    found: set[int] = set()
    if live.shape[1] and live[:, 0].all() and (chooser.competing or live.all()):
        return found
    for place, prompt in enumerate(active):
        gone_on = set(candidates.parents[place, live[place]].tolist())
        if gone_on and chooser.competing:
            continue
        lost = [row for row in np.flatnonzero(rows.totals[place] > -np.inf).tolist() if row not in gone_on]
        if lost:
            found.add(prompt)
            chooser.starve(prompt, [(int(rows.candidates[place, r]), float(rows.totals[place, r])) for r in lost], step)
    return found


def _gathered(logprob: Tensor, candidates: Candidates, rows: Rows) -> NDArray[np.float32]:
    """(b, c) the model's log-probability of each candidate."""
    at = np.arange(len(candidates.ids))[:, None] * rows.totals.shape[1] + candidates.parents
    index = torch.from_numpy(at).to(logprob.device), torch.from_numpy(candidates.ids).to(logprob.device)
    return logprob[index].cpu().numpy()


def _check_finite(
    logprob: Tensor,
    scores: Tensor,
    candidates: Candidates,
    best: tuple[NDArray[np.float32], NDArray[np.int64]],
    step: int,
    numbers: Sequence[int],
) -> None:
    """Refuse to go on from numbers that are none; softmax makes a whole row of them."""
    bad = np.isnan(best[0][:, 0]) | np.isposinf(best[0][:, 0])
    said = "model's"
    if scores is not logprob:
        ill = logprob[:, 0].isnan().cpu().numpy()
        said = "model's" if ill.any() else "score processors'"
        bad |= ill
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        prompt, row = divmod(row, len(bad) // len(candidates.ids))
        raise TrainingError(
            f"the {said} numbers are not finite: step {step + 1}, prompt {numbers[prompt] + 1}, row {row + 1}"
        )
