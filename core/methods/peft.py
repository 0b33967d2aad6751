"""Low-rank updates in the format of the peft library: its names, its description, and what of it we can take over."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ValueInRecipeError
from ..models.origin import origin_of
from . import lora
from .parts import covers, head_modules

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."


def describe(model: "PreTrainedModel", weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """peft's description of the adapter; layers of another rank or scale than the first are named one by one."""
    adapted = {name: layer for name, layer in lora.layers(model) if lora.DEFAULT in layer.lora}
    updates = {name: _update(layer) for name, layer in adapted.items()}
    first = next(iter(updates.values()))
    rank, alpha = first.A.shape[0], first.scale * first.A.shape[0]
    ranks = {name: update.A.shape[0] for name, update in updates.items()}
    alphas = {name: update.scale * ranks[name] for name, update in updates.items()}
    attentions = [name for name, layer in adapted.items() if isinstance(layer, nn.MultiheadAttention)]
    return {
        "peft_type": "LORA",
        "task_type": _task_type(model),
        "base_model_name_or_path": origin_of(model).source,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": first.dropout,
        # peft takes an attention and its output projection together, by the attention's name
        "target_modules": [name for name in adapted if name.removesuffix(".out_proj") not in attentions] + attentions,
        "modules_to_save": _whole_modules(model, weights) or None,
        "fan_in_fan_out": any(layer.transposed for layer in adapted.values()),
        "bias": "none",
        "rank_pattern": {re.escape(name): each for name, each in ranks.items() if each != rank},
        "alpha_pattern": {re.escape(name): each for name, each in alphas.items() if each != alpha},
        "inference_mode": True,
        "use_rslora": False,
        "use_dora": False,
    }


