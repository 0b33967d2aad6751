"""Perplexity of texts, and of continuations given what stands before them.

Three averages are never confused, for they differ by a factor of five on the same texts: `perplexity` weights every
token alike, `mean_perplexity` is the mean of the texts' own, `geometric_mean_perplexity` that of their logarithms.
Between tokenizers only `bits_per_byte` can be compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ..decoding.likelihood import Passage, log_probabilities, windowed
from ..errors import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Beginning = Literal["tokenizer", "always", "never"]
"""What stands before a text: what the tokenizer puts there by itself, its beginning-of-text token, or nothing. With
nothing, a text's first token has no context and gets no probability."""
Boundary = Literal["split", "joint"]
"""Where a continuation begins in tokens: `split` encodes prefix and continuation each by itself, without special
tokens; `joint` encodes both as one text, and a token that belongs to both counts as continuation."""


@dataclass(frozen=True)
class Perplexity:
    """What a model thinks of n texts or continuations. Those without a token to score are undefined: NaN.

    Attributes:
        nll: (n,) float64, the negative logarithm of each one's probability, natural.
        tokens: (n,) int64, scored tokens.
        size: (n,) float64, bytes of UTF-8 that the scored tokens stand for; NaN if the tokenizer cannot tell.
        unscored: tokens of the texts themselves that had no context.
        unknown: scored tokens that stand for something which the tokenizer does not know.
        windowed: longer than the model's longest context, read in overlapping windows.
        beginning: what was put before each.
        boundary: of continuations; None for texts.
        differing: numbers of the pairs, from 0, whose tokens depend on the boundary.
    """

    nll: NDArray[np.float64]
    tokens: NDArray[np.int64]
    size: NDArray[np.float64]
    unscored: int
    unknown: int
    windowed: int
    beginning: Beginning
    boundary: Boundary | None = None
    differing: tuple[int, ...] = ()

    @property
    def each(self) -> NDArray[np.float64]:
        """(n,) float64, the perplexity of each text; NaN for the undefined."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return np.exp(self.nll / self.tokens)

    @property
    def undefined(self) -> int:
        """How many had no token to score."""
        return int((self.tokens == 0).sum())

    @property
    def corpus(self) -> float:
        """exp(sum of negative logarithms / number of tokens); NaN if nothing was scored."""
        return _exp(_ratio(np.nansum(self.nll), self.tokens.sum()))

    @property
    def mean(self) -> float:
        """The mean of the perplexities of those that are defined."""
        return _mean(self.each)

    @property
    def geometric_mean(self) -> float:
        """exp(mean of the logarithms of the perplexities)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return _exp(_mean(self.nll / self.tokens))

    @property
    def bits_per_byte(self) -> float:
        """Sum of negative logarithms to base 2 / bytes of what was scored; NaN if the tokenizer cannot tell."""
        defined = self.tokens > 0
        return _ratio(self.nll[defined].sum() / np.log(2), self.size[defined].sum())

    def figures(self) -> dict[str, float | int]:
        """Everything by the names that tables give it; the averages first, then what was counted."""
        counts: dict[str, float | int] = {
            ("texts" if self.boundary is None else "pairs"): len(self.nll),
            "tokens": int(self.tokens.sum()),
            "undefined": self.undefined,
        }
        if self.boundary is not None:
            counts["boundary_differs"] = len(self.differing)
        return {
            "perplexity": self.corpus,
            "mean_perplexity": self.mean,
            "geometric_mean_perplexity": self.geometric_mean,
            "bits_per_byte": self.bits_per_byte,
            **counts,
        }

    def notes(self) -> list[str]:
        """How it was measured, and what a reader must know."""
        how = {
            "tokenizer": "with whatever special tokens the tokenizer puts in front",
            "always": "with a beginning-of-text token in front",
            "never": "with no special token in front",
        }[self.beginning]
        thing = "text"
        if self.boundary is not None:
            thing, how = "continuation", f"each given its prefix, {how}; boundary '{self.boundary}'"
        found = [f"perplexity of {_count(len(self.nll), thing)}, {how}"]
        if self.differing:
            found.append(f"{_count(len(self.differing), 'pair')} with other tokens for the other boundary, among these")
        if self.undefined:
            found.append(f"{_count(self.undefined, thing)} without a token to score, left out")
        if self.unscored:
            found.append(f"{_count(self.unscored, 'token')} with nothing before, not scored")
        if self.unknown:
            found.append(
                f"{_count(self.unknown, 'scored token')} that the tokenizer does not know: text is missing there"
            )
        if self.windowed:
            found.append(f"{_count(self.windowed, thing)} beyond the model's longest context, read in windows")
        if np.isnan(self.bits_per_byte) and self.tokens.sum():
            found.append("this tokenizer does not tell where its tokens stand, so there are no bits per byte")
        return found


def perplexity_of_texts(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    texts: Sequence[str],
    beginning: Beginning = "tokenizer",
    look: Callable[[], None] = lambda: None,
) -> Perplexity:
    """What a causal language model thinks of texts; `look` is called with every batch and may raise to end it.

    Raises:
        UsageError: there is no beginning-of-text token and one is wanted.
        TrainingError: the model's output is not finite.
    """
    marks = marks_before(tokenizer, beginning)
    items = [_Item(ids, 0, starts, text) for (ids, starts), text in zip(_encode(tokenizer, texts), texts, strict=True)]
    return _measure(model, tokenizer, marks, items, beginning, look)


