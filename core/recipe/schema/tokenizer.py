"""The tables `[tokenizer]`: how text becomes tokens."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from ..lines import is_table
from .base import NotEmpty, Positive, Table, kind_of, rule_broken

VocabSize = Annotated[int, Field(ge=16, le=1_000_000)]


class PretrainedTokenizer(Table):
    """A tokenizer that exists already."""

    kind: Literal["pretrained"] = "pretrained"
    from_: NotEmpty = Field(alias="from")
    """A folder with tokenizer files, or a name on the model hub."""


class BpeTokenizer(Table):
    """Byte-pair encoding over bytes, trained on the training texts."""

    kind: Literal["bpe"] = "bpe"
    vocab_size: Annotated[int, Field(ge=257, le=1_000_000)] = 4096
    """Tokens in the vocabulary, the 256 bytes and the special tokens included."""
    min_frequency: Positive = 2
    """How often a pair must occur to become a token."""
    special_tokens_from: NotEmpty | None = None
    """A tokenizer (folder or hub name) whose special tokens the new one takes over."""


class WordPieceTokenizer(Table):
    """WordPiece as in BERT, trained on the training texts."""

    kind: Literal["wordpiece"] = "wordpiece"
    vocab_size: VocabSize = 30_522
    """Tokens in the vocabulary, special tokens included."""
    min_frequency: Positive = 2
    """How often a piece must occur to become a token."""
    lowercase: bool = True
    """Whether capitals and accents are taken away."""
    special_tokens_from: NotEmpty | None = None
    """A tokenizer (folder or hub name) whose special tokens the new one takes over; else those of BERT."""


class UnigramTokenizer(Table):
    """A unigram language model over pieces (Kudo 2018), trained on the training texts."""

    kind: Literal["unigram"] = "unigram"
    vocab_size: VocabSize = 8000
    """Tokens in the vocabulary, special tokens included."""
    special_tokens_from: NotEmpty | None = None
    """A tokenizer (folder or hub name) whose special tokens the new one takes over; else those of BERT."""


class WordsTokenizer(Table):
    """Whole words, lower-cased, punctuation apart: what torchtext calls `basic_english`."""

    kind: Literal["words"] = "words"
    vocab_size: VocabSize | None = None
    """The most words to know; all if not given."""
    min_frequency: Positive = 1
    """How often a word must occur in the training texts to be known."""
    vocabulary: NotEmpty | None = None
    """A GloVe file: its words are the vocabulary, not those of the training texts. `glove:6B.100d` is fetched once."""

    @model_validator(mode="after")
    def _counts_what(self) -> "WordsTokenizer":
        if self.vocabulary is not None and self.min_frequency > 1:
            raise rule_broken(
                "min_frequency", "'min_frequency' counts the training texts' words, 'vocabulary' is a file"
            )
        return self


def _kind(value: Any) -> str | None:
    return kind_of(value, "pretrained" if is_table(value) and "from" in value else "bpe")


Tokenizer = Annotated[
    Annotated[PretrainedTokenizer, Tag("pretrained")]
    | Annotated[BpeTokenizer, Tag("bpe")]
    | Annotated[WordPieceTokenizer, Tag("wordpiece")]
    | Annotated[UnigramTokenizer, Tag("unigram")]
    | Annotated[WordsTokenizer, Tag("words")],
    Discriminator(_kind),
]

AnyTokenizer = PretrainedTokenizer | BpeTokenizer | WordPieceTokenizer | UnigramTokenizer | WordsTokenizer
