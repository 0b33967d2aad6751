"""Training tokenizers on a corpus: byte-pair encoding, WordPiece, Unigram.

The same corpus gives the same tokenizer. The trainers of `tokenizers` do not see to that by themselves: WordPiece
numbers its letters, and Unigram rates rare letters, in the order of a hash table. Here letters have the order of their
code points.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import ValueInRecipeError
from ..recipe.schema import BpeTokenizer, UnigramTokenizer, WordPieceTokenizer
from .tokenizer import Framing, framing_of, load_tokenizer

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerBase

END_OF_TEXT = "<|endoftext|>"
_LETTERS = 1000
"""The most letters in a WordPiece vocabulary, the commonest ones; words with others become the unknown token."""
_ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_PENALTY = 1e-4
"""By how much Unigram's trainer sets letters apart that it must keep although they are no good."""
_DIGITS = 5
"""Unigram's scores differ from the 14th digit on, depending on the order in which they were summed."""


@dataclass(frozen=True)
class _Specials:
    """The special tokens of a tokenizer to be.

    Attributes:
        tokens: in the order of their ids.
        roles: by role, such as `cls`, which one has it.
        further: those without a role.
        framing: where they stand around a text and a pair of texts.
        inputs: what the tokenizer gives a model besides ids, such as `token_type_ids`.
    """

    tokens: Sequence[str]
    roles: dict[str, str]
    framing: Framing
    further: Sequence[str] = ()
    inputs: Sequence[str] = field(default=("input_ids", "token_type_ids", "attention_mask"))


_PLAIN = _Specials(
    [END_OF_TEXT], {"bos": END_OF_TEXT, "eos": END_OF_TEXT}, Framing(), inputs=("input_ids", "attention_mask")
)
"""Those of GPT-2."""

_BERT = _Specials(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    Framing(
        single=(("[CLS]", 0), ("$A", 0), ("[SEP]", 0)),
        pair=(("[CLS]", 0), ("$A", 0), ("[SEP]", 0), ("$B", 1), ("[SEP]", 1)),
    ),
)


def train_tokenizer(
    documents: Iterable[str],
    settings: BpeTokenizer | WordPieceTokenizer | UnigramTokenizer,
    tell: Callable[[str], None],
) -> "PreTrainedTokenizerBase":
    """Train the kind of tokenizer that the settings ask for.

    Args:
        documents: the texts.
        settings: the recipe's table.
        tell: hears when the texts do not give as many tokens as were asked for.

    Raises:
        ValueInRecipeError: the tokenizer whose special tokens are wanted cannot be loaded or lacks what is needed, or
            the vocabulary has no room for what it must hold; it names the key.
    """
    if isinstance(settings, BpeTokenizer):
        tokenizer = train_bpe(documents, settings)
    elif isinstance(settings, WordPieceTokenizer):
        tokenizer = train_wordpiece(list(documents), settings)
    else:
        tokenizer = train_unigram(documents, settings)
    if len(tokenizer) < settings.vocab_size:
        tell(
            f"tokenizer: the texts give only {len(tokenizer):,} tokens of the {settings.vocab_size:,} asked for in "
            "tokenizer.vocab_size"
        )
    return tokenizer


def train_bpe(documents: Iterable[str], settings: BpeTokenizer) -> "PreTrainedTokenizerBase":
    """Train byte-level byte-pair encoding (Sennrich et al. 2016, over bytes as in GPT-2) on texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    specials = _specials(settings.special_tokens_from, _PLAIN)
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    inner.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    _make_room(settings.vocab_size, len(specials.tokens) + 256, "the bytes")
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        min_frequency=settings.min_frequency,
        special_tokens=_added(specials, takes_space=True),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(documents, trainer)
    return _finished(inner, specials)


def train_wordpiece(documents: Sequence[str], settings: WordPieceTokenizer) -> "PreTrainedTokenizerBase":
    """Train WordPiece on texts: BERT's normaliser, words and framing (Devlin et al. 2019)."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    specials = _specials(settings.special_tokens_from, _BERT)
    if "unk" not in specials.roles:
        raise _lacks(settings.special_tokens_from, "unknown token")

    def untrained(vocabulary: dict[str, int]) -> "Tokenizer":
        inner = Tokenizer(models.WordPiece(vocabulary, unk_token=specials.roles["unk"]))
        inner.normalizer = normalizers.BertNormalizer(lowercase=settings.lowercase)  # type: ignore[assignment]
        inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
        inner.decoder = decoders.WordPiece()  # type: ignore[assignment]
        return inner

    letters = _letters(documents, untrained({}).normalizer)

    def trained(size: int, first: Sequence[str]) -> dict[str, int]:
        inner = untrained({})
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            min_frequency=settings.min_frequency,
            special_tokens=list(first),
            initial_alphabet=letters,
            limit_alphabet=len(letters),
            show_progress=False,
        )
        inner.train_from_iterator(documents, trainer)
        return inner.get_vocab(with_added_tokens=False)

    # a first training without any merges finds the letters in front of and within words; the second one is given them
    # in order, as if they were special tokens, which come first and stay as they are
    pieces = sorted(trained(0, []), key=lambda piece: (piece.startswith("##"), piece))
    first = [*specials.tokens, *(piece for piece in pieces if piece not in specials.tokens)]
    _make_room(settings.vocab_size, len(first), "the letters of the texts")
    inner = untrained(trained(settings.vocab_size, first))
    inner.add_special_tokens(_added(specials))
    return _finished(inner, specials)


