"""Whether rows of tokens fit a language model."""

from typing import TYPE_CHECKING, cast

from torch import nn

from ..errors import ValueInRecipeError
from ..models.loading import longest_context

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def check_fit(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", block_size: int) -> None:
    """See that rows are no longer than the model allows, and its vocabulary no smaller than the tokenizer's.

    Raises:
        ValueInRecipeError: they are, or it is.
    """
    longest = longest_context(model)
    if longest is not None and block_size > longest:
        raise ValueInRecipeError(
            "data.block_size", f"block_size {block_size} is more than the {longest} tokens that the model takes"
        )
    known = cast("nn.Embedding", model.get_input_embeddings()).num_embeddings
    if len(tokenizer) > known:
        raise ValueInRecipeError(
            "tokenizer", f"the tokenizer has {len(tokenizer)} tokens, the model knows {known}; leave it out"
        )
