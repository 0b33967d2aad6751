"""Score processors: what changes the scores of the next token before a search looks at them.

A processor is a pure function of the tokens so far and the log-probabilities of the next one. Blocked is -inf.
Nothing is renormalised: what is left of the probability tells how much was taken away. A package adds its own by the
entry point `lmwb.processors`: a callable that takes the recipe's `options` as keywords and returns a processor.
"""

from collections.abc import Callable, Collection, Sequence
from importlib.metadata import entry_points
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor

from ..errors import ValueInRecipeError
from ..recipe.keys import nearest
from ..recipe.problems import quoted
from ..recipe.schema import (
    AnyProcessor,
    BadWords,
    BlockNgrams,
    BlockWords,
    Decoding,
    MinimumLength,
    MinP,
    PluginProcessor,
    Temperature,
    TopK,
    TopP,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENTRY_POINTS = "lmwb.processors"
"""The group of entry points where installed packages offer processors."""


class Processor(Protocol):
    """Changes the scores of the next token."""

    def __call__(self, ids: Tensor, scores: Tensor, /) -> Tensor:
        """The new scores; what was given stays as it is.

        Args:
            ids: (rows, n) int64, the tokens of each text so far, without any padding.
            scores: (rows, vocabulary) float32, the model's log-probabilities or what an earlier processor made of them.

        Returns:
            (rows, vocabulary) float32; -inf for what must not come next.
        """
        ...


Step = Callable[[Tensor, int, Tensor], Tensor]
"""A processor inside a search: (ids, length of the longest prompt, scores). Prompts are aligned at their ends; the
places before a shorter one hold an id beyond the vocabulary, which no token has."""


def make(settings: Decoding, tokenizer: "PreTrainedTokenizerBase | None", ends: Collection[int]) -> list[Step]:
    """The processors of a search, in order; those of sampling last.

    Raises:
        ValueInRecipeError: one cannot be made.
    """
    found = [
        _make(processor, f"processors.{place}", tokenizer, ends) for place, processor in enumerate(settings.processors)
    ]
    if settings.temperature is not None:
        found.append(_scores_only(temperature(settings.temperature)))
    if settings.top_k is not None:
        found.append(_scores_only(top_k(settings.top_k)))
    if settings.top_p is not None:
        found.append(_scores_only(top_p(settings.top_p)))
    if settings.min_p is not None:
        found.append(_scores_only(min_p(settings.min_p)))
    return found


def block_words(ids: Tensor, scores: Tensor) -> Tensor:
    """Block every token that is in the text already."""
    if ids.shape[1] == 0:
        return scores
    seen = torch.where(ids < scores.shape[1], ids, ids[:, -1:])  # padding becomes a token that is blocked anyway
    return scores.scatter(1, seen, -torch.inf)


def block_ngrams(n: int) -> Processor:
    """Block every token that would repeat a sequence of n tokens."""

    def block(ids: Tensor, scores: Tensor) -> Tensor:
        length = ids.shape[1]
        if n == 1 or length < n:
            return block_words(ids, scores) if n == 1 else scores
        starts = length - n + 1
        # (rows, starts): the n - 1 tokens from here are the text's last n - 1
        same = ids[:, :starts] == ids[:, starts, None]
        for k in range(1, n - 1):
            same &= ids[:, k : k + starts] == ids[:, starts + k, None]
        rows, places = same.nonzero(as_tuple=True)
        if len(rows) == 0:
            return scores
        return scores.index_put((rows, ids[rows, places + n - 1]), scores.new_tensor(-torch.inf))

    return block


def block_sequences(sequences: Sequence[Sequence[int]]) -> Processor:
    """Block the last token of each sequence where the text ends with those before it."""

    def block(ids: Tensor, scores: Tensor) -> Tensor:
        scores = scores.clone()
        for *before, last in sequences:
            if len(before) > ids.shape[1]:
                continue
            there = (ids[:, ids.shape[1] - len(before) :] == ids.new_tensor(before)).all(1)
            scores[:, last].masked_fill_(there, -torch.inf)
        return scores

    return block


def minimum_length(tokens: int, ends: Collection[int]) -> Processor:
    """Block the ends of text while there are fewer tokens."""
    blocked = sorted(ends)

    def block(ids: Tensor, scores: Tensor) -> Tensor:
        if ids.shape[1] >= tokens or not blocked:
            return scores
        return scores.index_fill(1, torch.tensor(blocked, device=scores.device), -torch.inf)

    return block


def temperature(value: float) -> Processor:
    """Divide the scores."""
    return lambda _, scores: scores / value


def top_k(k: int) -> Processor:
    """Keep the k best of each row, and whatever is as good as the last of them."""

    def block(_: Tensor, scores: Tensor) -> Tensor:
        floor = scores.topk(min(k, scores.shape[1])).values[:, -1:]
        return scores.masked_fill(scores < floor, -torch.inf)

    return block


def top_p(p: float) -> Processor:
    """Keep the fewest best that together have a probability of p (Holtzman et al. 2020, section 3.1)."""

    def block(_: Tensor, scores: Tensor) -> Tensor:
        ordered, order = scores.sort(descending=True, stable=True)
        mass = ordered.softmax(1)
        unneeded = mass.cumsum(1) - mass >= p
        unneeded[:, 0] = False
        return scores.masked_fill(unneeded.scatter(1, order, unneeded), -torch.inf)

    return block


def min_p(p: float) -> Processor:
    """Keep what has at least a share p of the best one's probability (Nguyen et al. 2024)."""
    share = torch.tensor(p).log().item()
    return lambda _, scores: scores.masked_fill(scores < scores.amax(1, keepdim=True) + share, -torch.inf)


def _make(
    processor: AnyProcessor, key: str, tokenizer: "PreTrainedTokenizerBase | None", ends: Collection[int]
) -> Step:
    match processor:
        case BlockWords(scope=scope):
            return _scoped(block_words, scope)
        case BlockNgrams(n=n, scope=scope):
            return _scoped(block_ngrams(n), scope)
        case BadWords(words=words, scope=scope):
            return _scoped(block_sequences(_sequences(words, key, tokenizer)), scope)
        case MinimumLength(tokens=tokens):
            return _scoped(minimum_length(tokens, ends), "generated")
        case Temperature(value=value):
            return _scores_only(temperature(value))
        case TopK(k=k):
            return _scores_only(top_k(k))
        case TopP(p=p):
            return _scores_only(top_p(p))
        case MinP(p=p):
            return _scores_only(min_p(p))
        case PluginProcessor(scope=scope):
            return _scoped(_plugin(processor, key), scope, padding=False)


def _scores_only(processor: Processor) -> Step:
    return lambda ids, _, scores: processor(ids, scores)


def _scoped(processor: Processor, scope: str, padding: bool = True) -> Step:
    """All of the text or what was generated; without padding if the processor does not know it."""
    if scope == "generated":
        return lambda ids, longest, scores: processor(ids[:, longest:], scores)
    return (lambda ids, _, scores: processor(ids, scores)) if padding else _by_length(processor)


def _by_length(processor: Processor) -> Step:
    """One call for each run of rows of the same length, so that padding is never seen."""

    def process(ids: Tensor, longest: int, scores: Tensor) -> Tensor:
        padding = (ids[:, :longest] >= scores.shape[1]).sum(1).tolist()
        if not any(padding):
            return processor(ids, scores)
        cuts = [0, *(row for row in range(1, len(padding)) if padding[row] != padding[row - 1]), len(padding)]
        parts = [processor(ids[first:end, padding[first] :], scores[first:end]) for first, end in pairwise(cuts)]
        return torch.cat(parts)

    return process


def _sequences(words: Sequence[str], key: str, tokenizer: "PreTrainedTokenizerBase | None") -> list[tuple[int, ...]]:
    """What the words are in tokens, with and without a space before them."""
    if tokenizer is None:
        raise ValueInRecipeError(f"{key}.words", "words cannot be blocked without a tokenizer")
    found: set[tuple[int, ...]] = set()
    for word in words:
        for text in (word, f" {word}"):
            ids = cast("list[int]", tokenizer(text, add_special_tokens=False)["input_ids"])
            if not ids:
                raise ValueInRecipeError(f"{key}.words", f"{quoted(word)} is no token at all")
            found.add(tuple(ids))
    return sorted(found)


def _plugin(processor: PluginProcessor, key: str) -> Processor:
    known = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if processor.name not in known:
        close = nearest(processor.name, list(known))
        there = f"did you mean '{close}'?" if close else f"there are: {', '.join(sorted(known)) or 'none'}"
        raise ValueInRecipeError(f"{key}.name", f"no installed package offers {quoted(processor.name)}; {there}")
    try:
        return known[processor.name].load()(**processor.options)
    except Exception as error:
        raise ValueInRecipeError(
            key, f"the processor {quoted(processor.name)} cannot be made: {type(error).__name__}: {error}"
        ) from None
