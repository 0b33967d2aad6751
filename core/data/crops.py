"""Contexts of one length out of articles: every start at which a whole context fits is a row.

Nothing is laid out per row, so a hundred million starts cost no more memory than the tokens themselves.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Crops:
    """Rows of `length` tokens that lie within one article; row r begins at the r-th start that there is.

    Attributes:
        stream: (tokens,) int32, the articles one after the other; those that are too short are left out.
        length: tokens of each row.
        left_out: articles that are too short.
        firsts: (articles,) int64, where each article begins in the stream.
        counts: (articles,) int64, rows of each article, at least one.
    """

    def __init__(self, articles: Sequence[NDArray[np.int32]], length: int, stride: int = 1, at_least: int = 0):
        """The rows of some articles.

        Args:
            articles: the ids of each.
            length: tokens of a row.
            stride: from one start to the next: 1 for every start, `length` for rows that lie end to end.
            at_least: articles of fewer tokens are left out, as are those of fewer than `length`.
        """
        kept = [ids for ids in articles if len(ids) >= max(length, at_least)]
        self.stream = np.concatenate(kept) if kept else np.empty(0, np.int32)
        self.length = length
        self.left_out = len(articles) - len(kept)
        self._stride = stride
        self.sizes = np.array([len(ids) for ids in kept], np.int64)
        self.firsts = np.cumsum(self.sizes) - self.sizes
        self.counts = (self.sizes - length) // stride + 1
        self._ends = np.cumsum(self.counts)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return np.broadcast_to(np.int64(self.length), (len(self),))

    @property
    def end_to_end(self) -> int:
        """How many rows fit when none overlaps another: what one pass over the articles amounts to."""
        return int((self.sizes // self.length).sum())

    @property
    def targets(self) -> int:
        """Tokens to predict in as many rows as fit end to end."""
        return self.end_to_end * (self.length - 1)

    def tokens(self, row: int) -> NDArray[np.int32]:
        """The ids of one row, (length,)."""
        article, start = self.place(row)
        first = int(self.firsts[article]) + start
        return self.stream[first : first + self.length]

    def place(self, row: int) -> tuple[int, int]:
        """The article of a row, and where in it the row begins."""
        article = int(np.searchsorted(self._ends, row, side="right"))
        return article, (row - int(self._ends[article] - self.counts[article])) * self._stride

    def row(self, article: int, number: int) -> int:
        """The row that is the `number`-th of an article."""
        return int(self._ends[article] - self.counts[article]) + number

    @property
    def fingerprint(self) -> str:
        """The same for the same rows, and for no others."""
        digest = hashlib.sha256(self.stream.tobytes())
        digest.update(self.sizes.tobytes())
        digest.update(repr((self.length, self._stride)).encode())
        return digest.hexdigest()

    @property
    def articles(self) -> list[str]:
        """A short hash of each article, to tell whether it stands elsewhere as well."""
        pieces = zip(self.firsts, self.sizes, strict=True)
        return [hashlib.sha256(self.stream[first : first + size].tobytes()).hexdigest()[:16] for first, size in pieces]
