"""Our own models: made as a recipe says, and known to transformers, so that they are saved and loaded like others."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from ..data.vectors import Vectors, load_vectors
from ..errors import ValueInRecipeError
from ..recipe.schema import BagModel, ConvNetModel, EncoderModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_BAG_WIDTH = 64
_ENCODER_WIDTH = 128


def register() -> None:
    """Make transformers' Auto classes know our models."""
    from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSequenceClassification

    from .bag import BagClassifier, BagConfig
    from .convnet import ConvNetClassifier, ConvNetConfig
    from .encoder import EncoderClassifier, EncoderConfig

    for config in (BagConfig, ConvNetConfig, EncoderConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)
    AutoModelForSequenceClassification.register(EncoderConfig, EncoderClassifier, exist_ok=True)
    AutoModelForSequenceClassification.register(BagConfig, BagClassifier, exist_ok=True)
    AutoModelForImageClassification.register(ConvNetConfig, ConvNetClassifier, exist_ok=True)


def new_model(
    model: EncoderModel | BagModel | ConvNetModel,
    tokenizer: "PreTrainedTokenizerBase | None",
    fields: Mapping[str, Any],
    tell: Callable[[str], None],
    cache: Path | None = None,
) -> "PreTrainedModel":
    """A new model of our own; weights are drawn from torch's present seed, words' vectors read if the recipe says so.

    Raises:
        ValueInRecipeError: the fields do not make one, or the vectors cannot be read.
    """
    if isinstance(model, ConvNetModel):
        from .convnet import ConvNetClassifier, ConvNetConfig

        shape = {"channels": model.channels, "hidden_size": model.hidden, "dropout": model.dropout}
        return ConvNetClassifier(ConvNetConfig(**shape, **fields))
    assert tokenizer is not None  # the schema sees to it
    vectors = None if model.embeddings is None else load_vectors(model.embeddings, cache, tell, "model.embeddings")
    common = {
        "vocab_size": len(tokenizer),
        "hidden_size": _width(model, vectors),
        "pad_token_id": tokenizer.pad_token_id,
        "train_embeddings": model.train_embeddings,
        **fields,
    }
    made = _bag(common) if isinstance(model, BagModel) else _encoder(model, common)
    if vectors is not None:
        _take_vectors(made, tokenizer, vectors, tell)
    elif not model.train_embeddings:
        tell("embeddings: the words' vectors are random and stay so; train them, or name a file")
    return made


def _bag(common: Mapping[str, Any]) -> "PreTrainedModel":
    from .bag import BagClassifier, BagConfig

    return BagClassifier(BagConfig(**common))


def _encoder(model: EncoderModel, common: Mapping[str, Any]) -> "PreTrainedModel":
    from .encoder import EncoderClassifier, EncoderConfig

    width: int = common["hidden_size"]
    if width % model.heads:
        raise ValueInRecipeError("model.heads", f"{model.heads} heads do not divide a width of {width}")
    return EncoderClassifier(
        EncoderConfig(
            num_hidden_layers=model.layers,
            num_attention_heads=model.heads,
            intermediate_size=model.feedforward,
            dropout=model.dropout,
            norm=model.norm,
            max_position_embeddings=model.max_length,
            **common,
        )
    )


def _width(model: EncoderModel | BagModel, vectors: Vectors | None) -> int:
    if vectors is None:
        return model.hidden or (_BAG_WIDTH if isinstance(model, BagModel) else _ENCODER_WIDTH)
    if model.hidden not in (None, vectors.width):
        raise ValueInRecipeError(
            "model.hidden", f"hidden is {model.hidden}, the vectors have {vectors.width} numbers each; leave it out"
        )
    return vectors.width


def _take_vectors(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", vectors: Vectors, tell: Callable[[str], None]
) -> None:
    """Give the words that have vectors these; the others keep the small random ones that they were made with."""
    words = tokenizer.get_vocab()
    special = set(tokenizer.all_special_tokens)
    known = [(i, row) for word, i in words.items() if word not in special and (row := vectors.row(word)) is not None]
    ordinary = len(words) - len(special)
    if not known:
        raise ValueInRecipeError(
            "model.embeddings", "none of the tokenizer's words has a vector; choose a tokenizer of kind 'words'"
        )
    tell(
        f"embeddings: {len(known):,} of the vocabulary's {ordinary:,} words ({len(known) / ordinary:.1%}) have a "
        f"vector of {vectors.width} numbers" + ("" if len(known) == ordinary else "; the others begin small and random")
    )
    weight = cast("nn.Embedding", model.get_input_embeddings()).weight
    if weight.is_meta:
        return
    places, rows = (torch.tensor(numbers) for numbers in zip(*sorted(known), strict=True))
    with torch.no_grad():
        weight[places] = torch.from_numpy(vectors.matrix[rows.numpy()]).to(weight)
