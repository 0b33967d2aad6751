"""Generations and traces as JSON documents, exactly, and back.

What stands in a document: for each hypothesis its tokens, for each step its candidates and rows, as objects with
named numbers; `pieces`, what every token id stands for, as text or, where the bytes are no text, as
``{"hex": "e697"}``. Numbers that do not exist are null, infinite ones ``"-Infinity"``. The fields `text`, `token` and
`near_tie` are there for whoever reads the document and are not read back.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..tokens import TokenTrace, piece_text
from .records import Fate, Generation, Hypothesis, Step

Document = dict[str, Any]
"""An object as `json.loads` gives it."""

_FATES = {fate: fate.name.lower() for fate in Fate}
_CANDIDATE: Mapping[str, DTypeLike] = {
    "id": np.uint32,
    "logprob": np.float32,
    "score": np.float32,
    "renormalised": np.float32,
    "rank": np.uint32,
    "total": np.float64,
}
_TOKEN: Mapping[str, DTypeLike] = {"id": np.uint32, "logprob": np.float32, "rank": np.uint32, "entropy": np.float32}
_CHOSEN = ("score", "renormalised", "blocked")


def generation_as_dict(generation: Generation) -> Document:
    """Everything about one prompt; the traces share one table of pieces."""
    traces = [one.trace for one in generation.hypotheses]
    pieces = _union(generation.pieces, traces)
    return {
        "prompt": generation.prompt,
        "notes": list(generation.notes),
        "hypotheses": [_hypothesis_as_dict(one, pieces) for one in generation.hypotheses],
        "steps": [_step_as_dict(step, pieces) for step in generation.steps],
        "special": sorted(generation.special.union(*(trace.special for trace in traces))),
        "pieces": _pieces_as_dict(pieces),
    }


def generation_from_dict(document: Document) -> Generation:
    """The inverse of `generation_as_dict`.

    Raises:
        ValueError: it is no such document.
    """
    try:
        pieces, special = _pieces(document["pieces"]), frozenset(map(int, document["special"]))
        return Generation(
            prompt=document["prompt"],
            hypotheses=tuple(_hypothesis(one, pieces, special) for one in document["hypotheses"]),
            steps=tuple(map(_step, document["steps"])),
            pieces=pieces,
            special=special,
            notes=tuple(document["notes"]),
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no generation: {type(error).__name__}: {error}") from None


def trace_as_dict(trace: TokenTrace) -> Document:
    """The tokens of one text with what the model thought of them."""
    return {
        "text": trace.text(),
        "prompt_length": trace.prompt_length,
        "tokens": _tokens_as_dicts(trace, trace.pieces),
        "special": sorted(trace.special),
        "pieces": _pieces_as_dict(trace.pieces),
    }


def trace_from_dict(document: Document) -> TokenTrace:
    """The inverse of `trace_as_dict`.

    Raises:
        ValueError: it is no such document.
    """
    try:
        return _trace(document, _pieces(document["pieces"]), frozenset(map(int, document["special"])))
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no trace: {type(error).__name__}: {error}") from None


# -- hypotheses and traces --------------------------------------------------------------------------


def _hypothesis_as_dict(one: Hypothesis, pieces: Mapping[int, bytes]) -> Document:
    tokens = _tokens_as_dicts(one.trace, pieces)
    for name in _CHOSEN:
        for token, number in zip(tokens, _numbers(getattr(one, name)), strict=True):
            token[name] = number
    return {
        "text": one.trace.text(one.trace.prompt_length),
        "total": _number(one.total),
        "final": _number(one.final),
        "finished": bool(one.finished),
        "prompt_length": one.trace.prompt_length,
        "tokens": tokens,
        "path": one.path.tolist(),
    }


def _hypothesis(document: Document, pieces: Mapping[int, bytes], special: frozenset[int]) -> Hypothesis:
    tokens = document["tokens"]
    return Hypothesis(
        trace=_trace(document, pieces, special),
        score=_column(tokens, "score", np.float32),
        renormalised=_column(tokens, "renormalised", np.float32),
        blocked=_column(tokens, "blocked", np.float32),
        path=np.array(document["path"], np.uint32),
        total=_value(document["total"]),
        final=_value(document["final"]),
        finished=document["finished"],
    )


def _tokens_as_dicts(trace: TokenTrace, pieces: Mapping[int, bytes]) -> list[Document]:
    tokens = _as_dicts(trace, _TOKEN, pieces)
    for token, found in zip(tokens, _pairs(trace.alternative_ids, trace.alternative_logprob), strict=True):
        token["alternatives"] = found
    return tokens


def _trace(document: Document, pieces: Mapping[int, bytes], special: frozenset[int]) -> TokenTrace:
    tokens = document["tokens"]
    ids, logprobs = _from_pairs([token["alternatives"] for token in tokens])
    return TokenTrace(
        **{_plural(name): _column(tokens, name, kind) for name, kind in _TOKEN.items()},
        prompt_length=int(document["prompt_length"]),
        alternative_ids=ids,
        alternative_logprob=logprobs,
        pieces=pieces,
        special=special,
    )


# -- steps ------------------------------------------------------------------------------------------


def _step_as_dict(step: Step, pieces: Mapping[int, bytes]) -> Document:
    candidates = _as_dicts(step, _CANDIDATE, pieces)
    for candidate, parent, fate in zip(candidates, step.parents.tolist(), step.fate.tolist(), strict=True):
        candidate.update(parent=parent, fate=_FATES[Fate(fate)])
    columns = (_numbers(step.entropy), _numbers(step.blocked), _pairs(step.alternative_ids, step.alternative_logprob))
    rows = [
        {"entropy": entropy, "blocked": blocked, "alternatives": alternatives}
        for entropy, blocked, alternatives in zip(*columns, strict=True)
    ]
    return {"near_tie": step.near_tie, "candidates": candidates, "rows": rows}


def _step(document: Document) -> Step:
    candidates, rows = document["candidates"], document["rows"]
    ids, logprobs = _from_pairs([row["alternatives"] for row in rows])
    return Step(
        **{_plural(name): _column(candidates, name, kind) for name, kind in _CANDIDATE.items()},
        parents=_column(candidates, "parent", np.uint32),
        fate=np.array([Fate[candidate["fate"].upper()] for candidate in candidates], np.uint8),
        entropy=_column(rows, "entropy", np.float32),
        blocked=_column(rows, "blocked", np.float32),
        alternative_ids=ids,
        alternative_logprob=logprobs,
    )


# -- columns and numbers ----------------------------------------------------------------------------


def _as_dicts(record: object, fields: Mapping[str, DTypeLike], pieces: Mapping[int, bytes]) -> list[Document]:
    """The columns of a record as rows, each with its token for people to read."""
    columns = {name: _numbers(getattr(record, _plural(name))) for name in fields}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [{"token": piece_text(pieces.get(row["id"], b""), row["id"]), **row} for row in rows]


def _plural(name: str) -> str:
    """The column that holds a row's field."""
    return "ids" if name == "id" else name


