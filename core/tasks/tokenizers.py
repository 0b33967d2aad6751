"""The tokenizer of a stage: named, brought by the model, trained on the texts, or kept in a checkpoint."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..data.tokenizer import load_tokenizer
from ..data.tokenizer_training import train_tokenizer
from ..recipe.schema import (
    BpeTokenizer,
    PretrainedModel,
    PretrainedTokenizer,
    TextStage,
    UnigramTokenizer,
    WordPieceTokenizer,
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
    assert isinstance(stage.model, PretrainedModel)  # the schema sees to it
    return load_tokenizer(stage.model.from_, "model.from", stage.model.trust_remote_code)
