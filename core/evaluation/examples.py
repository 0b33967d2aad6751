"""What models are measured on: whole texts, or beginnings and what follows them."""

from dataclasses import dataclass

from ..data.sources import SourceError, read_documents, read_table
from ..data.stories import sentence_pairs
from ..errors import ValueInRecipeError
from ..recipe.schema import EvaluationData
from ..text import printable

_KEY = "data.test"


@dataclass(frozen=True)
class Examples:
    """Texts or pairs, one of which is empty.

    Attributes:
        texts: whole texts.
        pairs: (prefix, continuation).
        notes: what was read and what was left out, sentences.
        skipped: what was left out.
    """

    texts: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    skipped: int = 0


def read_examples(data: EvaluationData) -> Examples:
    """Read what a recipe names.

    Raises:
        ValueInRecipeError: it cannot be read, or holds nothing to measure on; it names the key.
    """
    try:
        if data.examples == "pairs":
            return _columns(data)
        texts = read_documents(data.test, data.text, data.documents, data.max_rows)
    except SourceError as error:
        raise ValueInRecipeError(_KEY if error.key == "data.train" else error.key, str(error)) from None
    if data.examples == "texts":
        return Examples(tuple(texts), (), (f"texts: {len(texts):,}",))
    cut = sentence_pairs(texts)
    if not cut.pairs:
        raise ValueInRecipeError(
            _KEY, f"{printable(data.test)}: none of {len(texts):,} texts has two sentences; is 'documents' right?"
        )
    told = f"stories: {len(texts):,}; first and second sentence of {len(cut.pairs):,}"
    skipped = f"; skipped for want of a second sentence: {len(cut.skipped):,}"
    return Examples((), cut.pairs, (told + skipped,), len(cut.skipped))


def _columns(data: EvaluationData) -> Examples:
    pairs: list[tuple[str, str]] = []
    empty = 0
    for number, row in read_table(data.test, data.max_rows):
        prefix, continuation = (_cell(data, key, number, row) for key in ("prefix", "continuation"))
        if continuation:
            pairs.append((prefix, continuation))
        else:
            empty += 1
    if not pairs:
        raise ValueInRecipeError(_KEY, f"{printable(data.test)} holds no pairs")
    note = f"pairs: {len(pairs):,}" + (f"; skipped for want of a continuation: {empty:,}" if empty else "")
    return Examples((), tuple(pairs), (note,), empty)


def _cell(data: EvaluationData, key: str, number: int, row: dict[str, object]) -> str:
    """The text in the column that a key names; empty if there is none."""
    column = str(getattr(data, key))
    if column not in row:
        names = ", ".join(map(printable, row))
        raise ValueInRecipeError(
            f"data.{key}", f"{printable(data.test)} has no column '{printable(column)}'; it has {names}"
        )
    value = row[column]
    if value is not None and not isinstance(value, str):
        raise ValueInRecipeError(
            f"data.{key}", f"{printable(data.test)}: row {number} has no text in column '{printable(column)}'"
        )
    return value or ""
