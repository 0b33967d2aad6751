"""Masked language modelling of texts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import nn

from ..data.blocks import framed_blocks
from ..data.cache import ArrowTable, RowCache
from ..data.encoded import EncodedRows
from ..data.hashing import hash_of_texts, hash_of_tokenizer
from ..decoding.filling import GAP, fill, gap_ids
from ..errors import ValueInRecipeError
from ..models.loading import Head, longest_context
from ..recipe.schema import MaskedStage
from ..text import printable, shorten
from ..training.objectives.masked import MaskedLM
from ..training.objectives.masking import Masker
from .fitting import check_fit
from .task import Material, Surroundings
from .texts import read_texts
from .tokenizers import make_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from ..tokens import TokenTrace

_AT_ONCE = 2**22
"""Tokens to count together."""


class MaskedTask:
    """Texts as one stream, cut into blocks between the tokenizer's marks; some tokens are hidden."""

    head: ClassVar[Head] = "masked-lm"

    def __init__(self, stage: MaskedStage, surroundings: Surroundings):
        """Nothing is read yet."""
        self._stage = stage
        self._around = surroundings
        self._train: EncodedRows
        self._tokenizer: PreTrainedTokenizerBase

    def read(self) -> Material:
        """Read the texts, make the tokenizer, cut the blocks."""
        data, tell = self._stage.data, self._around.tell
        texts = read_texts(data, self._around.seed)
        tell(
            f"documents: {len(texts.train):,} to train on, {len(texts.validation):,} to validate on"
            + (f", {len(texts.test):,} to test on" if texts.test else "")
        )
        if data.validation and not texts.validation:
            raise ValueInRecipeError(
                "data.validation", "too little text to set a share aside; give a source, or 0 for no validation"
            )
        self._tokenizer = make_tokenizer(self._stage, lambda: texts.train, self._around)
        tell(f"tokenizer: {len(self._tokenizer):,} tokens")
        self._check_tokenizer()
        alike = Masker(self._tokenizer, self._stage.masking)
        pad = self._tokenizer.pad_token_id
        filler = pad if isinstance(pad, int) else 0

        def part(documents: Sequence[str], name: str) -> dict[str, MaskedLM]:
            return {name: MaskedLM(self._rows(documents, f"data.{name}"), alike, filler)} if documents else {}

        self._train = self._rows(texts.train, "data.train")
        if self._train.lengths[0] < data.block_size:
            raise ValueInRecipeError(
                "data.train",
                f"the training texts give {int(self._train.lengths[0])} tokens, too few for one block of "
                f"{data.block_size}; give more text or lower block_size",
            )
        tell(
            f"rows: {len(self._train):,} of up to {data.block_size} tokens, about {self._stage.masking.share:.0%} of "
            "them hidden each time"
        )
        return Material(
            tokenizer=self._tokenizer,
            train=MaskedLM(self._train, Masker(self._tokenizer, self._stage.masking, self._counts()), filler),
            validation=part(texts.validation, "validation"),
            test=part(texts.test, "test"),
            counts={"documents": {name: len(getattr(texts, name)) for name in ("train", "validation", "test")}},
        )

    def check_model(self, model: "PreTrainedModel") -> None:
        """Rows and prompts must not be longer than the model allows, its vocabulary no smaller than the tokenizer's."""
        check_fit(model, self._tokenizer, self._stage.data.block_size)
        longest = longest_context(model)
        for number, prompt in enumerate(self.prompts, 1):
            length = len(gap_ids(self._tokenizer, prompt))
            if longest is not None and length > longest:
                raise ValueInRecipeError(
                    "sample.prompts", f"prompt {number} has {length} tokens, the model takes {longest}"
                )

    def example(self, row: int) -> str:
        """The row's text, marks included, nothing hidden."""
        return str(self._tokenizer.decode(self._train.tokens(row).tolist()))

    @property
    def prompts(self) -> Sequence[str]:
        """Texts with gaps."""
        return self._stage.sample.prompts

    def speak(self, model: nn.Module, prompt: str, seed: int) -> "TokenTrace":  # noqa: ARG002 - nothing is drawn
        """Let the model fill a prompt's gaps."""
        return fill(cast("PreTrainedModel", model), self._tokenizer, prompt, self._stage.sample.alternatives)

    def finish(self, model: nn.Module, folder: Path) -> Mapping[str, Any]:  # noqa: ARG002 - part of the protocol
        """There is nothing more to write."""
        return {}

    def _check_tokenizer(self) -> None:
        """There must be a mask token, and every prompt must have it."""
        if self._tokenizer.mask_token_id is None:
            raise ValueInRecipeError(
                "tokenizer",
                "the tokenizer has no mask token; train one of kind 'wordpiece' or 'unigram', or name one that has it "
                "in special_tokens_from",
            )
        for number, prompt in enumerate(self.prompts, 1):
            try:
                gap_ids(self._tokenizer, prompt)
            except ValueError as error:
                shown = shorten(printable(prompt), 60)
                raise ValueInRecipeError(
                    "sample.prompts", f"prompt {number}, '{shown}', cannot be filled: {error}; write {GAP} for a gap"
                ) from None

    def _counts(self) -> NDArray[np.int64]:
        """(vocabulary,) how often each token occurs in the training rows."""
        counts = np.zeros(len(self._tokenizer), np.int64)
        for start in range(0, len(self._train.stream), _AT_ONCE):  # the whole would be held as 64 bits
            counts += np.bincount(self._train.stream[start : start + _AT_ONCE], minlength=len(counts))
        return counts

    def _rows(self, documents: Sequence[str], key: str) -> EncodedRows:
        block_size = self._stage.data.block_size
        marks = self._tokenizer.num_special_tokens_to_add()
        if block_size <= marks:
            raise ValueInRecipeError(
                "data.block_size", f"the tokenizer's own marks are {marks} tokens; block_size must be more than that"
            )
        source = getattr(self._stage.data, key.removeprefix("data."))
        made_from = {
            "texts": hash_of_texts(documents),
            "tokenizer": hash_of_tokenizer(self._tokenizer),
            "block_size": str(block_size),
        }

        def make() -> ArrowTable:
            rows = framed_blocks(documents, self._tokenizer, block_size)
            return pa.table(EncodedRows.columns([rows.tokens(row) for row in range(len(rows))], None))

        kept = RowCache(self._around.cache / "rows", self._around.tell)
        rows = EncodedRows.of_table(kept.get(key, str(source), made_from, make))
        if len(rows) == 0:
            raise ValueInRecipeError(key, "the texts hold no tokens")
        return rows
