"""Which training rows made the queries come out as they did: all scores or the best and worst of them, and tokens.

Training rows are passed over once for all queries that the plan holds at once, in parts; each part is a file, from
which a killed run goes on, so that a million rows need the memory of one part and of the rows that are kept.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UsageError
from ..training.objectives.causal import CausalLM
from .factors import Factors
from .labels import underlying
from .marked import see_that_something_is_predicted
from .passes import Subject
from .planner import Plan, plan_queries
from .preconditioner import damping_sentence
from .prepared import Prepared, prepare
from .products import Numbers
from .results import SIGN, Answer, Pairs, Tokens, write_answer
from .scoring import row_scores, token_scores, token_scores_of_pairs
from .sides import Side
from .storage import folder_for, load_tensors, save_tensors, streamed
from .top import Top
from .watch import Watch


@dataclass(frozen=True)
class ScoreSettings:
    """What is asked of the training rows.

    Attributes:
        damping: added to the curvature; None for a tenth of each layer's mean eigenvalue.
        memory: bytes that queries' gradients may take; factors may take as many.
        rank: of the queries' approximation, `full`, or `auto` for what the memory asks for.
        numbers: the type in which queries wait, or `auto` likewise.
        top: how many of the best and of the worst rows are kept for each query.
        keep_all: keep all scores too.
        tokens: scores of tokens: of none, of the rows at the top (and of the queries for them), or of all rows.
        aggregated: ask for the sum of all queries instead of each.
        part: rows in a part.
    """

    damping: float | None = None
    memory: int = 2**32
    rank: int | Literal["full", "auto"] = "auto"
    numbers: Numbers | Literal["auto"] = "auto"
    top: int = 10
    keep_all: bool = True
    tokens: Literal["none", "top", "all"] = "none"
    aggregated: bool = False
    part: int = 1024

    def __post_init__(self) -> None:
        if self.top < 0 or self.part < 1:
            raise UsageError("top must not be negative, and part at least 1")
        if self.aggregated and self.tokens == "top":
            raise UsageError("scores of tokens at the top are those of single queries; leave out aggregated")


Checkpoint = Callable[[], tuple[Subject, Factors]]
"""Loads a model and its factors, when its turn comes."""


def answer(
    subject: Subject,
    factors: Factors,
    train: Side,
    queries: Side,
    folder: Path,
    settings: ScoreSettings | None = None,
    watch: Watch | None = None,
) -> Answer:
    """Score training rows for queries, or find the scores on disk.

    A positive score says that training on the row lowered the query's loss, as far as the factors tell.

    Args:
        subject: the model.
        factors: of its curvature.
        train: the training rows.
        queries: what is asked about.
        folder: where the scores go, in a folder of their own.
        settings: what is asked.
        watch: hears how far it is.

    Raises:
        UsageError: a query predicts nothing, the damping makes a layer singular, or rows do not match the model.
        MachineError: the folder cannot be written.
    """
    return answer_over([lambda: (subject, factors)], train, queries, folder, settings, watch)


def answer_over(
    checkpoints: Sequence[Checkpoint],
    train: Side,
    queries: Side,
    folder: Path,
    settings: ScoreSettings | None = None,
    watch: Watch | None = None,
) -> Answer:
    """The same with the mean of the scores at several checkpoints of a training."""
    settings, watch = settings or ScoreSettings(), watch or Watch()
    _see_that_they_are_queries(queries)
    if not checkpoints or not train.rows:
        raise UsageError("there are no checkpoints" if not checkpoints else "there are no training rows")
    if len(checkpoints) > 1 and settings.tokens == "all":
        raise UsageError("scores of all tokens are those of one checkpoint; ask for those of the rows at the top")
    asked = settings if len(checkpoints) == 1 else replace(settings, keep_all=True, tokens="none")
    found = [Scoring(*load(), train, queries, folder, asked, watch).run() for load in checkpoints]
    whole = found[0] if len(found) == 1 else _mean(found, folder, settings.top, watch)
    if settings.tokens == "top":
        tokens = [_tokens_at_the_top(*load(), train, queries, whole, settings, watch) for load in checkpoints]
        whole = replace(whole, tokens=_mean_tokens(tokens))
    if watch.team.leads:
        write_answer(whole)
    return whole


class Scoring:
    """The scores of one checkpoint, part by part."""

    def __init__(
        self,
        subject: Subject,
        factors: Factors,
        train: Side,
        queries: Side,
        folder: Path,
        settings: ScoreSettings,
        watch: Watch,
    ):
        """Nothing is done yet but to plan."""
        self._subject, self._factors, self._train, self._queries = subject, factors, train, queries
        self._settings, self._watch = settings, watch
        count = 1 if settings.aggregated else len(queries.rows)
        self._plan = plan_queries(subject.layers, count, settings.memory, settings.rank, settings.numbers)
        self._folder = folder_for(folder, _key(subject, factors, train, queries, settings, self._plan))

    def run(self) -> Answer:
        """Do what is not on disk yet, and put it together."""
        self._watch.tell(SIGN)
        if self._factors.strategy != "identity":
            self._watch.tell(f"{damping_sentence(self._settings.damping)}; weight decay is no part of the curvature")
        self._watch.tell(self._plan.sentence())
        if self._plan.rank is not None or self._plan.numbers == "bfloat16":
            self._watch.tell("the memory does not hold the queries' gradients exactly; scores are approximate")
        files = [self._chunk(number, chunk) for number, chunk in enumerate(self._chunks())]
        self._watch.team.gathered(None)
        best = worst = Top.none(0)
        for parts in files:
            some_best, some_worst = _merged(parts, self._settings.top)
            best, worst = best.beside(some_best), worst.beside(some_worst)
        scores = self._together(files) if self._settings.keep_all else None
        every = files if self._settings.tokens == "all" else []
        return Answer(self._folder, tuple(self._train.rows), best, worst, scores, self._plan, every)

    def _chunks(self) -> Iterator[Side]:
        """The queries that wait in memory together."""
        step = len(self._queries.rows) if self._settings.aggregated else self._plan.queries
        for start in range(0, len(self._queries.rows), step):
            yield self._queries.only(self._queries.rows[start : start + step])

    def _chunk(self, number: int, queries: Side) -> list[Path]:
        """Write what is missing for some queries; the files of its parts."""
        rows, size = self._train.rows, self._settings.part
        cut = [rows[start : start + size] for start in range(0, len(rows), size)]
        files = [self._folder / f"part-{number + 1}-{i + 1:06d}of{len(cut)}.safetensors" for i in range(len(cut))]
        prepared: Prepared | None = None
        team = self._watch.team
        for part, file in list(zip(cut, files, strict=True))[team.rank :: team.size]:
            if file.is_file():
                continue
            if prepared is None:
                prepared = prepare(
                    self._subject, self._factors, queries, self._plan, self._settings.damping, self._settings.memory,
                    self._watch, self._settings.aggregated,
                )  # fmt: skip
            save_tensors(file, self._part(prepared, self._train.only(part)))
        return files

    def _part(self, prepared: Prepared, train: Side) -> dict[str, Tensor]:
        """The scores of a part, as they are kept."""
        kept: dict[str, Tensor] = {}
        if self._settings.tokens == "all":
            found = token_scores(self._subject, prepared, train, self._watch)
            scores = np.stack([found[row].sum(1) for row in train.rows], 1)
            kept["tokens"] = torch.from_numpy(np.concatenate([found[row] for row in train.rows], 1)).float()
            kept["lengths"] = torch.tensor([found[row].shape[1] for row in train.rows])
        else:
            scores = row_scores(self._subject, prepared, train, self._watch).numpy()
        _see_that_they_are_finite(scores, train)
        keep = min(self._settings.top, len(train.rows))
        for name, signed in (("best", scores), ("worst", -scores)):
            top = Top.none(prepared.count).with_more(train.rows, signed, keep)
            kept[f"{name}/rows"], kept[f"{name}/scores"] = torch.from_numpy(top.rows), torch.from_numpy(top.scores)
        if self._settings.keep_all:
            kept["scores"] = torch.from_numpy(scores)
        return kept

    def _together(self, files: Sequence[Sequence[Path]]) -> Path:
        """All scores in one file, `scores` (queries, rows) float32, written part by part."""
        file = self._folder / "scores.safetensors"
        if self._watch.team.leads and not file.is_file():
            count = 1 if self._settings.aggregated else len(self._queries.rows)
            with streamed(file, "scores", (count, len(self._train.rows))) as whole:
                first = 0
                for parts in files:
                    start = 0
                    for part in parts:
                        scores = load_tensors(part, "scores")[""].numpy()
                        whole[first : first + len(scores), start : start + scores.shape[1]] = scores
                        start += scores.shape[1]
                    first += self._plan.queries
        self._watch.team.gathered(None)
        return file


def _merged(parts: Sequence[Path], keep: int) -> tuple[Top, Top]:
    """Best and worst over the parts."""
    tops: list[Top] = []
    for name in ("best", "worst"):
        whole: Top | None = None
        for part in parts:
            found = load_tensors(part, f"{name}/")
            top = Top(found["rows"].numpy(), found["scores"].numpy())
            whole = top if whole is None else whole.with_all_of(top, keep)
        assert whole is not None
        tops.append(whole)
    return tops[0], tops[1].negated()


def _tokens_at_the_top(
    subject: Subject, factors: Factors, train: Side, queries: Side, whole: Answer, settings: ScoreSettings, watch: Watch
) -> Tokens:
    """Scores of the tokens of each query's best and worst rows, and of the query's tokens for each of these rows."""
    wanted = {
        query: sorted({*whole.best.rows[query].tolist(), *whole.worst.rows[query].tolist()})
        for query in range(len(queries.rows))
    }
    rows = sorted({row for some in wanted.values() for row in some})

    def plan(count: int) -> Plan:
        return plan_queries(subject.layers, count, settings.memory, settings.rank, settings.numbers)

    def ready(side: Side, chosen: Plan) -> Prepared:
        return prepare(subject, factors, side, chosen, settings.damping, settings.memory, watch)

    of_train: dict[tuple[int, int], NDArray[np.float64]] = {}
    for first, places, chosen in _pieces(plan(len(queries.rows))):
        some = queries.only([queries.rows[place] for place in places])
        asked: dict[int, list[int]] = {}
        for k, place in enumerate(places):
            for row in wanted[place]:
                asked.setdefault(row, []).append(k)
        scored = token_scores_of_pairs(subject, ready(some, chosen), train.only(sorted(asked)), asked, watch)
        of_train |= {(first + k, row): scores for (k, row), scores in scored.items()}
    of_queries: dict[tuple[int, int], NDArray[np.float64]] = {}
    for _, places, chosen in _pieces(plan(len(rows))):
        some_rows = [rows[place] for place in places]
        prepared = ready(train.only(some_rows), chosen)
        at = {row: k for k, row in enumerate(some_rows)}
        asked = {queries.rows[q]: [at[row] for row in wanted[q] if row in at] for q in wanted}
        asked = {row: some for row, some in asked.items() if some}
        scored = token_scores_of_pairs(subject, prepared, queries.only(list(asked)), asked, watch)
        place_of = {row: q for q, row in enumerate(queries.rows)}
        of_queries |= {(place_of[query], some_rows[k]): scores for (k, query), scores in scored.items()}
    return Tokens(of_train, of_queries)


def _pieces(plan: Plan) -> Iterator[tuple[int, range, Plan]]:
    for start in range(0, plan.total, plan.queries):
        yield start, range(start, min(start + plan.queries, plan.total)), plan


def _mean(found: Sequence[Answer], folder: Path, keep: int, watch: Watch) -> Answer:
    """The mean of several answers' scores, block by block."""
    target = folder_for(folder, {"mean of": [answer.folder.name for answer in found], "top": keep})
    rows, block = found[0].rows, 1024
    best = worst = Top.none(found[0].queries)
    file = target / "scores.safetensors"
    with streamed(file, "scores", (found[0].queries, len(rows))) as whole:
        for start in range(0, len(rows), block):
            part = slice(start, start + block)
            scores = np.mean([answer.some_scores(part).astype(np.float64) for answer in found], axis=0)
            whole[:, part] = scores
            best, worst = best.with_more(rows[part], scores, keep), worst.with_more(rows[part], -scores, keep)
    watch.tell(f"scores are the mean over {len(found)} checkpoints")
    return Answer(target, rows, best, worst.negated(), file, found[0].plan)


