"""Models that are stored as a base and a little more: put together again, and made the start of a new stage."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ValueInRecipeError
from ..methods import adapters, lora, peft, storage
from ..methods.structured.anatomy import resize, sizes_of
from . import shrunk
from .loading import Head, Tell, auto_class, first_line, head_named
from .origin import origin_of, remember_origin

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_KEY = "model.from"


def start_from_adapted(
    folder: Path, head: Head, fields: Mapping[str, Any], tell: Tell, trust: bool = False
) -> "PreTrainedModel":
    """The model in the folder of an adapted one, with the head that is wanted.

    Its low-rank updates have become part of its weights; its bottleneck adapters are still there, as parts of it.

    Raises:
        ValueInRecipeError: the folder or its base cannot be loaded, or is of another kind.
    """
    found = restore(folder, head, fields, trust)
    if folded := lora.fold(found):
        tell(f"model: the low-rank updates of {folded} layers in '{folder}' are merged into their weights")
    if bottlenecks := len(list(adapters.layers(found))):
        tell(f"model: {bottlenecks} layers in '{folder}' have bottleneck adapters, which are parts of the model now")
    config = configuration_of(folder, fields, trust)
    new: set[str] = set()
    if _head_of(found, head) == head and config.num_labels == found.config.num_labels:
        found.config = config
    else:
        found, new = _with_other_head(found, head, config)
        tell(f"model: '{folder}' has no weights for {', '.join(sorted(new))}; they are new")
    remember_origin(found, str(folder), new)
    return found


def restore(folder: Path, head: Head, fields: Mapping[str, Any], trust: bool = False) -> "PreTrainedModel":
    """The model as it was saved, with updates and bottlenecks in place.

    Args:
        folder: that holds it.
        head: what it answers, should the folder not say so.
        fields: fields of its configuration, should the folder have none.
        trust: run code from the base's repository.

    Raises:
        ValueInRecipeError: the folder or its base cannot be loaded.
    """
    base = _base_of(folder)
    described = (folder / "config.json").is_file()
    config = configuration_of(folder, {} if described else fields, trust)
    own = _head_named(config, head)
    if is_adapted(base) and base != str(folder):
        model = start_from_adapted(Path(base), own, {"num_labels": config.num_labels}, lambda _: None, trust)
    elif shrunk.is_shrunk(base):
        model = shrunk.start_from_shrunk(Path(base), own, {"num_labels": config.num_labels}, lambda _: None, trust)
    else:
        try:
            model: PreTrainedModel = auto_class(own).from_pretrained(
                base, config=config, dtype=torch.float32, trust_remote_code=trust, ignore_mismatched_sizes=True
            )
        except Exception as error:
            text = f"the adapter in '{folder}' belongs to '{base}', which cannot be loaded: {first_line(error)}"
            raise ValueInRecipeError(_KEY, text) from None
    storage.add_stored(model, folder)
    remember_origin(model, base, origin_of(model).new)
    return model


def is_adapted(source: str) -> bool:
    """Whether a folder holds an adapted model or an adapter."""
    return any((Path(source) / name).is_file() for name in (peft.CONFIG, storage.BOTTLENECK_CONFIG))


def configuration_of(folder: Path, fields: Mapping[str, Any], trust: bool = False) -> Any:
    """The configuration of an adapted model, its base's if the folder has none, with other values for some fields.

    Raises:
        ValueInRecipeError: there is none to be found.
    """
    from transformers import AutoConfig

    source = folder if (folder / "config.json").is_file() else _base_of(folder)
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=trust, **fields)
    except Exception as error:
        text = f"cannot read what the adapter in '{folder}' belongs to, '{source}': {first_line(error)}"
        raise ValueInRecipeError(_KEY, text) from None


def _base_of(folder: Path) -> str:
    """Where the weights are that an adapted model does not store; its own folder if it stores all."""
    if (folder / storage.BASE).is_dir():
        return str(folder / storage.BASE)
    for name in (peft.CONFIG, storage.BOTTLENECK_CONFIG):
        if source := (storage.read_config(folder, name) or {}).get("base_model_name_or_path"):
            return str(source)
    if any(folder.glob("model*.safetensors")):
        return str(folder)
    raise ValueInRecipeError(_KEY, f"the adapter in '{folder}' does not say which model it belongs to")


def _head_named(config: Any, otherwise: Head) -> Head:
    """The head of the class that a configuration names."""
    return head_named((config.architectures or [None])[0], type(config)) or otherwise


def _head_of(model: "PreTrainedModel", otherwise: Head) -> Head:
    return head_named(type(model).__name__, type(model.config)) or otherwise


def _with_other_head(found: "PreTrainedModel", head: Head, config: Any) -> tuple["PreTrainedModel", set[str]]:
    """A model with the wanted head and, by name and shape, the weights of another; also the names of what is new."""
    model: PreTrainedModel = auto_class(head).from_config(config, dtype=torch.float32)
    resize(model, sizes_of(found))
    for name, layer in adapters.layers(found):
        if name in (modules := dict(model.named_modules())):
            adapters.add_bottleneck(modules[name], layer.bottleneck.size)
    wanted, have = model.state_dict(), found.state_dict()
    fitting = {name: have[name] for name in wanted if name in have and have[name].shape == wanted[name].shape}
    model.load_state_dict(fitting, strict=False)
    return model, {name for name, _ in model.named_parameters() if name not in fitting}
