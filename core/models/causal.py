"""Causal language models: loaded, or made anew."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ValueInRecipeError
from ..recipe.problems import nearest
from ..recipe.schema import PretrainedModel, ScratchModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_causal_lm(model: PretrainedModel) -> "PreTrainedModel":
    """A causal language model from a folder or the hub, its weights in float32.

    Raises:
        ValueInRecipeError: there is none by that name, or it is of another kind.
    """
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(
            model.from_, dtype=torch.float32, trust_remote_code=model.trust_remote_code
        )
    except Exception as error:
        message = f"cannot load a causal language model from '{model.from_}': {_first_line(error)}"
        raise ValueInRecipeError("model.from", message) from None


def new_causal_lm(model: ScratchModel, tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel":
    """A causal language model with random weights, its vocabulary as large as the tokenizer's.

    Raises:
        ValueInRecipeError: the architecture is unknown, or does not take these fields.
    """
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_config(_configuration(model, tokenizer))
    except ValueInRecipeError:
        raise
    except Exception as error:
        raise ValueInRecipeError(
            "model.config", f"the fields do not make a {model.type}: {_first_line(error)}"
        ) from None


def _configuration(model: ScratchModel, tokenizer: "PreTrainedTokenizerBase") -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    if model.type not in KNOWN:
        close = nearest(model.type, list(KNOWN))
        hint = f"; did you mean '{close}'?" if close else ""
        raise ValueInRecipeError(
            "model.type", f"transformers knows no causal language model of type '{model.type}'{hint}"
        )
    fields = {"vocab_size": len(tokenizer), **_special_ids(tokenizer), **model.config}
    configuration = AutoConfig.for_model(model.type)
    for name in model.config:
        if not hasattr(configuration, name):
            close = nearest(name, list(vars(configuration)))
            hint = f"; did you mean '{close}'?" if close else ""
            raise ValueInRecipeError(
                f"model.config.{name}", f"a {model.type} has no configuration field '{name}'{hint}"
            )
    return AutoConfig.for_model(model.type, **fields)


def _special_ids(tokenizer: "PreTrainedTokenizerBase") -> dict[str, Any]:
    return {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def outline(model: PretrainedModel | ScratchModel, tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel":
    """The model without its weights: shapes on torch's meta device, for looking before training.

    Raises:
        ValueInRecipeError: as loading or making it would.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        if isinstance(model, ScratchModel):
            return new_causal_lm(model, tokenizer)
        try:
            configuration = AutoConfig.from_pretrained(model.from_, trust_remote_code=model.trust_remote_code)
            return AutoModelForCausalLM.from_config(configuration)
        except Exception as error:
            message = f"cannot load a causal language model from '{model.from_}': {_first_line(error)}"
            raise ValueInRecipeError("model.from", message) from None


def longest_context(model: "PreTrainedModel") -> int | None:
    """The most tokens that the model takes at once; None if it names no bound."""
    return getattr(model.config, "max_position_embeddings", None)


def save_model(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Write both in `save_pretrained` layout."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def quiet() -> None:
    """Keep transformers' progress bars and advice out of the log."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
