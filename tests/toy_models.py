"""A stand-in for the model service: a language of a few words, searched in numpy, at once."""

import asyncio
import math

import numpy as np
from lmwb.core.decoding.client import ModelFacts
from lmwb.core.decoding.records import Fate, Generation, Hypothesis, Step
from lmwb.core.errors import UsageError
from lmwb.core.tokens import TokenTrace

WORDS = (" the", " cat", " sat", " on", " a", " mat", " and", " dog", " ran", " to", " house", ".", ",", " big", " red",
         " saw", "\n", " 模型", " é", " with")  # fmt: skip
ALTERNATIVES = 6


class ToyModels:
    """Every name is a model, but those that begin with `no`.

    Attributes:
        questions: (what, model, prompt or None, settings or None) of each.
        cancelled: how many searches were.
        gate: searches stop after their first step until it is set.
        troubles: raised by the next searches, one each.
    """

    def __init__(self, words=WORDS):
        self.words = [word if isinstance(word, bytes) else word.encode() for word in words]
        self.questions = []
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.loading = asyncio.Event()
        self.loading.set()
        self.troubles = []
        self.closed = False
        self.strange = {}

    async def load(self, model, on_note=None):
        self.questions.append(("load", model, None, None))
        await self.loading.wait()
        if model.startswith("no"):
            raise UsageError(f"there is no run '{model}'; `lmwb runs` lists them")
        return ModelFacts(model, "cpu", 512, 260_032, "other" if model.startswith("other") else "toy")

    async def generate(self, model, prompt, settings, on_step=None, on_note=None):
        self.questions.append(("generate", model, prompt, dict(settings)))
        if self.troubles:
            raise self.troubles.pop(0)
        try:
            if on_step is not None:
                on_step(1, settings["tokens"])
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self._search(model, prompt, settings)

    async def score(self, model, text, alternatives=8, on_note=None):
        self.questions.append(("score", model, text, None))
        if not text:
            raise UsageError("there is no text to score")
        ids, pieces = self.ids_of(text) if isinstance(text, str) else (list(text), self.strange)
        return self._read(model, ids, pieces)

    async def close(self):
        self.closed = True

    def ids_of(self, prompt):
        """A text's ids, one for each word; unknown words get ids of their own beyond the vocabulary."""
        pieces = {len(self.words) + i: piece.encode("utf-8", "replace") for i, piece in enumerate(_split(prompt))}
        self.strange = pieces
        return list(pieces), pieces

    def _search(self, model, prompt, settings):
        ids, pieces = self.ids_of(prompt) if isinstance(prompt, str) else (list(prompt), {})
        pieces = {**dict(enumerate(self.words)), **pieces, **{i: b" x" for i in ids if i >= len(self.words)}, **pieces}
        width = settings.get("beams", settings.get("samples", 1))
        rows, totals, steps = [(ids, ())], [0.0], []
        for _ in range(settings["tokens"]):
            step, rows, totals = self._step(model, rows, totals, width)
            steps.append(step)
        hypotheses = tuple(
            self._hypothesis(row, len(ids), path, total, steps, pieces)
            for (row, path), total in zip(rows, totals, strict=True)
        )
        text = prompt if isinstance(prompt, str) else b"".join(pieces[i] for i in ids).decode("utf-8", "replace")
        return Generation(text, hypotheses, tuple(steps), pieces, frozenset(), ())

    def _read(self, model, ids, pieces):
        """What a model thinks of these tokens; words that it does not know have a chance of one in a thousand."""
        pieces = {**dict(enumerate(self.words)), **{i: b" x" for i in ids if i >= len(self.words)}, **pieces}
        n, lines = len(ids), [self._logprob(model, last) for last in ids[:-1]]
        logprob = np.array(
            [np.nan, *(line[i] if i < len(line) else -math.log(1000) for line, i in zip(lines, ids[1:], strict=True))],
            np.float32,
        )
        orders = [np.argsort(-line)[:ALTERNATIVES] for line in lines]
        zeros = np.zeros((1, ALTERNATIVES))
        return TokenTrace(
            np.array(ids, np.uint32), n, logprob, np.where(np.isnan(logprob), 0, 1).astype(np.uint32), 0 * logprob + 1,
            np.concatenate([zeros, *[order[None] for order in orders]]).astype(np.uint32),
            np.concatenate([zeros + np.nan, *[line[order][None] for line, order in zip(lines, orders, strict=True)]])
            .astype(np.float32), pieces,
        )  # fmt: skip

    def _logprob(self, model, last):
        chance = np.random.default_rng([len(model), last])
        return np.log(chance.dirichlet(np.full(len(self.words), 0.15)) + 1e-9)

    def _step(self, model, rows, totals, width):
        table = np.stack([self._logprob(model, row[-1] if row else 0) for row, _ in rows])
        sums = np.array(totals)[:, None] + table
        best = np.argsort(-sums.ravel(), kind="stable")[: 2 * width]
        parents, chosen = np.divmod(best, len(self.words))
        logprob = table[parents, chosen]
        order = np.argsort(-table, axis=1)[:, :ALTERNATIVES]
        step = Step(
            parents=parents.astype(np.uint32),
            ids=chosen.astype(np.uint32),
            logprob=logprob.astype(np.float32),
            score=logprob.astype(np.float32),
            renormalised=np.exp(logprob).astype(np.float32),
            rank=np.array(
                [1 + (table[p] > table[p, c]).sum() for p, c in zip(parents, chosen, strict=True)], np.uint32
            ),
            total=sums.ravel()[best],
            fate=np.where(np.arange(len(best)) < width, Fate.KEPT, Fate.DROPPED).astype(np.uint8),
            entropy=(-(np.exp(table) * table).sum(1) / math.log(2)).astype(np.float32),
            blocked=np.zeros(len(rows), np.float32),
            alternative_ids=order.astype(np.uint32),
            alternative_logprob=np.take_along_axis(table, order, 1).astype(np.float32),
        )
        kept = range(min(width, len(best)))
        grown = [(rows[parents[i]][0] + [int(chosen[i])], (*rows[parents[i]][1], i)) for i in kept]
        return step, grown, [float(step.total[i]) for i in kept]

    def _hypothesis(self, ids, given, path, total, steps, pieces):
        n = len(ids)
        numbers = {name: np.full(n, np.nan, np.float32) for name in ("logprob", "entropy", "score", "renormalised")}
        rank = np.zeros(n, np.uint32)
        alternative_ids = np.zeros((n, ALTERNATIVES), np.uint32)
        alternative_logprob = np.full((n, ALTERNATIVES), np.nan, np.float32)
        for at, (step, i) in enumerate(zip(steps, path, strict=True), start=given):
            row = int(step.parents[i])
            for name in ("logprob", "score", "renormalised"):
                numbers[name][at] = getattr(step, name)[i]
            numbers["entropy"][at], rank[at] = step.entropy[row], step.rank[i]
            alternative_ids[at], alternative_logprob[at] = step.alternative_ids[row], step.alternative_logprob[row]
        trace = TokenTrace(
            np.array(ids, np.uint32), given, numbers["logprob"], rank, numbers["entropy"], alternative_ids,
            alternative_logprob, pieces,
        )  # fmt: skip
        blocked = np.where(np.arange(n) < given, np.nan, 0).astype(np.float32)
        path = np.array(path, np.uint32)
        return Hypothesis(trace, numbers["score"], numbers["renormalised"], blocked, path, total, total, False)


def _split(text):
    first, *others = text.split(" ")
    return [first, *(f" {word}" for word in others)] if text else ["<s>"]
