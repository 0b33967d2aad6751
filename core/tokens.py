"""What a model said, token by token: ids, probabilities, ranks, alternatives, and how tokens look.

A `TokenTrace` is what sampling records and what every view of coloured tokens reads. `clusters` joins
tokens that only together form characters, so that bytes never show as broken text.
"""

import codecs
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .text import printable

_DECODER = codecs.getincrementaldecoder("utf-8")


@dataclass(frozen=True)
class TokenTrace:
    """Tokens with what the model thought of each, given those before it.

    n tokens, k alternatives. The first token of a text has no context: its numbers are NaN, its rank 0.

    Attributes:
        ids: (n,) uint32.
        prompt_length: how many of them were given, not generated.
        logprob: (n,) float32, natural logarithm of the model's probability (no temperature, no filter).
        rank: (n,) uint32, 1 is the likeliest.
        entropy: (n,) float32, of the model's distribution, in bits.
        alternative_ids: (n, k) uint32, likeliest first.
        alternative_logprob: (n, k) float32.
        pieces: token id to the bytes that it stands for, for every id above.
        special: ids that are special tokens.
    """

    ids: NDArray[np.uint32]
    prompt_length: int
    logprob: NDArray[np.float32]
    rank: NDArray[np.uint32]
    entropy: NDArray[np.float32]
    alternative_ids: NDArray[np.uint32]
    alternative_logprob: NDArray[np.float32]
    pieces: Mapping[int, bytes]
    special: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def probability(self) -> NDArray[np.float32]:
        """(n,) float32, the model's probability of each token; NaN for a text's first."""
        return np.exp(self.logprob)

    def piece(self, token_id: int) -> str:
        """One token as printable text; a lone part of a character as ``<E6>``."""
        return piece_text(self.pieces.get(token_id, b""), token_id)

    def text(self, start: int = 0) -> str:
        """The tokens from `start` on, as the text they form (undecodable bytes replaced; not made printable)."""
        kept = [self.pieces.get(int(i), b"") for i in self.ids[start:] if int(i) not in self.special]
        return b"".join(kept).decode("utf-8", "replace")

    def to_bytes(self) -> bytes:
        """Compressed, about 30 bytes a token with 8 alternatives."""
        n, k = self.alternative_ids.shape if len(self) else (0, 0)
        known = sorted({*map(int, self.ids), *map(int, self.alternative_ids.ravel()), *self.pieces, *self.special})
        pieces = [self.pieces.get(token_id) for token_id in known]
        sizes = [0 if piece is None else len(piece) + 1 for piece in pieces]
        head = {"n": n, "k": k, "prompt": self.prompt_length, "special": sorted(self.special), "known": len(known)}
        table = np.array(known, np.uint32)
        with np.errstate(over="ignore"):  # too small for half precision is as good as impossible
            columns = (
                np.diff(table, prepend=np.uint32(0)),
                np.array(sizes, np.uint32),
                np.searchsorted(table, self.ids).astype(np.uint32),
                self.logprob.astype(np.float32),
                self.rank.astype(np.uint32),
                self.entropy.astype(np.float16),
                np.searchsorted(table, self.alternative_ids[:n]).astype(np.uint32),
                self.alternative_logprob[:n].astype(np.float16),
            )
        text = json.dumps(head, separators=(",", ":")).encode()
        body = b"".join([*map(_shuffled, columns), *(piece for piece in pieces if piece is not None)])
        return zlib.compress(len(text).to_bytes(4, "little") + text + body, 9)

    @classmethod
    def from_bytes(cls, data: bytes) -> "TokenTrace":
        """The inverse of `to_bytes` (entropies and alternatives in half precision).

        Raises:
            ValueError: the bytes are damaged.
        """
        try:
            return cls._read(zlib.decompress(data))
        except (zlib.error, ValueError, LookupError, TypeError, OverflowError) as error:
            raise ValueError(f"a recorded sample is damaged: {error}") from None

    @classmethod
    def _read(cls, raw: bytes) -> "TokenTrace":
        position = 4 + int.from_bytes(raw[:4], "little")
        head = json.loads(raw[4:position])
        n, k, known = (int(head[name]) for name in ("n", "k", "known"))

        def column(kind: str, count: int) -> NDArray[Any]:
            nonlocal position
            size = np.dtype(kind).itemsize
            places = np.frombuffer(raw, np.uint8, size * count, position).reshape(size, count)
            position += size * count
            return np.ascontiguousarray(places.T).view(kind).ravel()

        table = np.cumsum(column("<u4", known), dtype=np.uint32)
        sizes = column("<u4", known)
        ids = table[column("<u4", n)]
        logprob, rank, entropy = column("<f4", n), column("<u4", n), column("<f2", n)
        alternative_ids = table[column("<u4", n * k)].reshape(n, k)
        alternative_logprob = column("<f2", n * k).reshape(n, k)
        ends = position + np.cumsum(np.maximum(sizes, 1).astype(np.int64) - 1)
        if len(raw) != (ends[-1] if known else position):
            raise ValueError(f"{len(raw)} bytes")
        return cls(
            ids=ids,
            prompt_length=int(head["prompt"]),
            logprob=logprob.astype(np.float32),
            rank=rank.astype(np.uint32),
            entropy=entropy.astype(np.float32),
            alternative_ids=alternative_ids,
            alternative_logprob=alternative_logprob.astype(np.float32),
            pieces={
                int(token_id): raw[int(end) - int(size) + 1 : int(end)]
                for token_id, size, end in zip(table, sizes, ends, strict=True)
                if size
            },
            special=frozenset(map(int, head["special"])),
        )