def train_unigram(documents: Iterable[str], settings: UnigramTokenizer) -> "PreTrainedTokenizerBase":
    """Train a unigram language model over pieces (Kudo 2018) on texts, with SentencePiece's sign for spaces."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    specials = _specials(settings.special_tokens_from, _BERT)
    if "unk" not in specials.roles:
        raise _lacks(settings.special_tokens_from, "unknown token")
    inner = Tokenizer(models.Unigram())
    spaces = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Replace(Regex(r" +$"), "")]
    inner.normalizer = normalizers.Sequence([normalizers.NFKC(), *spaces])  # type: ignore[assignment]
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")  # type: ignore[assignment]
    inner.decoder = decoders.Metaspace(prepend_scheme="first")  # type: ignore[assignment]
    trainer = trainers.UnigramTrainer(
        vocab_size=settings.vocab_size,
        special_tokens=list(specials.tokens),
        unk_token=specials.roles["unk"],
        show_progress=False,
    )
    try:
        inner.train_from_iterator(documents, trainer)
    except Exception as error:
        size = f"{settings.vocab_size:,} tokens"
        raise ValueInRecipeError(
            "tokenizer.vocab_size", f"these texts give no Unigram of {size}: {error}; try another size"
        ) from None
    model = json.loads(inner.to_str())["model"]
    vocabulary = [*((token, 0.0) for token in specials.tokens), *_in_order(model["vocab"], specials.tokens)]
    inner.model = models.Unigram(vocabulary, specials.tokens.index(specials.roles["unk"]), False)
    inner.add_special_tokens(_added(specials, takes_space=True))
    return _finished(inner, specials)


def _in_order(vocabulary: Iterable[tuple[str, float]], without: Sequence[str]) -> list[tuple[str, float]]:
    """Unigram's pieces with their scores, likeliest first, alike however the trainer's hash table lay."""
    pieces = {piece: score for piece, score in vocabulary if piece not in without}
    least = min(pieces.values(), default=0.0)
    steps = {piece: (score - least) / _PENALTY for piece, score in pieces.items() if len(piece) == 1}
    kept = sorted(piece for piece, count in steps.items() if abs(count - round(count)) < 1e-6)
    pieces |= dict(zip(kept, sorted((pieces[piece] for piece in kept), reverse=True), strict=True))
    rounded = ((piece, round(score, _DIGITS)) for piece, score in pieces.items())
    return sorted(rounded, key=lambda entry: (-entry[1], entry[0]))


def _letters(documents: Iterable[str], normalizer: Any) -> list[str]:
    """The commonest letters of the texts, by code point."""
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(normalizer.normalize_str(document))
    commonest = sorted(counts, key=lambda letter: (-counts[letter], letter))
    return sorted([letter for letter in commonest if not letter.isspace()][:_LETTERS])


def _specials(source: str | None, default: _Specials) -> _Specials:
    """The special tokens, roles and framing of an existing tokenizer, or the default ones."""
    if source is None:
        return default
    other = load_tokenizer(source, "tokenizer.special_tokens_from")
    roles = {role: token for role in _ROLES if isinstance(token := getattr(other, f"{role}_token"), str)}
    ids = dict(zip(other.all_special_tokens, other.all_special_ids, strict=True))
    tokens = sorted(ids, key=lambda token: (ids[token], token))
    if not tokens:
        raise ValueInRecipeError("tokenizer.special_tokens_from", f"the tokenizer '{source}' has no special tokens")
    further = [token for token in tokens if token not in roles.values()]
    return _Specials(tokens, roles, framing_of(other), further, list(other.model_input_names))


def _added(specials: _Specials, takes_space: bool = False) -> list["AddedToken"]:
    """The tokens as `tokenizers` wants them.

    Args:
        specials: the tokens.
        takes_space: the vocabulary writes the space before a word as a part of it, so the mask stands for both.
    """
    from tokenizers import AddedToken

    mask = specials.roles.get("mask")
    return [
        AddedToken(token, special=True, normalized=False, lstrip=takes_space and token == mask)
        for token in specials.tokens
    ]


def _finished(inner: "Tokenizer", specials: _Specials) -> "PreTrainedTokenizerBase":
    """The tokenizer as transformers knows it."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    framing = specials.framing
    marks = list(dict.fromkeys(_marks(framing)))
    if marks:
        inner.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
            single=[f"{token}:{kind}" for token, kind in framing.single],
            pair=[f"{token}:{kind}" for token, kind in framing.pair],
            special_tokens=[(token, inner.token_to_id(token)) for token in marks],
        )
    roles = {f"{role}_token": token for role, token in specials.roles.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        **{"unk_token": None, **roles},
        additional_special_tokens=list(specials.further),
        model_input_names=list(specials.inputs),
        model_max_length=10**9,
    )


def _marks(framing: Framing) -> Iterator[str]:
    yield from (token for token, _ in (*framing.single, *framing.pair) if token not in ("$A", "$B"))


def _make_room(size: int, needed: int, what: str) -> None:
    if size < needed:
        raise ValueInRecipeError(
            "tokenizer.vocab_size", f"{size:,} tokens are too few: the special tokens and {what} alone are {needed:,}"
        )


def _lacks(source: str | None, what: str) -> ValueInRecipeError:
    return ValueInRecipeError("tokenizer.special_tokens_from", f"the tokenizer '{source}' has no {what}")
