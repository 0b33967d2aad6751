"""What a stage asks a training about: texts in the recipe's words, or rows that the training read."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..errors import UsageError, ValueInRecipeError
from ..influence import Side, queries_of_tokens
from ..recipe.schema import AnyInfluence, Query, QueryRows
from ..training.objective import Objective
from ..training.objectives.causal import CausalLM
from .studied import Studied

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Spans = Mapping[int, tuple[int, int]]
"""By a row of the queries' objective, the tokens that are asked about: the first, and the one behind the last."""


def read_queries(stage: AnyInfluence, studied: Studied) -> tuple[Side, Spans]:
    """The queries of a stage, and which of their tokens are asked about; where nothing is said, all are.

    Raises:
        ValueInRecipeError: the training has no such rows, is of no language model, or a query predicts nothing.
    """
    if stage.queries is not None:
        return _rows_of_training(stage.queries, studied), {}
    return _texts(stage.query, studied)


def _rows_of_training(asked: QueryRows, studied: Studied) -> Side:
    """Rows of one of the training's parts, of its first objective if the part has several."""
    material = studied.material
    parts: dict[str, Mapping[str, Objective]] = {
        "validation": material.validation,
        "test": material.test,
        "train": {"train": material.train},
    }
    found = next(iter(parts[asked.part].values()), None)
    if found is None or not len(found):
        there = ", ".join(name for name, objectives in parts.items() if objectives)
        raise ValueInRecipeError("queries.part", f"the training has no {asked.part} rows; it has {there}")
    if asked.rows is None:
        return Side(found, range(min(asked.count, len(found))))
    if len(set(asked.rows)) < len(asked.rows):
        raise ValueInRecipeError("queries.rows", "a row is named twice; name each once")
    if max(asked.rows) >= len(found):
        last = len(found) - 1
        raise ValueInRecipeError("queries.rows", f"there is no row {max(asked.rows)}; {asked.part} has 0 to {last:,}")
    return Side(found, asked.rows)


def _texts(asked: list[Query], studied: Studied) -> tuple[Side, Spans]:
    tokenizer, kind = studied.material.tokenizer, studied.material.train
    if not isinstance(kind, CausalLM) or tokenizer is None:
        raise ValueInRecipeError(
            "query", f"only a language model says texts, and {studied.name} is none; take rows: [stage.queries]"
        )
    encoded = [_encoded(each, tokenizer, number) for number, each in enumerate(asked)]
    known = len(tokenizer)
    for number, (ids, _) in enumerate(encoded):
        if ids and max(ids) >= known:
            raise ValueInRecipeError(
                f"query.{number}.ids", f"there is no token {max(ids)}; the tokenizer has {known:,}, from 0 on"
            )
    spans = {number: span for number, (_, span) in enumerate(encoded) if span is not None}
    try:
        return Side.all_of(queries_of_tokens([ids for ids, _ in encoded], spans)), spans
    except UsageError as error:
        raise ValueInRecipeError("query", str(error)) from None


def _encoded(
    query: Query, tokenizer: "PreTrainedTokenizerBase", number: int
) -> tuple[list[int], tuple[int, int] | None]:
    """A query's tokens, and which of them are asked about; None for all.

    Prompt and text are read as one, as training texts are: a token that reaches from one into the other is asked about.
    """
    if query.ids is not None:
        return query.ids, query.mark
    encode: Callable[..., list[int]] = tokenizer.encode  # pyright: ignore[reportAssignmentType]
    whole = encode(query.prompt + query.text, verbose=False)
    while whole and whole[-1] in tokenizer.all_special_ids:  # the text's end is not asked about
        whole.pop()
    if not query.prompt:
        return whole, None
    before = encode(query.prompt, verbose=False)
    first = next((i for i, (one, other) in enumerate(zip(before, whole, strict=False)) if one != other), len(before))
    if first >= len(whole):
        raise ValueInRecipeError(f"query.{number}.text", "has no tokens; give a text that the tokenizer knows")
    return whole, (max(1, first), len(whole))
