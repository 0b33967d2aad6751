"""From the answers of a stage of influence to a report that people can look at: texts, tokens, and steps."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..data.tokenizer import token_pieces
from ..influence import SIGN, Answer, Profile, Side
from ..influence_report import Answers, Found, Report
from ..recipe.schema import InformationGain
from ..training.objective import Objective
from .asked import Spans
from .row_texts import query_text, row_text
from .studied import Studied

_MOST_TOKENS = 1_000_000
"""Tokens of batches that a report may hold beside those of its answers."""


@dataclass(frozen=True)
class Findings:
    """What a stage has found.

    Attributes:
        queries: what was asked.
        spans: which of their tokens.
        losses: of the queries, in nats.
        answers: by strategy.
        self_scores: by strategy, the score of each training row with itself, if they were asked for.
        notes: what the work has told.
        profile: where the time went.
    """

    queries: Side
    spans: Spans
    losses: Sequence[float]
    answers: Mapping[str, Answer]
    self_scores: Mapping[str, NDArray[np.float64]]
    notes: Sequence[str]
    profile: Profile


def make_report(studied: Studied, found: Findings, top: int) -> Report:
    """Put together what people look at.

    Args:
        studied: the training.
        found: what the stage has found.
        top: how many rows with the highest scores with themselves are told.
    """
    answers = {strategy: _answers(each) for strategy, each in found.answers.items()}
    own = {strategy: _highest(scores, top) for strategy, scores in found.self_scores.items()}
    groups = [group for all_ in answers.values() for each in all_ for group in (each.best, each.worst)]
    rows = {each.row for group in [*groups, *own.values()] for each in group}
    seen, notes = _seen(studied, rows), list(found.notes)
    if not seen and (why := _why_unknown(studied)):
        notes.append(why)
    batches = _batches(studied, {places[0][0] for places in seen.values() if places})
    shown = rows | {row for batch in batches.values() for row in batch}
    train = studied.material.train
    if _tokens(train, shown) > _tokens(train, rows) + _MOST_TOKENS:
        notes.append("the batches in which rows were seen are left out of the report, having too many tokens")
        batches, shown = {}, rows
    texts = {row: row_text(studied, train, row, seen.get(row, ())) for row in sorted(shown)}
    asked = tuple(
        replace(
            query_text(studied, found.queries.objective, row, found.spans.get(row)),
            loss=loss if math.isfinite(loss) else None,
        )
        for row, loss in zip(found.queries.rows, found.losses, strict=True)
    )
    tokenizer = studied.material.tokenizer
    ids = sorted({token for text in [*texts.values(), *asked] for token in text.ids})
    return Report(
        of=studied.name,
        sign=SIGN,
        queries=asked,
        answers=answers,
        rows=texts,
        batches=batches,
        training_rows=len(train),
        pieces={} if tokenizer is None else token_pieces(tokenizer, ids),
        special=frozenset() if tokenizer is None else frozenset(tokenizer.all_special_ids) & set(ids),
        profile=found.profile.rows(),
        notes=tuple(notes),
        self_scores=own,
    )


# -- scores -----------------------------------------------------------------------------------------


def _answers(answer: Answer) -> tuple[Answers, ...]:
    """By query, the best and worst rows with the scores of their tokens, as far as these were asked for."""
    wanted = {int(row) for row in [*answer.best.rows.ravel(), *answer.worst.rows.ravel()]}
    of_all = answer.all_token_scores(wanted) if answer.parts else {}

    def found(query: int, rows: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[Found, ...]:
        told: list[Found] = []
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
            tokens = of_all[row][query] if row in of_all else answer.tokens.train.get((query, row), ())
            of_query = answer.tokens.queries.get((query, row), ())
            told.append(Found(row, score, tuple(map(float, tokens)), tuple(map(float, of_query))))
        return tuple(told)

    best, worst = answer.best, answer.worst
    return tuple(
        Answers(
            found(query, best.rows[query], best.scores[query]), found(query, worst.rows[query], worst.scores[query])
        )
        for query in range(answer.queries)
    )


def _highest(scores: NDArray[np.float64], count: int) -> tuple[Found, ...]:
    order = np.argsort(-scores, kind="stable")[:count]
    return tuple(Found(int(row), float(scores[row])) for row in order)


# -- steps ------------------------------------------------------------------------------------------


def _why_unknown(studied: Studied) -> str | None:
    if studied.trained and any(isinstance(method, InformationGain) for method in studied.stage.method):
        return "which steps saw a row is not told: a method chose the rows of each step while it was made"
    return None


def _seen(studied: Studied, rows: Collection[int]) -> dict[int, list[tuple[int, int]]]:
    """By row, each step that saw it and its place in the step's batch; nothing if the plan does not tell."""
    if not studied.trained or _why_unknown(studied):
        return {}
    found: dict[int, list[tuple[int, int]]] = {row: [] for row in sorted(rows)}
    plan = studied.plan
    for step in range(1, plan.total + 1):
        for place, row in enumerate(row for some in plan.micro_batches(step) for row in some):
            if row in found:
                found[row].append((step, place))
    return found


def _batches(studied: Studied, steps: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """By step, the rows of its batch in order."""
    plan = studied.plan
    return {step: tuple(row for some in plan.micro_batches(step) for row in some) for step in sorted(steps)}


def _tokens(objective: Objective, rows: Iterable[int]) -> int:
    lengths = objective.lengths
    return sum(int(lengths[row]) for row in rows)
