"""Rows of a training, and queries, as people read them."""

from collections.abc import Sequence
from dataclasses import replace

from ..influence.labels import underlying
from ..influence_report import ReportedText
from ..training.objective import Objective
from ..training.objectives.causal import CausalLM
from ..training.objectives.choices import MultipleChoice
from ..training.objectives.images import ImageClassification
from ..training.objectives.labels import Classification, Regression
from ..training.objectives.masked import MaskedLM
from .studied import Studied


def query_text(studied: Studied, objective: Objective, row: int, span: tuple[int, int] | None) -> ReportedText:
    """A query as people read it, and which of its tokens are asked about; its loss is left open."""
    text = row_text(studied, underlying(objective), row)
    return text if span is None else replace(text, first=span[0], end=span[1])


def row_text(studied: Studied, objective: Objective, row: int, seen: Sequence[tuple[int, int]] = ()) -> ReportedText:
    """A row as people read it, with its label if it has one; `seen` tells when the training saw it."""
    ids = tokens_of(objective, row)
    told = f"{_words(studied, objective, row, ids)}{_label(studied, objective, row)}"
    return ReportedText(tuple(ids), told, 0, len(ids), tuple(seen))


def tokens_of(objective: Objective, row: int) -> list[int]:
    """The tokens of a row; none of an image, nor of several texts side by side."""
    match objective:
        case CausalLM() | MaskedLM() | Classification() | Regression():
            return [int(token) for token in objective.rows.tokens(row)]
        case _:
            return []


def _words(studied: Studied, objective: Objective, row: int, ids: Sequence[int]) -> str:
    """A row as a person reads it; of a question with several endings the right one."""
    tokenizer = studied.material.tokenizer
    if isinstance(objective, MultipleChoice):
        questions = objective.questions
        ids = [int(token) for token in questions.rows.tokens(row * questions.endings + int(questions.labels[row]))]
    return f"row {row}" if tokenizer is None else str(tokenizer.decode(list(ids)))


def _label(studied: Studied, objective: Objective, row: int) -> str:
    """What is to be learned of a row, in words."""
    match objective:
        case Classification() | ImageClassification():
            labels = objective.labels if isinstance(objective, Classification) else objective.images.labels
            number = int(labels[row])
            return f" → {studied.material.fields.get('id2label', {}).get(number, number)}"
        case Regression():
            return f" → {float(objective.labels[row]):g}"
        case _:
            return ""
