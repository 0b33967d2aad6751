"""From a folder with a pruned model to one with a smaller model that says the same."""

import re
import shutil
from pathlib import Path

from ..errors import UsageError
from ..methods.structured import Shrunk, shrink
from ..recipe.schema import PretrainedModel
from ..text import printable
from .loading import Tell, first_line, head_named, make_model, quiet
from .own import register
from .storage import save_model

_OF_TOKENIZERS = re.compile(r"(tokenizer|special_tokens|added_tokens|vocab|merges|chat_template|spiece|sentence).*")


def write_shrunk(source: Path, folder: Path, uniform: bool, tell: Tell) -> Shrunk:
    """Write a model without the heads and neurons that have no effect into a new folder, its tokenizer beside it.

    Args:
        source: the model's folder.
        folder: must not exist.
        uniform: only as far as its configuration can say, so that `from_pretrained` loads it.
        tell: hears what a person should know.

    Raises:
        UsageError: the model cannot be loaded or shrunk, or the folder exists.
    """
    from transformers import AutoConfig

    if folder.exists():
        raise UsageError(f"{printable(str(folder))} exists already; choose another name")
    quiet()
    register()
    name = printable(str(source))
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except Exception as error:
        raise UsageError(f"cannot read the configuration in {name}: {printable(first_line(error))}") from None
    head = head_named((config.architectures or [None])[0], type(config))
    if head is None:
        raise UsageError(f"the model in {name} has no head that lmwb knows, so it would not be loaded whole")
    model = make_model(PretrainedModel.model_validate({"from": str(source)}), head, None, {}, tell)
    try:
        shrunk = shrink(model, uniform)
    except ValueError as error:
        raise UsageError(f"the model in {name} cannot be shrunk: {error}") from None
    unfinished = folder.with_name(f".unfinished-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        save_model(model, None, unfinished)
        for file in source.iterdir():
            if file.is_file() and _OF_TOKENIZERS.fullmatch(file.name):
                shutil.copy(file, unfinished)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return shrunk