def _mean_tokens(found: Sequence[Tokens]) -> Tokens:

    def mean(parts: Sequence[Pairs]) -> Pairs:
        return {pair: np.mean([part[pair] for part in parts], axis=0) for pair in parts[0]}

    return Tokens(mean([each.train for each in found]), mean([each.queries for each in found]))


def _see_that_they_are_queries(queries: Side) -> None:
    known = queries.objective.lengths
    lengths = [int(known[row]) for row in queries.rows]
    if isinstance(underlying(queries.objective), CausalLM) or not lengths:
        see_that_something_is_predicted(lengths)
    if len(set(queries.rows)) < len(lengths):
        raise UsageError("a query is named twice; name each once")


def _see_that_they_are_finite(scores: NDArray[Any], train: Side) -> None:
    if not np.isfinite(scores).all():
        row = train.rows[int(np.flatnonzero(~np.isfinite(scores).all(axis=0))[0])]
        raise UsageError(
            f"the scores of training row {row} are not finite; see whether the model gives it a finite loss, or give "
            "more damping"
        )


def _key(
    subject: Subject, factors: Factors, train: Side, queries: Side, settings: ScoreSettings, plan: Plan
) -> Mapping[str, Any]:
    """What scores depend on."""
    told = {name: value for name, value in asdict(settings).items() if name not in ("memory", "rank", "numbers")}
    return {
        **told,
        "factors": {"strategy": factors.strategy, **factors.key},
        "numbers": subject.numbers,
        "waiting": [plan.queries, plan.rank, plan.numbers],
        "train": _named(train),
        "queries": _named(queries),
    }


def _named(side: Side) -> list[str]:
    rows = hashlib.sha256(np.asarray(side.rows, np.int64).tobytes()).hexdigest()[:16]
    return [side.objective.fingerprint, rows, side.name]
