"""Whether rows of tokens fit a language model."""

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ..errors import ValueInRecipeError
from ..models.loading import longest_context

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_NOISE = 1e-5
"""How much two ways to compute the same numbers may differ, as a share of the largest."""


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


def check_packing(model: "PreTrainedModel", instead: str) -> None:
    """See that texts side by side in a row, told apart by positions that start anew, do not see each other.

    Some architectures take positions and do not heed where they start. An outline without weights cannot be asked.

    Args:
        model: a causal language model.
        instead: what packing should be set to, as it is written in a recipe.

    Raises:
        ValueInRecipeError: a text changes what the model says of the next one.
    """
    if any(weight.is_meta for weight in model.parameters()):
        return
    text, others = torch.arange(3, 7), (torch.arange(7, 11), torch.arange(11, 15))
    positions = torch.arange(4).repeat(2)[None]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone = _logits(model, text[None], positions[:, :4])
            behind = [_logits(model, torch.cat([other, text])[None], positions)[4:] for other in others]
    except TypeError:  # it takes no positions
        behind, alone = [], torch.zeros(())
    finally:
        model.train(was_training)
    allowed = _NOISE * float(alone.abs().max())
    if not behind or any(float((logits - alone).abs().max()) > allowed for logits in behind):
        raise ValueInRecipeError(
            "data.packing",
            f"packed texts would see each other: the architecture {model.config.model_type} does not heed where each "
            f"begins; set packing to {instead}",
        )


def _logits(model: "PreTrainedModel", ids: Tensor, positions: Tensor) -> Tensor:
    """(tokens, vocabulary)."""
    found: Tensor = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    return found[0].float()
