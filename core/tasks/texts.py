"""The texts of a stage: those to train on, to validate on and to test on."""

from dataclasses import dataclass

from ..data.sources import SourceError, read_documents
from ..data.split import set_aside
from ..errors import ValueInRecipeError
from ..recipe.schema import MaskedData, TextData


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


def _read(source: str, data: TextData | MaskedData, key: str) -> list[str]:
    try:
        return read_documents(source, data.text, data.documents, data.max_documents)
    except SourceError as error:
        raise ValueInRecipeError(key if error.key == "data.train" else error.key, str(error)) from None
