"""What queries came to, and how it is kept: all scores as safetensors, best and worst rows and tokens as parquet."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from safetensors import safe_open

from ..errors import MachineError, UsageError
from ..files import replacing
from .planner import Plan
from .storage import load_tensors
from .top import Top

SIGN = "a positive score says that training on the row lowers the query's loss; a negative one, that it raises it"

Pairs = Mapping[tuple[int, int], NDArray[np.float64]]
"""By query's place and training row, scores of tokens, (tokens,)."""


@dataclass(frozen=True)
class Tokens:
    """Scores of tokens for pairs of a query and a training row; each pair's add up to its score.

    Attributes:
        train: of the row's tokens.
        queries: of the query's tokens.
    """

    train: Pairs = field(default_factory=dict[tuple[int, int], NDArray[np.float64]])
    queries: Pairs = field(default_factory=dict[tuple[int, int], NDArray[np.float64]])


@dataclass(frozen=True)
class Answer:
    """What training rows come to for queries.

    Attributes:
        folder: where it is kept.
        rows: the training rows, in the order of the scores.
        best: the rows with the highest scores for each query, best first.
        worst: those with the lowest, lowest first.
        scores: the file of all scores; None if they were not kept.
        plan: how queries waited in memory.
        parts: with scores of all tokens, by chunk of queries the files that hold them.
        tokens: of the best and worst rows, if they were asked for.
    """

    folder: Path
    rows: Sequence[int]
    best: Top
    worst: Top
    scores: Path | None
    plan: Plan
    parts: Sequence[Sequence[Path]] = ()
    tokens: Tokens = field(default_factory=Tokens)

    @property
    def queries(self) -> int:
        """How many."""
        return len(self.best.rows)

    def all_scores(self) -> NDArray[np.float32]:
        """(queries, rows).

        Raises:
            UsageError: they were not kept.
        """
        return self.some_scores(slice(None))

    def some_scores(self, part: slice) -> NDArray[np.float32]:
        """(queries, some rows), without reading the others.

        Raises:
            UsageError: they were not kept.
        """
        if self.scores is None:
            raise UsageError("only the best and worst rows were kept; ask again with keep_all")
        with safe_open(self.scores, "numpy") as opened:
            first, end, _ = part.indices(len(self.rows))
            return opened.get_slice("scores")[:, first:end]

    def all_token_scores(self, wanted: Collection[int] | None = None) -> dict[int, NDArray[np.float32]]:
        """By training row, the scores of its tokens for every query, (queries, tokens); of some rows, or of all.

        Raises:
            UsageError: they were not asked for.
        """
        if not self.parts:
            raise UsageError("scores of all tokens were not asked for")
        found: dict[int, list[NDArray[np.float32]]] = {}
        for files in self.parts:
            rows = iter(self.rows)
            for file in files:
                tensors = load_tensors(file)
                ends = np.cumsum(tensors["lengths"].numpy())[:-1]
                for piece in np.split(tensors["tokens"].numpy(), ends, axis=1):
                    row = next(rows)
                    if wanted is None or row in wanted:
                        found.setdefault(row, []).append(piece.copy())
        return {row: np.concatenate(pieces) for row, pieces in found.items()}


def write_answer(answer: Answer) -> None:
    """Write `top.parquet` (query, side, rank, row, score) and, if there are any, `tokens.parquet` (query, row, side,
    scores) into the answer's folder; sides are `best` and `worst`, `train` and `query`.

    Raises:
        MachineError: they cannot be written.
    """
    top = {"query": [], "side": [], "rank": [], "row": [], "score": []}
    for side, kept in (("best", answer.best), ("worst", answer.worst)):
        queries, count = kept.rows.shape
        top["query"] += np.repeat(np.arange(queries), count).tolist()
        top["side"] += [side] * (queries * count)
        top["rank"] += list(range(1, count + 1)) * queries
        top["row"] += kept.rows.ravel().tolist()
        top["score"] += kept.scores.ravel().tolist()
    _write(answer.folder / "top.parquet", pa.table(top))
    if answer.tokens.train or answer.tokens.queries:
        sides = [("train", answer.tokens.train), ("query", answer.tokens.queries)]
        listed = [(pair, side, scores) for side, pairs in sides for pair, scores in sorted(pairs.items())]
        columns = {
            "query": [query for (query, _), _, _ in listed],
            "row": [row for (_, row), _, _ in listed],
            "side": [side for _, side, _ in listed],
            "scores": [scores.tolist() for _, _, scores in listed],
        }
        _write(answer.folder / "tokens.parquet", pa.table(columns))


def _write(file: Path, table: Any) -> None:
    try:
        with replacing(file) as unfinished:
            pq.write_table(table.replace_schema_metadata({"sign": SIGN}), unfinished)
    except OSError as error:
        raise MachineError(f"cannot write {file}: {error}") from None
