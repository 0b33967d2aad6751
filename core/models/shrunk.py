"""Models whose layers differ in heads and neurons, which no configuration of transformers can say.

Beside such a model's weights lies `pruned.json`: {"layers": [{"heads": 3, "width": 412}, ...]}, first layer first.
lmwb builds the model that config.json describes, makes its layers as small as that, and fills the weights in.
`from_pretrained` alone refuses them, since their shapes are not the configuration's.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..errors import ValueInRecipeError
from ..methods.structured.anatomy import Sizes, configured, resize, sizes_of
from ..text import printable
from .loading import Head, Tell, auto_class, first_line
from .origin import remember_origin

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SIZES = "pruned.json"
_KEY = "model.from"
_IN_LAYERS = re.compile(r"\.\d+\.")

_Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _LayerSizes(_Strict):
    heads: _Count
    width: _Count


class _File(_Strict):
    layers: list[_LayerSizes]


def is_shrunk(source: str | Path) -> bool:
    """Whether a folder holds such a model."""
    return (Path(source) / SIZES).is_file()


def note_sizes(model: nn.Module, folder: Path) -> None:
    """Write the sizes of a model's layers beside it, if its configuration does not say them."""
    found = sizes_of(model)
    if not found or all(each == configured(model.config) for each in found):
        return
    layers = [_LayerSizes(heads=each.heads, width=each.width) for each in found]
    (folder / SIZES).write_text(json.dumps(_File(layers=layers).model_dump(), indent=1) + "\n")


def take_sizes(model: nn.Module, folder: Path) -> None:
    """Make the layers of a model as small as a folder says; their weights are any.

    Raises:
        ValueInRecipeError: what it says cannot be read, or not be done to this model.
    """
    try:
        layers = _File.model_validate_json((folder / SIZES).read_bytes()).layers
        resize(model, [Sizes(each.heads, each.width) for each in layers])
    except (OSError, ValueError) as error:
        reason = "it is no list of layers with heads and width" if isinstance(error, ValidationError) else str(error)
        raise ValueInRecipeError(_KEY, f"cannot use {printable(str(folder / SIZES))}: {reason}") from None


def start_from_shrunk(
    folder: Path, head: Head, fields: Mapping[str, Any], tell: Tell, trust: bool = False
) -> "PreTrainedModel":
    """The model in a folder, with the head that is wanted; a head that is not there is new.

    Raises:
        ValueInRecipeError: the folder cannot be read, or its weights are of another model.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust, **fields)
        model: PreTrainedModel = auto_class(head).from_config(config, dtype=torch.float32)
        stored = {name: each for file in folder.glob("model*.safetensors") for name, each in load_file(file).items()}
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueInRecipeError(_KEY, f"cannot load a model from '{folder}': {first_line(error)}") from None
    take_sizes(model, folder)
    wanted = model.state_dict()
    fitting = {name: each for name, each in stored.items() if name in wanted and each.shape == wanted[name].shape}
    model.load_state_dict(fitting, strict=False)
    new = {name for name, _ in model.named_parameters() if name not in fitting}
    if lost := sorted(name for name in new if _IN_LAYERS.search(name)):
        raise ValueInRecipeError(_KEY, f"'{folder}' has no fitting weights for {', '.join(lost[:3])}")
    if new:
        tell(f"model: '{folder}' has no weights for {', '.join(sorted(new)[:4])}; they are new")
    if model.can_generate() and (folder / "generation_config.json").is_file():
        from transformers import GenerationConfig

        model.generation_config = GenerationConfig.from_pretrained(folder)
    remember_origin(model, str(folder), new)
    return model