def perplexity_of_continuations(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    pairs: Sequence[tuple[str, str]],
    boundary: Boundary = "split",
    beginning: Beginning = "never",
    look: Callable[[], None] = lambda: None,
) -> Perplexity:
    """What a causal language model thinks of continuations, each given its prefix: pairs of (prefix, continuation).

    `look` is called with every batch and may raise to end it.

    Raises:
        UsageError: there is no beginning-of-text token and one is wanted, or `joint` is wanted of a tokenizer that does
            not tell where its tokens stand.
        TrainingError: the model's output is not finite.
    """
    marks = marks_before(tokenizer, beginning)
    whole = _encode(tokenizer, [prefix + continuation for prefix, continuation in pairs], ends=True)
    before = _encode(tokenizer, [prefix for prefix, _ in pairs])
    after = _encode(tokenizer, [continuation for _, continuation in pairs])
    items: list[_Item] = []
    differing: list[int] = []
    for number, (prefix, continuation) in enumerate(pairs):
        (all_ids, ends), (given, _), (ids, starts) = whole[number], before[number], after[number]
        if all_ids != given + ids:
            differing.append(number)
        if boundary == "split":
            items.append(_Item(given + ids, len(given), starts, continuation))
            continue
        if ends is None:
            raise UsageError("this tokenizer does not tell where its tokens stand; use the boundary 'split'")
        first = sum(end <= len(prefix) for _, end in ends) if continuation else len(all_ids)
        items.append(_Item(all_ids, first, [start for start, _ in ends[first:]], prefix + continuation))
    return _measure(model, tokenizer, marks, items, beginning, look, boundary, tuple(differing))


def marks_before(tokenizer: "PreTrainedTokenizerBase", beginning: Beginning) -> list[int]:
    """The special tokens that stand before a text.

    Raises:
        UsageError: the tokenizer has no beginning-of-text token and one is wanted.
    """
    if beginning == "never":
        return []
    if beginning == "always":
        first = cast("int | None", tokenizer.bos_token_id)
        if first is None:
            raise UsageError("the tokenizer has no beginning-of-text token; use the beginning 'tokenizer' or 'never'")
        return [first]
    bare, framed = (_ids(tokenizer("a", add_special_tokens=special)) for special in (False, True))
    places = [at for at in range(len(framed) + 1) if framed[at : at + len(bare)] == bare]
    return framed[: places[0]] if places else []


# -- inside ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Item:
    """Tokens, the first that is asked about, and where the tokens from that one on begin in the text (in letters)."""

    ids: list[int]
    first: int
    starts: "Sequence[Any] | None"
    text: str


def _measure(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    marks: list[int],
    items: Sequence[_Item],
    beginning: Beginning,
    look: Callable[[], None],
    boundary: Boundary | None = None,
    differing: tuple[int, ...] = (),
) -> Perplexity:
    passages = [Passage(np.asarray(marks + item.ids, np.int64), len(marks) + item.first) for item in items]
    found = log_probabilities(model, passages, look)
    tokens = np.array([passage.scored for passage in passages], np.int64)
    asked = sum(len(item.ids) - item.first for item in items)
    unknown = tokenizer.unk_token_id
    if unknown is not None and unknown in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        unknown = None  # GPT-2 calls its end of text so, and knows everything
    return Perplexity(
        nll=np.array([-np.nansum(each) if n else np.nan for each, n in zip(found, tokens, strict=True)], np.float64),
        tokens=tokens,
        size=np.array(
            [_size(item, len(item.ids) - item.first - int(n)) for item, n in zip(items, tokens, strict=True)]
        ),
        unscored=asked - int(tokens.sum()),
        unknown=sum(int((passage.ids[max(passage.first, 1) :] == unknown).sum()) for passage in passages),
        windowed=windowed(model, passages),
        beginning=beginning,
        boundary=boundary,
        differing=differing,
    )


def _size(item: _Item, unscored: int) -> float:
    """Bytes of the text from the first scored token on."""
    if item.starts is None:
        return np.nan
    if unscored >= len(item.starts):
        return 0.0
    start = item.starts[unscored]
    return float(len(item.text[start:].encode("utf-8", "surrogatepass")))


def _encode(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], ends: bool = False
) -> list[tuple[list[int], Any]]:
    """The ids of each text without special tokens, with where each token begins, or its (start, end)."""
    if not texts:
        return []
    told = bool(getattr(tokenizer, "is_fast", False))
    encoded: Any = tokenizer(
        list(texts), add_special_tokens=False, return_offsets_mapping=told, return_attention_mask=False, verbose=False
    )
    if not told:
        return [(list(ids), None) for ids in encoded["input_ids"]]
    return [
        (ids, places if ends else [start for start, _ in places])
        for ids, places in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _ids(encoded: Any) -> list[int]:
    return cast("list[int]", encoded["input_ids"])


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _mean(values: NDArray[np.float64]) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _exp(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(value))
