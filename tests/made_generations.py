"""Generations built by hand: any tokens, hostile ones among them, and a search of two steps to draw."""

import math

import numpy as np
from lmwb.core.decoding.records import Fate, Generation, Hypothesis, Step
from lmwb.core.tokens import TokenTrace

HOSTILE = (
    b"\x1b]0;owned\x07", b"\x1b[2J", "\x9b31m".encode(), b"\x9b", b"\x00", b"\x7f", b"\r", b"\n", b"\t", b"\b",
    "\u202eevil\u202c".encode(), "\u2066".encode(), "\u200d".encode(), "\u2028".encode(), b"[/]", b"[red]",
    b"[@click=app.quit]x", b"\xe6", b"\x97", b"\xff", b"\xed\xa0\x80", "世界".encode(), "\u0301".encode(), b"", b'"\\',
    b"</s>",
)  # fmt: skip
"""Pieces that try to steer a terminal, to be read as markup, or to break off in the middle of a character."""


def trace(pieces, prompt=0, logprob=None, special=(), alternatives=2):
    """These tokens, each with an id of its own; the alternatives of each are the first ids."""
    n, k = len(pieces), min(alternatives, len(pieces))
    numbers = np.full(n, math.log(0.5), np.float32) if logprob is None else np.array(logprob, np.float32)
    numbers[:1] = math.nan
    alternative_logprob = np.full((n, k), math.log(0.25), np.float32)
    alternative_logprob[:1] = math.nan
    return TokenTrace(
        ids=np.arange(n, dtype=np.uint32),
        prompt_length=prompt,
        logprob=numbers,
        rank=np.array([0, *[1] * (n - 1)][:n], np.uint32),
        entropy=np.where(np.isnan(numbers), math.nan, 2.5).astype(np.float32),
        alternative_ids=np.tile(np.arange(k, dtype=np.uint32), (n, 1)),
        alternative_logprob=alternative_logprob,
        pieces=dict(enumerate(pieces)),
        special=frozenset(special),
    )


def hypothesis(tokens, path=(), score=None):
    """A hypothesis of a trace; its scores are the log-probabilities if not given."""
    n = len(tokens)
    given = np.arange(n) < tokens.prompt_length
    score = np.where(given, math.nan, tokens.logprob if score is None else score).astype(np.float32)
    total = float(np.nansum(score.astype(np.float64)))
    return Hypothesis(
        trace=tokens,
        score=score,
        renormalised=np.where(given, math.nan, np.minimum(1, np.exp(np.minimum(score, 0)) * 1.25)).astype(np.float32),
        blocked=np.where(given, math.nan, 0.2).astype(np.float32),
        path=np.array(path, np.uint32),
        total=total,
        final=total,
        finished=False,
    )


def hostile(pieces=HOSTILE):
    """A prompt of a token and then every hostile piece, as if the model had said it."""
    tokens = trace([b"a", *pieces], prompt=1, special=[len(pieces)])
    return Generation(
        prompt="a \x1b[31m[/] \udcff",
        hypotheses=(hypothesis(tokens, [0] * len(pieces)),),
        steps=tuple(step([(0, i, -0.7, Fate.KEPT), (0, 0, -1.4, Fate.DROPPED)], 1) for i in range(1, len(pieces) + 1)),
        pieces=tokens.pieces,
        special=tokens.special,
        notes=("a note with \x1b[0m",),
    )


def step(candidates, rows, blocked=0.0):
    """One step from (parent, id, total, fate) each; a token's score is half of the total."""
    parents, ids, totals, fates = zip(*candidates, strict=True)
    logprob = np.array(totals, np.float32) / 2
    return Step(
        parents=np.array(parents, np.uint32),
        ids=np.array(ids, np.uint32),
        logprob=logprob,
        score=logprob,
        renormalised=np.exp(logprob),
        rank=np.arange(1, len(ids) + 1, dtype=np.uint32),
        total=np.array(totals, np.float64),
        fate=np.array(fates, np.uint8),
        entropy=np.full(rows, 1.5, np.float32),
        blocked=np.full(rows, blocked, np.float32),
        alternative_ids=np.tile(np.arange(2, dtype=np.uint32), (rows, 1)),
        alternative_logprob=np.full((rows, 2), math.log(0.25), np.float32),
    )
