"""Adapted models on disk: only what is not the base's, in the format of the peft library where it has one.

LoRA goes into `adapter_model.safetensors` and `adapter_config.json`, which `PeftModel.from_pretrained(base, folder)`
reads; weights trained whole, such as the head, go with it. Bottleneck adapters, which peft does not know in this
form, have `bottleneck_model.safetensors` and `bottleneck_config.json`; without LoRA the weights trained whole are
there. A base that is new is stored in `base/`, whole.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..models.origin import origin_of
from . import adapters, lora, peft
from .parts import ADDED, batch_norms, covers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BOTTLENECK_CONFIG, BOTTLENECK_WEIGHTS = "bottleneck_config.json", "bottleneck_model.safetensors"
BASE = "base"


def is_small(model: nn.Module) -> bool:
    """Whether a model is a base and a little more: layers were added, and something of the base is frozen."""
    added = any(lora.layers(model)) or any(adapters.layers(model))
    return added and any(
        not weight.requires_grad for name, weight in model.named_parameters() if not ADDED.search(name)
    )


def small_weights(model: nn.Module) -> dict[str, Tensor]:
    """By name, what must be stored besides the base: what was added, is trained, is new, or changes by itself."""
    new = origin_of(model).new if origin_of(model).source else ()
    weights: dict[str, Tensor] = {
        name: weight
        for name, weight in model.named_parameters()
        if weight.requires_grad or name in new or ADDED.search(name)
    }
    return weights | {
        name: value
        for module, _ in batch_norms(model)
        for name, value in model.state_dict(keep_vars=True).items()
        if covers(module, name)
    }


def save_small(model: "PreTrainedModel", folder: Path) -> None:
    """Write what is not the base's; `load_small` gives it back to a model built alike."""
    weights = {name: weight.detach().cpu().contiguous() for name, weight in small_weights(model).items()}
    if any(lora.layers(model)):
        mine = {name: weight for name, weight in weights.items() if ".bottleneck." not in name}
        save_file(peft.to_peft(model, mine), folder / peft.WEIGHTS, {"format": "pt"})
        _write(folder / peft.CONFIG, peft.describe(model, mine))
        weights = {name: weight for name, weight in weights.items() if name not in mine}
    if any(adapters.layers(model)):
        save_file(weights, folder / BOTTLENECK_WEIGHTS, {"format": "pt"})
        _write(folder / BOTTLENECK_CONFIG, bottleneck_config(model))
    if origin_of(model).source is None:
        base = {name: weight for name, weight in model.state_dict().items() if not ADDED.search(name)}
        model.save_pretrained(folder / BASE, state_dict=base)


def load_small(model: nn.Module, folder: Path) -> None:
    """Give a model, built and adapted alike, what `save_small` wrote.

    Raises:
        ValueError: the folder does not hold what belongs to this model.
    """
    stored: dict[str, Tensor] = {}
    if (folder / peft.WEIGHTS).is_file():
        stored |= peft.from_peft(load_file(folder / peft.WEIGHTS))
    if (folder / BOTTLENECK_WEIGHTS).is_file():
        stored |= load_file(folder / BOTTLENECK_WEIGHTS)
    if trouble := sorted(small_weights(model).keys() ^ stored.keys()):
        raise ValueError(f"{folder} does not hold this model: {', '.join(trouble[:4])}")
    model.load_state_dict(stored, strict=False)


def add_stored(model: nn.Module, folder: Path) -> None:
    """Add to a base what a folder holds besides it.

    Raises:
        ValueInRecipeError: it does not fit.
    """
    stored: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    for name, size in (read_config(folder, BOTTLENECK_CONFIG) or {"layers": {}})["layers"].items():
        if not isinstance(modules.get(name), adapters.BottleneckLayer):
            peft.see_that_it_fits(folder, modules, name, adapters.why_not)
            adapters.add_bottleneck(modules[name], size)
    adapters.spare_nested_tensors(model)
    if (folder / peft.CONFIG).is_file():
        stored |= peft.attach(model, folder)
    for file in (folder / BOTTLENECK_WEIGHTS, *folder.glob("model*.safetensors")):
        stored |= load_file(file) if file.is_file() else {}
    peft.fill(model, stored, folder)


def bottleneck_config(model: nn.Module) -> dict[str, Any]:
    """Which layers have bottlenecks, and of which size."""
    sizes = {name: layer.bottleneck.size for name, layer in adapters.layers(model)}
    return {"base_model_name_or_path": origin_of(model).source, "layers": sizes}


def read_config(folder: Path, name: str) -> dict[str, Any] | None:
    """One of the descriptions above; None if the folder has none."""
    file = folder / name
    return json.loads(file.read_text()) if file.is_file() else None


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n")


def note_bottlenecks(model: nn.Module, folder: Path) -> None:
    """Write beside a model stored whole which of its layers have bottlenecks, if any have."""
    if any(adapters.layers(model)):
        _write(folder / BOTTLENECK_CONFIG, {**bottleneck_config(model), "base_model_name_or_path": None})
