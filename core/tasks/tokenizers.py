"""The tokenizer of a stage: named, brought by the model, trained on the texts, or kept in a checkpoint."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, cast

from ..data.tokenizer import load_tokenizer
from ..data.tokenizer_training import train_tokenizer
from ..data.vectors import load_vectors
from ..data.words import count_words, frequent, words_tokenizer
from ..errors import ValueInRecipeError
from ..recipe.schema import (
    BagModel,
    BpeTokenizer,
    EncoderModel,
    PretrainedModel,
    PretrainedTokenizer,
    TextStage,
    UnigramTokenizer,
    WordPieceTokenizer,
    WordsTokenizer,
)
from .task import Surroundings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def make_tokenizer(
    stage: TextStage, texts: Callable[[], Iterable[str]], around: Surroundings
) -> "PreTrainedTokenizerBase":
    """The tokenizer that the recipe names, the model's own, or one trained on the texts.

    Args:
        stage: the recipe's table.
        texts: gives the training texts, if they are needed.
        around: may name a folder that holds the stage's tokenizer already.
    """
    if around.saved is not None:
        return load_tokenizer(str(around.saved), "model.from")
    wanted = stage.tokenizer
    if isinstance(wanted, PretrainedTokenizer):
        return load_tokenizer(wanted.from_)
    if isinstance(wanted, BpeTokenizer | WordPieceTokenizer | UnigramTokenizer):
        return train_tokenizer(texts(), wanted, around.tell)
    if isinstance(wanted, WordsTokenizer):
        return _words(stage, wanted, count_words(texts()), around)
    assert isinstance(stage.model, PretrainedModel)  # the schema sees to it
    return load_tokenizer(stage.model.from_, "model.from", stage.model.trust_remote_code)


def _words(
    stage: TextStage, wanted: WordsTokenizer, counts: Mapping[str, int], around: Surroundings
) -> "PreTrainedTokenizerBase":
    """A tokenizer of the training texts' words, or of those of a file of vectors; tells how many it knows."""
    if wanted.vocabulary is None:
        words = frequent(counts, wanted.vocab_size, wanted.min_frequency)
        if not words:
            raise ValueInRecipeError("tokenizer.min_frequency", f"no word occurs {wanted.min_frequency} times")
    else:
        words = list(load_vectors(wanted.vocabulary, around.cache, around.tell, "tokenizer.vocabulary").words)
        words = words[: wanted.vocab_size]
    known = set(words)
    counted = {word: count for word, count in counts.items() if word in known}
    running = max(1, sum(counts.values()))
    share = sum(counted.values()) / running
    around.tell(f"words: {len(words):,} known, which are {share:.2%} of the training texts' {running:,} words")
    own = stage.model if isinstance(stage.model, BagModel | EncoderModel) else None
    if own and own.embeddings is not None and own.embeddings != wanted.vocabulary:
        vectors = load_vectors(own.embeddings, around.cache, around.tell, "model.embeddings")
        share = sum(count for word, count in counted.items() if word in vectors) / running
        around.tell(f"words: {share:.2%} of the training texts' {running:,} words have a vector")
    return words_tokenizer(words)


def padding_id(tokenizer: "PreTrainedTokenizerBase", tell: Callable[[str], None]) -> int:
    """The token that fills short rows; if there is none, one that serves another purpose is made it, said aloud.

    Raises:
        ValueInRecipeError: there is none that could.
    """
    if tokenizer.pad_token_id is None:
        stand_in = tokenizer.eos_token or tokenizer.unk_token
        if stand_in is None:
            raise ValueInRecipeError("tokenizer", "the tokenizer has no token to fill short rows with")
        tokenizer.pad_token = stand_in
        tell(f"tokenizer: it has no token for padding; {stand_in} fills short rows")
    return cast("int", tokenizer.pad_token_id)