@dataclass(frozen=True)
class Cluster:
    """The fewest neighbouring tokens that decode to whole characters.

    Attributes:
        first, last: positions of the first token and after the last one.
        text: what to show, printable, without line breaks.
        newlines: line feeds in it; the view breaks the line after the cluster if there are any.
        special: it is a special token, shown by its name.
    """

    first: int
    last: int
    text: str
    newlines: int
    special: bool


def clusters(trace: TokenTrace) -> Iterator[Cluster]:
    """The tokens as things to show, in order, none left out."""
    first, pending = 0, b""
    for position, token_id in enumerate(map(int, trace.ids)):
        piece = trace.pieces.get(token_id, b"")
        special = token_id in trace.special
        if pending and (special or _breaks_off(pending, piece)):
            yield _cluster(trace, first, position, pending)
            first, pending = position, b""
        if special:
            name = printable(piece.decode("utf-8", "replace")) or piece_text(b"", token_id)
            yield Cluster(position, position + 1, name, 0, True)
        elif not _unfinished(pending + piece):
            yield _cluster(trace, first, position + 1, pending + piece)
        else:
            pending += piece
            continue
        first, pending = position + 1, b""
    if first < len(trace):
        yield _cluster(trace, first, len(trace), pending)


def piece_text(piece: bytes, token_id: int) -> str:
    """One token's bytes as printable text: ``<E6>`` for bytes that are no text, ``<id 7>`` for none at all."""
    return printable(_decode(piece)) if piece else f"<id {token_id}>"


def _cluster(trace: TokenTrace, first: int, last: int, data: bytes) -> Cluster:
    text = _decode(data)
    shown = printable(text) if text else "".join(map(trace.piece, map(int, trace.ids[first:last])))
    return Cluster(first, last, shown, text.count("\n"), False)


def _decode(data: bytes) -> str:
    """UTF-8, with bytes that are none written as ``<E6>``."""
    shown: list[str] = []
    while data:
        try:
            shown.append(data.decode())
            break
        except UnicodeDecodeError as error:
            shown.append(data[: error.start].decode())
            shown.append("".join(f"<{byte:02X}>" for byte in data[error.start : error.end]))
            data = data[error.end :]
    return "".join(shown)


def _unfinished(data: bytes) -> int:
    """How many bytes at the end belong to a character that later bytes can still complete."""
    decoder = _DECODER("replace")
    decoder.decode(data)
    return len(decoder.getstate()[0])


def _breaks_off(pending: bytes, piece: bytes) -> bool:
    """The piece does not go on with the character that `pending` ends in the middle of."""
    character = pending[-_unfinished(pending) :]
    try:
        _DECODER().decode(character + piece[: 4 - len(character)])
    except UnicodeDecodeError as error:
        return error.start == 0
    return False


def _shuffled(column: NDArray[Any]) -> bytes:
    """All lowest bytes of the numbers, then all second ones, and so on: like stands beside like."""
    little = np.ascontiguousarray(column, column.dtype.newbyteorder("<")).ravel()
    return little.view(np.uint8).reshape(-1, column.itemsize).T.tobytes()
