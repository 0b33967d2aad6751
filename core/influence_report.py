"""What a stage of influence has found, as people look at it: queries, the rows that made them so, tokens, and steps.

One file, `influence.json`, is what the command line and the app read; neither needs torch for it. All scores of all
rows lie beside it as safetensors and parquet.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import MachineError, UsageError
from .files import write_atomically
from .text import json_text
from .tokens import TokenTrace

FILE = "influence.json"
_VERSION = 1


@dataclass(frozen=True)
class ReportedText:
    """A query or a training row.

    Attributes:
        ids: its tokens; empty where rows are no text, such as images.
        words: how a person reads it, with its label if it has one: foreign text.
        first, end: with a query, the tokens that are asked about; of a row all.
        seen: with a row, (step, place in the step's batch, from 0 on) for each time that the training saw it.
        loss: with a query, its loss in nats, summed over what is asked about.
    """

    ids: tuple[int, ...]
    words: str
    first: int = 0
    end: int = 0
    seen: tuple[tuple[int, int], ...] = ()
    loss: float | None = None


@dataclass(frozen=True)
class Found:
    """A training row that a query depends on.

    Attributes:
        row: its number.
        score: positive if training on it lowered the query's loss.
        tokens: the share of each of the row's tokens in the score; empty if they were not asked for. A language model's
            last token, from which nothing is predicted, has none.
        query_tokens: the share of each of the query's tokens; likewise.
    """

    row: int
    score: float
    tokens: tuple[float, ...] = ()
    query_tokens: tuple[float, ...] = ()


@dataclass(frozen=True)
class Answers:
    """What one strategy says of one query.

    Attributes:
        best: rows with the highest scores, best first.
        worst: rows with the lowest scores, lowest first.
    """

    best: tuple[Found, ...]
    worst: tuple[Found, ...]


@dataclass(frozen=True)
class Report:
    """Everything that is shown of a stage.

    Attributes:
        of: the training that was asked about, RUN/STAGE.
        sign: what the sign of a score means.
        queries: what was asked.
        answers: by strategy, one for each query; with aggregated queries a single one.
        rows: the rows that answers or batches name, by number.
        batches: by step, the rows of its batch in order: for each row of the answers the first step that saw it.
        training_rows: how many rows there are.
        pieces: token id to the bytes that it stands for, for every id above.
        special: ids that are special tokens.
        profile: what each phase took: phase, calls, mean, total, share, peak_bytes.
        notes: what was left out, approximated or taken from the cache.
        self_scores: by strategy, the rows with the highest scores with themselves, highest first; empty if they were
            not asked for.
    """

    of: str
    sign: str
    queries: tuple[ReportedText, ...]
    answers: Mapping[str, tuple[Answers, ...]]
    rows: Mapping[int, ReportedText]
    batches: Mapping[int, tuple[int, ...]]
    training_rows: int
    pieces: Mapping[int, bytes]
    special: frozenset[int] = frozenset()
    profile: Sequence[Mapping[str, Any]] = ()
    notes: tuple[str, ...] = ()
    self_scores: Mapping[str, tuple[Found, ...]] = field(default_factory=dict[str, tuple[Found, ...]])

    def trace(self, text: ReportedText) -> TokenTrace:
        """The tokens of a text as views of tokens take them, without any numbers of a model."""
        n = len(text.ids)
        nothing = np.full(n, np.nan, np.float32)
        return TokenTrace(
            np.array(text.ids, np.uint32), n, nothing, np.zeros(n, np.uint32), nothing,
            np.zeros((n, 0), np.uint32), np.zeros((n, 0), np.float32), self.pieces, self.special,
        )  # fmt: skip


def write_report(report: Report, folder: Path) -> Path:
    """Write a report, whole or not at all.

    Raises:
        MachineError: it cannot be written.
    """
    document = {
        "version": _VERSION,
        "of": report.of,
        "sign": report.sign,
        "queries": [_text_as_dict(each) for each in report.queries],
        "answers": {strategy: [_answers_as_dict(each) for each in all_] for strategy, all_ in report.answers.items()},
        "rows": {str(row): _text_as_dict(each) for row, each in report.rows.items()},
        "batches": {str(step): list(rows) for step, rows in report.batches.items()},
        "training_rows": report.training_rows,
        "pieces": {str(token): piece.hex() for token, piece in report.pieces.items()},
        "special": sorted(report.special),
        "profile": [dict(each) for each in report.profile],
        "notes": list(report.notes),
        "self_scores": {strategy: _listed(rows) for strategy, rows in report.self_scores.items()},
    }
    try:
        write_atomically(folder / FILE, json_text(document).encode())
    except OSError as error:
        raise MachineError(f"cannot write what was found to {folder}: {error.strerror}") from None
    return folder / FILE


def read_report(folder: Path) -> Report:
    """The report that a stage has left in its folder.

    Raises:
        UsageError: there is none, or it is damaged or of another version of lmwb.
    """
    file = folder / FILE
    try:
        document: Any = json.loads(file.read_text(encoding="utf-8"))
        if document["version"] != _VERSION:
            raise UsageError(f"{file} was written by another version of lmwb; run the stage again")
        return _report(document)
    except OSError as error:
        raise UsageError(f"there is no report of influence in {folder}: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UsageError(f"{file} is damaged ({type(error).__name__}); run the stage again") from None


def _report(document: Any) -> Report:
    return Report(
        of=str(document["of"]),
        sign=str(document["sign"]),
        queries=tuple(map(_text, document["queries"])),
        answers={str(strategy): tuple(map(_answers, all_)) for strategy, all_ in document["answers"].items()},
        rows={int(row): _text(each) for row, each in document["rows"].items()},
        batches={int(step): tuple(map(int, rows)) for step, rows in document["batches"].items()},
        training_rows=int(document["training_rows"]),
        pieces={int(token): bytes.fromhex(piece) for token, piece in document["pieces"].items()},
        special=frozenset(map(int, document["special"])),
        profile=list(document["profile"]),
        notes=tuple(map(str, document["notes"])),
        self_scores={str(strategy): _found(rows) for strategy, rows in document["self_scores"].items()},
    )


def _text_as_dict(text: ReportedText) -> dict[str, Any]:
    return {
        "ids": list(text.ids),
        "words": text.words,
        "asked": [text.first, text.end],
        "seen": [list(each) for each in text.seen],
        "loss": text.loss,
    }


def _text(document: Any) -> ReportedText:
    first, end = map(int, document["asked"])
    seen = tuple((int(step), int(place)) for step, place in document["seen"])
    loss = None if document["loss"] is None else float(document["loss"])
    return ReportedText(tuple(map(int, document["ids"])), str(document["words"]), first, end, seen, loss)


def _answers_as_dict(answers: Answers) -> dict[str, Any]:
    return {"best": _listed(answers.best), "worst": _listed(answers.worst)}


def _listed(rows: Sequence[Found]) -> list[dict[str, Any]]:
    return [
        {"row": each.row, "score": each.score, "tokens": each.tokens, "query_tokens": each.query_tokens}
        for each in rows
    ]


def _answers(document: Any) -> Answers:
    return Answers(_found(document["best"]), _found(document["worst"]))


def _found(rows: Any) -> tuple[Found, ...]:
    return tuple(
        Found(
            int(each["row"]),
            float(each["score"]),
            tuple(map(float, each["tokens"])),
            tuple(map(float, each["query_tokens"])),
        )
        for each in rows
    )
