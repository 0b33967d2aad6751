"""Which tokens are hidden from a masked language model, as a function of a seed and the row's number.

The numbers come from a hash of seed, row and place: no generator has to be set up or kept, all rows of a batch are
drawn at once, and a row's masks do not depend on its neighbours. A batch of 32 × 128 tokens takes a quarter of a
millisecond.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...data.tokenizer import token_pieces
from ...recipe.schema import Masking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_STEP = np.uint64(0x9E3779B97F4A7C15)
_TOKEN_BITS = np.uint64(40)


class Masker:
    """Hides tokens as Devlin et al. 2019 (section 3.1) do: most behind the mask token, some behind a random one."""

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", settings: Masking, counts: NDArray[np.int64] | None = None
    ):
        """The tokenizer must have a mask token.

        Args:
            tokenizer: of the rows.
            settings: which tokens are hidden.
            counts: (vocabulary,) how often each token occurs, for `smoothing`; without, all are drawn alike.
        """
        assert isinstance(tokenizer.mask_token_id, int)
        self._mask = tokenizer.mask_token_id
        self._settings = settings
        size = len(tokenizer)
        self._special = np.zeros(size, np.bool_)
        self._special[[i for i in tokenizer.all_special_ids if i < size]] = True
        self._ordinary = np.flatnonzero(~self._special)
        self._slowness: NDArray[np.float64] | None = None
        """(vocabulary,) what a token's time is multiplied by in the race to be hidden."""
        if counts is not None and settings.smoothing:
            self._slowness = np.maximum(counts, 1).astype(np.float64) ** settings.smoothing
        self._begins = _word_beginnings(tokenizer) | self._special if settings.whole_words else None

    def hide(
        self, ids: NDArray[np.int64], real: NDArray[np.bool_], rows: Sequence[int], seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The ids with some tokens hidden, and which these are.

        Special tokens and padding are never hidden. Each other token is with probability `share`, each for itself or
        with its word; of every row, at least the one that came nearest to it, so that no row is without a lesson.

        With smoothing, ⌈share · tokens⌉ of every row are, marks counted as tokens, or all that can be if these are
        fewer. They are drawn one after the other without putting back, each time with a chance in proportion to
        count^−smoothing among those left. The published original (Sanh et al. 2019) draws so from a whole batch at
        once; here each row has its own number and its own draw, so that what is hidden in it remains a function of
        seed and row. Rows rich in rare tokens therefore do not take from others.

        Args:
            ids: (batch, longest).
            real: (batch, longest), False for padding.
            rows: (batch,) the rows' numbers.
            seed: another one draws other masks.

        Returns:
            The changed ids and the tokens to be predicted, both (batch, longest).
        """
        settings = self._settings
        noise = _noise(seed, rows, ids.shape[1])
        chance = (noise >> np.uint64(11)) * 2.0**-53
        candidate = real & ~self._special[ids]
        if self._begins is not None:
            places = np.arange(ids.shape[1])
            first = np.maximum.accumulate(np.where(self._begins[ids], places, 0), axis=1)
            chance = np.take_along_axis(chance, first, axis=1)
        if self._slowness is None:
            chance = np.where(candidate, chance, 2.0)
            chosen = candidate & ((chance < settings.share) | (chance == chance.min(axis=1, keepdims=True)))
        else:
            chosen = candidate & self._first(chance, ids, candidate, real)
        fresh = _mixed(noise[chosen] + _STEP)
        kind = (fresh >> _TOKEN_BITS) * 2.0**-24
        lottery = (fresh & np.uint64(2**40 - 1)) * np.uint64(len(self._ordinary)) >> _TOKEN_BITS
        drawn = self._ordinary[lottery.astype(np.int64)]
        hidden = ids.copy()
        hidden[chosen] = np.where(
            kind < settings.mask,
            self._mask,
            np.where(kind < settings.mask + settings.random, drawn, ids[chosen]),
        )
        return hidden, chosen

    def _first(
        self, chance: NDArray[Any], ids: NDArray[np.int64], candidate: NDArray[np.bool_], real: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Those of each row that come first in a race of exponential clocks, whose rates are the weights: the same law
        as drawing one after the other without putting back (Efraimidis & Spirakis 2006)."""
        assert self._slowness is not None
        times = np.where(candidate, -np.log1p(-chance) * self._slowness[ids], np.inf)
        wanted = np.minimum(np.ceil(self._settings.share * real.sum(axis=1) - 1e-9), candidate.sum(axis=1)).astype(int)
        order = np.argsort(np.argsort(times, axis=1, kind="stable"), axis=1, kind="stable")
        return order < wanted[:, None]


def _noise(seed: int, rows: Sequence[int], places: int) -> NDArray[np.uint64]:
    """(rows, places) 64 bits each, SplitMix64 (Steele et al. 2014) started at a hash of seed and row."""
    start = _mixed(np.asarray([seed], np.uint64) + _STEP) + np.asarray(rows, np.uint64)
    return _mixed(_mixed(start)[:, None] + np.arange(1, places + 1, dtype=np.uint64) * _STEP)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _word_beginnings(tokenizer: "PreTrainedTokenizerBase") -> NDArray[np.bool_]:
    """(vocabulary,) whether a token begins a word: it has a space in front, or is a sign by itself."""
    pieces = token_pieces(tokenizer, range(len(tokenizer)))
    begins = np.ones(len(tokenizer), np.bool_)
    for i, piece in pieces.items():
        text = piece.decode("utf-8", "replace")
        begins[i] = text[:1].isspace() or not (any(map(str.isalnum, text)) or "\ufffd" in text)
    return begins
