"""Everything a training stage needs before its first step: texts, tokenizer, rows, model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from ..data.rows import Packed, Rows, make_rows
from ..data.sources import SourceError, read_documents
from ..data.split import set_aside
from ..data.tokenizer import load_tokenizer, train_bpe
from ..errors import ValueInRecipeError
from ..models.causal import load_causal_lm, longest_context, new_causal_lm
from ..recipe.schema import BpeTokenizer, Data, PretrainedModel, TrainStage
from ..training.plan import Plan
from ..training.randomness import derived_seed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Texts:
    """The documents of each part."""

    train: list[str]
    validation: list[str]
    test: list[str]


@dataclass(frozen=True)
class Parts:
    """The rows of each part; None where the recipe has no such part."""

    train: Rows
    validation: Rows | None
    test: Rows | None


@dataclass(frozen=True)
class Prepared:
    """What a training stage starts from; the model is on the CPU."""

    tokenizer: "PreTrainedTokenizerBase"
    model: "PreTrainedModel"
    rows: Parts
    plan: Plan


def prepare(stage: TrainStage, seed: int, tell: Tell, checkpoint: Path | None = None) -> Prepared:
    """Read, tokenise, and make or load the model; `tell` hears what was done and what was left out.

    With a checkpoint, tokenizer and weights are those that it holds.

    Raises:
        ValueInRecipeError: something does not fit; it names the key.
    """
    texts = read_texts(stage.data, seed)
    tell(
        f"documents: {len(texts.train):,} to train on, {len(texts.validation):,} to validate on"
        + (f", {len(texts.test):,} to test on" if texts.test else "")
    )
    if checkpoint is not None:
        taken_up = PretrainedModel.model_validate({"from": str(checkpoint)})
        stage = stage.model_copy(update={"model": taken_up, "tokenizer": None})
    tokenizer = make_tokenizer(stage, texts.train)
    tell(f"tokenizer: {len(tokenizer):,} tokens")
    torch.manual_seed(derived_seed(seed, "weights"))
    model = make_model(stage, tokenizer)
    check_context(stage.data, model)
    rows = arrange(texts, stage.data, tokenizer, tell)
    plan = Plan.of(stage.train, len(rows.train), seed)
    tell(
        f"rows: {len(rows.train):,} of up to {stage.data.block_size} tokens, {rows.train.targets:,} tokens to predict "
        f"per epoch; {plan.total:,} steps"
    )
    return Prepared(tokenizer, model, rows, plan)


def arrange(texts: Texts, data: Data, tokenizer: "PreTrainedTokenizerBase", tell: Tell) -> Parts:
    """The rows of training, validation and test.

    Raises:
        ValueInRecipeError: there is too little text for a single block, or none to set aside.
    """
    train = _rows(texts.train, data, tokenizer, "data.train", tell)
    if data.packing == "blocks" and len(train.stream) <= data.block_size:
        raise ValueInRecipeError(
            "data.train",
            f"the training texts hold {len(train.stream)} tokens, too few for one block of {data.block_size}; give "
            "more text or lower block_size",
        )
    if data.validation and not texts.validation:
        raise ValueInRecipeError(
            "data.validation", "too little text to set a share aside; give a source, or 0 for no validation"
        )
    return Parts(
        train,
        _rows(texts.validation, data, tokenizer, "data.validation", tell) if texts.validation else None,
        _rows(texts.test, data, tokenizer, "data.test", tell) if texts.test else None,
    )


def read_texts(data: Data, seed: int) -> Texts:
    """The documents of training, validation and test."""
    train = read_documents(data.train, data.text, data.documents, data.max_documents)
    test = _read(data.test, data, "data.test") if data.test else []
    if isinstance(data.validation, str):
        return Texts(train, _read(data.validation, data, "data.validation"), test)
    return Texts(*set_aside(train, data.validation, seed), test)


def make_tokenizer(stage: TrainStage, texts: list[str]) -> "PreTrainedTokenizerBase":
    """The tokenizer that the recipe names, the model's own, or one trained on the texts."""
    if isinstance(stage.tokenizer, BpeTokenizer):
        return train_bpe(texts, stage.tokenizer)
    if stage.tokenizer is not None:
        return load_tokenizer(stage.tokenizer.from_)
    assert isinstance(stage.model, PretrainedModel)  # the schema sees to it
    return load_tokenizer(stage.model.from_, "model.from", stage.model.trust_remote_code)


def make_model(stage: TrainStage, tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel":
    """The model that the recipe names, its weights drawn from torch's present seed if it is new."""
    if isinstance(stage.model, PretrainedModel):
        model = load_causal_lm(stage.model)
        known = cast("nn.Embedding", model.get_input_embeddings()).num_embeddings
        if len(tokenizer) > known:
            raise ValueInRecipeError(
                "tokenizer", f"the tokenizer has {len(tokenizer)} tokens, the model knows {known}; leave it out"
            )
        return model
    return new_causal_lm(stage.model, tokenizer)


def check_context(data: Data, model: "PreTrainedModel") -> None:
    """Rows must not be longer than the model allows.

    Raises:
        ValueInRecipeError: they are.
    """
    longest = longest_context(model)
    if longest is not None and data.block_size > longest:
        raise ValueInRecipeError(
            "data.block_size", f"block_size {data.block_size} is more than the {longest} tokens that the model takes"
        )


def _read(source: str, data: Data, key: str) -> list[str]:
    try:
        return read_documents(source, data.text, data.documents, data.max_documents)
    except SourceError as error:
        raise ValueInRecipeError(key if error.key == "data.train" else error.key, str(error)) from None


def _rows(documents: list[str], data: Data, tokenizer: "PreTrainedTokenizerBase", key: str, tell: Tell) -> Rows:
    try:
        packed: Packed = make_rows(documents, tokenizer, data.block_size, data.packing, data.too_long)
    except SourceError as error:
        raise ValueInRecipeError(key if error.key == "data.train" else error.key, str(error)) from None
    if packed.split:
        tell(f"{key}: {packed.split:,} documents longer than block_size {data.block_size} were split")
    if packed.dropped:
        tell(f"{key}: {packed.dropped:,} documents longer than block_size {data.block_size} were dropped")
    return packed.rows
