"""What a model said, token by token: ids, probabilities, ranks, alternatives, and how tokens look.

A `TokenTrace` is what sampling records and what every view of coloured tokens reads. `clusters` joins
tokens that only together form characters, so that bytes never show as broken text.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .text import printable


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
        head = json.dumps(
            {
                "n": n,
                "k": k,
                "prompt": self.prompt_length,
                "special": sorted(self.special),
                "pieces": {str(i): piece.decode("latin-1") for i, piece in sorted(self.pieces.items())},
            },
            separators=(",", ":"),
        ).encode()
        columns = (
            self.ids.astype("<u4"),
            self.logprob.astype("<f4"),
            self.rank.astype("<u4"),
            self.entropy.astype("<f2"),
            self.alternative_ids.astype("<u4"),
            self.alternative_logprob.astype("<f2"),
        )
        body = b"".join(column.tobytes() for column in columns)
        return zlib.compress(len(head).to_bytes(4, "little") + head + body, 6)

    @classmethod
    def from_bytes(cls, data: bytes) -> "TokenTrace":
        """The inverse of `to_bytes` (entropies and alternatives in half precision).

        Raises:
            ValueError: the bytes are damaged.
        """
        try:
            raw = zlib.decompress(data)
            size = int.from_bytes(raw[:4], "little")
            head = json.loads(raw[4 : 4 + size])
            n, k = head["n"], head["k"]
            counts = (("<u4", n), ("<f4", n), ("<u4", n), ("<f2", n), ("<u4", n * k), ("<f2", n * k))
            position, columns = 4 + size, []
            for kind, count in counts:
                columns.append(np.frombuffer(raw, kind, count, position))
                position += np.dtype(kind).itemsize * count
        except (zlib.error, KeyError, ValueError) as error:
            raise ValueError(f"a recorded sample is damaged: {error}") from None
        return cls(
            ids=columns[0].astype(np.uint32),
            prompt_length=head["prompt"],
            logprob=columns[1].astype(np.float32),
            rank=columns[2].astype(np.uint32),
            entropy=columns[3].astype(np.float32),
            alternative_ids=columns[4].reshape(n, k).astype(np.uint32),
            alternative_logprob=columns[5].reshape(n, k).astype(np.float32),
            pieces={int(i): piece.encode("latin-1") for i, piece in head["pieces"].items()},
            special=frozenset(head["special"]),
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
        if token_id in trace.special or not piece:
            if pending:
                yield _broken(first, position, pending)
            yield Cluster(position, position + 1, piece_text(piece, token_id), 0, token_id in trace.special)
            first, pending = position + 1, b""
            continue
        pending += piece
        if _incomplete(pending):
            continue
        yield _broken(first, position + 1, pending)
        first, pending = position + 1, b""
    if first < len(trace):
        yield _broken(first, len(trace), pending)


def piece_text(piece: bytes, token_id: int) -> str:
    """One token's bytes as printable text: ``<E6>`` for bytes that are no text, ``<id 7>`` for none at all."""
    return printable(_decode(piece)) if piece else f"<id {token_id}>"


def _broken(first: int, last: int, data: bytes) -> Cluster:
    text = _decode(data)
    return Cluster(first, last, printable(text), text.count("\n"), False)


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


def _incomplete(data: bytes) -> bool:
    """The bytes end within a character that later bytes can still complete."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return False
