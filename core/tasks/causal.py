"""Causal language modelling of texts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ..data.crops import Crops
from ..data.rows import Packed, Rows, make_rows
from ..data.sources import SourceError
from ..decoding.sampling import complete
from ..errors import ValueInRecipeError
from ..models.loading import Head
from ..recipe.schema import CausalStage, TextData
from ..training.crops import CropPlan
from ..training.objectives.causal import CausalLM
from .fitting import check_fit, check_packing
from .task import Material, Surroundings, Tell
from .texts import encode_texts, read_texts
from .tokenizers import make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..tokens import TokenTrace


class CausalTask:
    """Texts, as one stream in blocks or document by document."""

    head: ClassVar[Head] = "causal-lm"

    def __init__(self, stage: CausalStage, surroundings: Surroundings):
        """Nothing is read yet."""
        self._stage = stage
        self._around = surroundings
        self._train: Rows | Crops
        self._tokenizer: PreTrainedTokenizerBase

    def read(self) -> Material:
        """Read the texts, make the tokenizer, arrange the rows."""
        data, tell = self._stage.data, self._around.tell
        texts = read_texts(data, self._around.seed)
        tell(
            f"documents: {len(texts.train):,} to train on, {len(texts.validation):,} to validate on"
            + (f", {len(texts.test):,} to test on" if texts.test else "")
        )
        self._tokenizer = make_tokenizer(self._stage, lambda: texts.train, self._around)
        tell(f"tokenizer: {len(self._tokenizer):,} tokens")
        self._train = self._rows(texts.train, "data.train")
        train = self._train
        if data.packing == "blocks" and len(self._train.stream) <= data.block_size:
            raise ValueInRecipeError(
                "data.train",
                f"the training texts hold {len(self._train.stream)} tokens, too few for one block of "
                f"{data.block_size}; give more text or lower block_size",
            )
        if data.validation and not texts.validation:
            raise ValueInRecipeError(
                "data.validation", "too little text to set a share aside; give a source, or 0 for no validation"
            )
        if isinstance(train, Crops):
            tell(f"contexts: {len(train):,} of {data.block_size} tokens to draw from; an epoch is {train.end_to_end:,}")
        else:
            targets = f"{train.targets:,} tokens to predict per epoch"
            tell(f"rows: {len(train):,} of up to {data.block_size} tokens, {targets}")
        return Material(
            tokenizer=self._tokenizer,
            train=CausalLM(train),
            validation=self._part(texts.validation, "validation"),
            test=self._part(texts.test, "test"),
            counts={"documents": {name: len(getattr(texts, name)) for name in ("train", "validation", "test")}},
            plan=(lambda settings: CropPlan(train, settings, self._around.seed)) if isinstance(train, Crops) else None,
        )

    def check_model(self, model: "PreTrainedModel") -> None:
        """Rows must not be longer than the model allows, and its vocabulary no smaller than the tokenizer's."""
        check_fit(model, self._tokenizer, self._stage.data.block_size)
        if self._stage.data.packing == "documents":
            check_packing(model, "'blocks'")

    def example(self, row: int) -> str:
        """The row's text."""
        return str(self._tokenizer.decode(self._train.tokens(row).tolist()))

    @property
    def prompts(self) -> Sequence[str]:
        """The beginnings of texts."""
        return self._stage.sample.prompts

    def speak(self, model: nn.Module, prompt: str, seed: int) -> "TokenTrace":
        """Let the model go on from a prompt."""
        return complete(cast("PreTrainedModel", model), self._tokenizer, prompt, self._stage.sample, seed)

    def finish(self, model: nn.Module, folder: Path) -> Mapping[str, Any]:  # noqa: ARG002 - part of the protocol
        """There is nothing more to write."""
        return {}

    def _part(self, documents: list[str], name: str) -> dict[str, CausalLM]:
        return {name: CausalLM(self._rows(documents, f"data.{name}"))} if documents else {}

    def _rows(self, documents: list[str], key: str) -> Rows | Crops:
        data, tell = self._stage.data, self._around.tell
        source = str(getattr(data, key.removeprefix("data.")))
        encoded = encode_texts(documents, self._tokenizer, key, source, self._around)
        if data.packing == "crops":
            return crops_of(encoded, data, key, tell)
        try:
            packed: Packed = make_rows(encoded, data.block_size, data.packing, data.too_long)
        except SourceError as error:
            raise ValueInRecipeError(key if error.key == "data.train" else error.key, str(error)) from None
        if packed.split:
            tell(f"{key}: {packed.split:,} documents longer than block_size {data.block_size} were split")
        if packed.dropped:
            tell(f"{key}: {packed.dropped:,} documents longer than block_size {data.block_size} were dropped")
        return packed.rows


def crops_of(encoded: Sequence[NDArray[np.int32]], data: TextData, key: str, tell: Tell) -> Crops:
    """Contexts of documents: of training documents every start is a row, of others the rows lie end to end.

    Raises:
        ValueInRecipeError: no document is long enough.
    """
    train = key == "data.train"
    shortest = max(data.block_size, (data.min_tokens or 0) if train else 0)
    crops = Crops(encoded, data.block_size, 1 if train else data.block_size, shortest)
    if crops.left_out:
        tell(f"{key}: {crops.left_out:,} documents of fewer than {shortest:,} tokens are left out")
    if not len(crops):
        raise ValueInRecipeError(
            key,
            f"no document has {shortest:,} tokens, which a context needs; give longer ones, or lower block_size or "
            "min_tokens",
        )
    return crops
