"""The texts of a stage: those to train on, to validate on and to test on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..data.cache import ArrowTable, RowCache
from ..data.hashing import hash_of_texts, hash_of_tokenizer
from ..data.rows import encode
from ..data.sources import SourceError, read_documents
from ..data.split import set_aside
from ..errors import ValueInRecipeError
from ..recipe.schema import MaskedData, TextData
from .task import Surroundings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Texts:
    """The documents of each part."""

    train: list[str]
    validation: list[str]
    test: list[str]


def read_texts(data: TextData | MaskedData, seed: int) -> Texts:
    """The documents of training, validation and test.

    Raises:
        ValueInRecipeError: a source cannot be read; it names the key.
    """
    train = _read(data.train, data, "data.train")
    test = _read(data.test, data, "data.test") if data.test else []
    if isinstance(data.validation, str):
        return Texts(train, _read(data.validation, data, "data.validation"), test)
    return Texts(*set_aside(train, data.validation, seed), test)


def encode_texts(
    documents: Sequence[str], tokenizer: "PreTrainedTokenizerBase", key: str, source: str, around: Surroundings
) -> list[NDArray[np.int32]]:
    """The ids of each text, from the cache if they are there.

    Args:
        documents: the texts.
        tokenizer: makes ids of them.
        key: the recipe's key that names the source.
        source: where they come from.
        around: has the cache.
    """
    made_from = {"texts": hash_of_texts(documents), "tokenizer": hash_of_tokenizer(tokenizer)}

    def make() -> ArrowTable:
        return pa.table({"ids": pa.array(encode(documents, tokenizer), pa.list_(pa.int32()))})

    table = RowCache(around.cache / "rows", around.tell, "texts").get(key, source, made_from, make)
    return [ids.values.to_numpy() for ids in table["ids"]]


def _read(source: str, data: TextData | MaskedData, key: str) -> list[str]:
    try:
        return read_documents(source, data.text, data.documents, data.max_documents)
    except SourceError as error:
        raise ValueInRecipeError(key if error.key == "data.train" else error.key, str(error)) from None
