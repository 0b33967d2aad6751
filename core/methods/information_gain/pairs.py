"""Pairs (X, IG(X)) in a parquet file that grows: what was measured is never measured again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ...errors import MachineError
from ...files import replacing

Column = Any
"""pyarrow's types are not typed."""


@dataclass(frozen=True)
class Pair:
    """A context and its gain.

    Attributes:
        number: of the draw, from 0.
        article: that it was drawn from, among those to train on.
        start: where in the article it begins, in tokens.
        tokens: (length,) int32.
        perplexity: of the context, for the base model.
        exact: the gain as measured; None if it was only estimated.
        estimate: the gain to first order; None if it was not estimated.
    """

    number: int
    article: int
    start: int
    tokens: NDArray[np.int32]
    perplexity: float
    exact: float | None
    estimate: float | None


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file in the order of their numbers, none missing in between; none if there is no whole file."""
    try:
        columns: dict[str, list[Any]] = pq.read_table(path).to_pydict()
        named = zip(*(columns[name] for name in _SCHEMA.names), strict=True)
        found = [Pair(n, a, s, np.array(tokens, np.int32), p, e, f) for n, a, s, tokens, p, e, f in named]
    except (OSError, pa.ArrowException, KeyError):
        return []
    return [pair for number, pair in enumerate(found) if pair.number == number]


def write_pairs(path: Path, pairs: Sequence[Pair], further: dict[str, NDArray[np.float64]] | None = None) -> None:
    """Write a file that is there whole or not at all; `further` columns, (pairs,) each, stand behind the others.

    Raises:
        MachineError: the disk does not take it.
    """
    columns = {name: [getattr(pair, name) for pair in pairs] for name in _SCHEMA.names}
    table = pa.table(columns, schema=_SCHEMA)
    for name, values in (further or {}).items():
        table = table.append_column(name, pa.array(values))
    try:
        with replacing(path) as unfinished:
            pq.write_table(table, unfinished)
    except OSError as error:
        raise MachineError(f"cannot write the pairs to {path}: {error.strerror}") from None


def standardised(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """(IG − mean) / standard deviation over all pairs, with the population's deviation; zeros if all are alike."""
    spread = float(gains.std())
    return (gains - gains.mean()) / spread if spread > 0 else np.zeros_like(gains)


_SCHEMA: Column = pa.schema(
    [
        ("number", pa.int64()),
        ("article", pa.int64()),
        ("start", pa.int64()),
        ("tokens", pa.list_(pa.int32())),
        ("perplexity", pa.float64()),
        ("exact", pa.float64()),
        ("estimate", pa.float64()),
    ]
)