def _whole_modules(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """The modules that hold the weights stored whole: the head by its outermost names, others by their own."""
    owners = {name.rpartition(".")[0] for name in weights if ".lora." not in name}
    names = [head for head in head_modules(model) if any(covers(head, owner) for owner in owners)]
    return names + sorted(owner for owner in owners if not any(covers(name, owner) for name in names))


def _task_type(model: nn.Module) -> str | None:
    """What peft calls the model's work; it knows models of transformers only."""
    from transformers.models.auto import modeling_auto as auto

    kind = type(model).__name__
    if kind in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        return "CAUSAL_LM"
    return "SEQ_CLS" if kind in auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.values() else None


def to_peft(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """peft's names; its B of a convolution has the kernel's dimensions, too."""
    layers = dict(lora.layers(model))
    attentions = {name for name, layer in layers.items() if isinstance(layer, nn.MultiheadAttention)}
    renamed: dict[str, Tensor] = {}
    for name, weight in weights.items():
        owner, found, part = name.partition(f".lora.{lora.DEFAULT}.")
        if not found:
            renamed[_PREFIX + name] = weight
            continue
        around, _, last = owner.rpartition(".")
        inner = f"{around}.base_layer.{last}" if around in attentions else owner
        shape = weight.shape + (1,) * (_update(layers[owner]).A.ndim - weight.ndim)
        renamed[f"{_PREFIX}{inner}.lora_{part}.weight"] = weight.reshape(shape)
    return renamed


def _update(layer: lora.LoraLayer) -> lora.LowRank:
    update = layer.lora[lora.DEFAULT]
    assert isinstance(update, lora.LowRank)
    return update


def from_peft(stored: Mapping[str, Tensor], update: str = lora.DEFAULT) -> dict[str, Tensor]:
    """Our names for peft's."""
    renamed: dict[str, Tensor] = {}
    for name, weight in stored.items():
        name = name.removeprefix(_PREFIX).replace(".base_layer.", ".")
        if match := re.fullmatch(r"(.*)\.lora_([AB])\.weight", name):
            name = f"{match[1]}.lora.{update}.{match[2]}"
            weight = weight.flatten(1) if match[2] == "B" else weight
        renamed[name] = weight
    return renamed


# -- taking over ----------------------------------------------------------------------------------

_REFUSED = {
    "use_dora": "DoRA",
    "lora_bias": "biases inside the update",
    "use_qalora": "QA-LoRA",
    "layer_replication": "replicated layers",
    "trainable_token_indices": "single trained tokens",
    "target_parameters": "updates of bare parameters",
    "alora_invocation_tokens": "activated LoRA",
}


def attach(model: nn.Module, folder: Path, name: str = lora.DEFAULT) -> dict[str, Tensor]:
    """Add the updates in a folder to a model, under a name; returns the weights that are stored whole beside them.

    Raises:
        ValueInRecipeError: the folder holds something else, or something that does not fit the model.
    """
    config = json.loads((folder / CONFIG).read_text())
    _refuse_what_we_lack(config, folder)
    if not (folder / WEIGHTS).is_file():
        raise ValueInRecipeError("model.from", f"the adapter in '{folder}' has no {WEIGHTS}; save it with safetensors")
    theirs = load_file(folder / WEIGHTS)
    if "peft_version" in config and any(".base_layer.out_proj.lora_" in key for key in theirs):
        # https://github.com/huggingface/peft/pull/3774
        raise ValueInRecipeError(
            "model.from",
            f"the adapter in '{folder}' was trained with a peft that updates an attention's output projection twice; "
            "merge it into its model with that peft first",
        )
    stored = from_peft(theirs, name)
    modules = dict(model.named_modules())
    whole = {key: weight for key, weight in stored.items() if ".lora." not in key}
    for key, weight in stored.items():
        owner, found, part = key.partition(f".lora.{name}.")
        if not found or part != "A":
            continue
        see_that_it_fits(folder, modules, owner, lora.why_not)
        rank = weight.shape[0]
        lora.add_update(modules[owner], rank, _scale(config, owner, rank), config.get("lora_dropout", 0.0), name)
    fill(model, {key: weight for key, weight in stored.items() if key not in whole}, folder)
    return whole


def _scale(config: Mapping[str, Any], owner: str, rank: int) -> float:
    """alpha / rank, or alpha / √rank with rank stabilisation (Kalajdzievski 2023)."""
    alpha = config["lora_alpha"]
    for pattern, other in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", owner):
            alpha = other
            break
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def see_that_it_fits(
    folder: Path, modules: Mapping[str, nn.Module], name: str, why_not: Callable[[nn.Module], str | None]
) -> None:
    """See that a model has the layer to which something in a folder belongs.

    Raises:
        ValueInRecipeError: it has not.
    """
    reason = "is not there" if name not in modules else why_not(modules[name])
    if reason:
        raise ValueInRecipeError("model.from", f"the adapter in '{folder}' does not fit: '{name}' {reason}")


def fill(model: nn.Module, stored: Mapping[str, Tensor], folder: Path) -> None:
    """Give a model weights by name.

    Raises:
        ValueInRecipeError: it has none by such a name, or of another shape.
    """
    try:
        surplus = model.load_state_dict(stored, strict=False).unexpected_keys
    except RuntimeError as error:
        raise ValueInRecipeError(
            "model.from", f"the adapter in '{folder}' does not fit: {str(error).splitlines()[-1].strip()}"
        ) from None
    if surplus:
        raise ValueInRecipeError("model.from", f"the adapter in '{folder}' holds what is no LoRA: {surplus[0]}")


def _refuse_what_we_lack(config: Mapping[str, Any], folder: Path) -> None:
    lacks: Sequence[str] = [words for key, words in _REFUSED.items() if config.get(key)]
    if config.get("peft_type") != "LORA":
        lacks = [str(config.get("peft_type"))]
    if config.get("bias", "none") != "none":
        lacks = [*lacks, "trained biases"]
    if lacks:
        raise ValueInRecipeError(
            "model.from",
            f"the adapter in '{folder}' was made with {', '.join(lacks)}, which lmwb does not have; merge it into its "
            "model with peft first",
        )
