"""Tokenizers of whole words, lower-cased, punctuation apart: torchtext's `basic_english`, with a vocabulary."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers.normalizers import Normalizer
    from transformers import PreTrainedTokenizerBase

PAD, UNKNOWN, SEPARATOR = "<pad>", "<unk>", "<sep>"
SPECIAL = (PAD, UNKNOWN, SEPARATOR)
"""The first tokens of every vocabulary; the last stands between the texts of a pair."""

_REPLACED = (
    ("'", " '  "),
    ('"', ""),
    (".", " . "),
    ("<br />", " "),
    *((mark, f" {mark} ") for mark in ",()!?"),
    (";", " "),
    (":", " "),
    *((chr(code), " ") for code in range(0x1C, 0x20)),  # what str.split takes for spaces, and tokenizers does not
)


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs, by the words that the tokenizer sees."""
    normalizer = _normalizer()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text).split())
    return counts


def frequent(counts: Mapping[str, int], at_most: int | None, at_least: int) -> list[str]:
    """The words that occur at least so often, and at most so many of them; frequent ones first, then by letters."""
    ordered = sorted((-count, word) for word, count in counts.items() if count >= at_least and word not in SPECIAL)
    return [word for _, word in ordered[:at_most]]


def words_tokenizer(words: Sequence[str]) -> "PreTrainedTokenizerBase":
    """A tokenizer that knows these words, each once, after the special tokens; it saves and loads like any other."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*SPECIAL, *words]))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    inner.normalizer = _normalizer()  # type: ignore[assignment]
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    inner.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="$A", pair=f"$A {SEPARATOR} $B", special_tokens=[(SEPARATOR, vocabulary[SEPARATOR])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token=UNKNOWN,
        pad_token=PAD,
        sep_token=SEPARATOR,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=10**9,
    )


def _normalizer() -> "Normalizer":
    from tokenizers import Regex, normalizers

    replaced = [normalizers.Replace(Regex(re.escape(old)), new) for old, new in _REPLACED]
    return normalizers.Sequence([normalizers.Lowercase(), *replaced])