def _column(rows: Sequence[Document], name: str, kind: DTypeLike) -> NDArray[Any]:
    return np.array([_value(row[name]) for row in rows], kind)


def _pairs(ids: NDArray[np.uint32], logprobs: NDArray[np.float32]) -> list[list[list[Any]]]:
    """(n, k) alternatives as n lists of k pairs of id and log-probability."""
    numbers = iter(_numbers(logprobs.ravel()))
    return [[[token_id, next(numbers)] for token_id in row] for row in ids.tolist()]


def _from_pairs(rows: Sequence[Sequence[Sequence[Any]]]) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    shape = len(rows), len(rows[0]) if rows else 0
    ids = np.array([[pair[0] for pair in row] for row in rows], np.uint32)
    logprobs = np.array([[_value(pair[1]) for pair in row] for row in rows], np.float32)
    return ids.reshape(shape), logprobs.reshape(shape)


def _numbers(column: NDArray[Any]) -> list[Any]:
    """(n,) as numbers for JSON; 32-bit ones with no more digits than it takes to tell them apart."""
    if column.dtype.kind != "f":
        return column.tolist()
    numbers = column.astype(np.float64)
    if column.dtype == np.float32:
        short = column.astype(str).astype(np.float64)
        numbers = np.where(short.astype(np.float32) == column, short, numbers)
    return list(map(_number, numbers.tolist()))


def _number(number: float) -> float | str | None:
    number = float(number)
    if np.isfinite(number):
        return number
    return None if np.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _value(number: float | str | None) -> Any:
    if number is None:
        return float("nan")
    return float(number) if isinstance(number, str) else number


# -- pieces -----------------------------------------------------------------------------------------


def _union(pieces: Mapping[int, bytes], traces: Iterable[TokenTrace]) -> dict[int, bytes]:
    return {**{token_id: piece for trace in traces for token_id, piece in trace.pieces.items()}, **pieces}


def _pieces_as_dict(pieces: Mapping[int, bytes]) -> Document:
    return {str(token_id): _piece_as_json(pieces[token_id]) for token_id in sorted(pieces)}


def _piece_as_json(piece: bytes) -> str | dict[str, str]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return {"hex": piece.hex()}


def _pieces(document: Document) -> dict[int, bytes]:
    return {
        int(token_id): bytes.fromhex(piece["hex"]) if isinstance(piece, dict) else piece.encode()
        for token_id, piece in document.items()
    }
