"""Tokenizers: loaded; the marks that they put around texts, and the bytes that each token stands for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from ..errors import ValueInRecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BYTE_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>")


def load_tokenizer(
    source: str, key: str = "tokenizer.from", trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """A tokenizer from a folder or the hub.

    Raises:
        ValueInRecipeError: there is none; it names `key`.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if isinstance(error, ImportError) and "sentencepiece" in reason.lower():
            reason = "it needs the package sentencepiece; pip install 'lmwb[translation]'"
        raise ValueInRecipeError(key, f"cannot load a tokenizer from '{source}': {reason}") from None
    return tokenizer


@dataclass(frozen=True)
class Framing:
    """Where a tokenizer puts its marks around a text, and around a pair of texts.

    Each is a sequence of (token, type): `$A` and `$B` are the texts, all others special tokens; the type is what
    `token_type_ids` says of it.
    """

    single: Sequence[tuple[str, int]] = (("$A", 0),)
    pair: Sequence[tuple[str, int]] = (("$A", 0), ("$B", 0))


def framing_of(tokenizer: "PreTrainedTokenizerBase") -> Framing:
    """The marks of any fast tokenizer, found by letting it encode."""

    def frame(text: list[str], pair: list[str] | None = None) -> Sequence[tuple[str, int]]:
        encoded: Any = tokenizer(text, pair).encodings[0]  # pyright: ignore[reportOptionalSubscript]
        places = zip(encoded.tokens, encoded.sequence_ids, encoded.type_ids, strict=True)
        found: list[tuple[str, int]] = []
        for token, sequence, kind in places:
            mark = (token if sequence is None else ("$A", "$B")[sequence], kind)
            if sequence is None or mark not in found:  # a text may be several tokens
                found.append(mark)
        return tuple(found)

    return Framing(frame(["a"]), frame(["a"], ["a"]))


def token_pieces(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> Mapping[int, bytes]:
    """The bytes that each id stands for: byte-level, SentencePiece and WordPiece vocabularies alike.

    Ids beyond the vocabulary get no bytes.
    """
    special = set(tokenizer.all_special_ids)
    style = _style(tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(list(ids))
    return {
        i: token.encode() if i in special else _piece(token, style)
        for i, token in zip(ids, cast("Sequence[str | None]", tokens), strict=True)
        if token is not None
    }


def _style(tokenizer: "PreTrainedTokenizerBase") -> str:
    """How the vocabulary writes bytes and spaces: `bytes`, `sentencepiece` or `wordpiece`."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    described = "" if backend is None else f"{backend.decoder!r} {backend.pre_tokenizer!r}"
    if "ByteLevel" in described:
        return "bytes"
    return "wordpiece" if "WordPiece" in described else "sentencepiece"


def _piece(token: str, style: str) -> bytes:
    if style == "bytes":
        known = _byte_of_letter()
        if all(letter in known for letter in token):
            return bytes(known[letter] for letter in token)
        return token.encode()
    if style == "wordpiece":
        return (token[2:] if token.startswith("##") else " " + token).encode()
    if match := _BYTE_FALLBACK.fullmatch(token):
        return bytes([int(match[1], 16)])
    return token.replace("\u2581", " ").encode()


@lru_cache(maxsize=1)
def _byte_of_letter() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others for letters from U+0100 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}
