"""A smaller model out of chosen layers of a larger one, as DistilBERT was begun (Sanh et al. 2019).

Embeddings, norms and head are taken over whole; the chosen layers keep their order and get new numbers. What comes out
is an ordinary model of the same architecture with fewer layers.
"""

import copy
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from ..errors import ValueInRecipeError
from ..recipe.problems import quoted
from .origin import origin_of, remember_origin

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_KEY = "model.layers"

_LAYERS = {
    "encoder.layer": ("bert", "roberta", "xlm-roberta", "camembert", "electra", "deberta-v2", "mpnet"),
    "transformer.layer": ("distilbert",),
    "h": ("gpt2", "bloom"),
    "layers": ("llama", "mistral", "qwen2", "qwen3", "gpt_neox", "gemma", "phi", "smollm3"),
    "decoder.layers": ("opt",),
}
"""By the place of the list of layers in a model's body, the architectures that have it there."""


def spaced(count: int, total: int) -> list[int]:
    """`count` of `total` layers from the first to the last, evenly spaced, halves rounded up; 6 of 12 are DistilBERT's
    0, 2, 4, 7, 9, 11."""
    return [0] if count == 1 else [(2 * i * (total - 1) + count - 1) // (2 * (count - 1)) for i in range(count)]


def chosen_layers(config: Any, wanted: int | Sequence[int]) -> list[int]:
    """The numbers of the layers that a recipe means.

    Args:
        config: of the model that has them.
        wanted: how many, evenly spaced; or which, rising from 0.

    Raises:
        ValueInRecipeError: the model has no such layers, or it is not known where it has any.
    """
    if not any(config.model_type in known for known in _LAYERS.values()):
        names = ", ".join(sorted(name for known in _LAYERS.values() for name in known))
        raise ValueInRecipeError(
            _KEY, f"where a model of type {quoted(config.model_type)} has its layers is not known; types known: {names}"
        )
    total = int(config.num_hidden_layers)
    if isinstance(wanted, int):
        if wanted > total:
            raise ValueInRecipeError(_KEY, f"the model has {total} layers, {wanted} cannot be taken from them")
        return spaced(wanted, total)
    if missing := [number for number in wanted if number >= total]:
        raise ValueInRecipeError(
            _KEY, f"the model has {total} layers, numbered from 0 to {total - 1}; {missing[0]} is none of them"
        )
    return list(wanted)


def cut_configuration(config: Any, layers: Sequence[int]) -> Any:
    """A configuration for these layers only."""
    cut = copy.deepcopy(config)
    total = int(config.num_hidden_layers)
    for name, value in vars(config).items():  # what is told of each layer, such as its kind of attention
        if isinstance(value, list | tuple) and len(cast("Sequence[Any]", value)) == total and "layer" in name:
            setattr(cut, name, type(value)(value[number] for number in layers))
    cut.num_hidden_layers = len(layers)
    return cut


def with_layers(model: "PreTrainedModel", wanted: int | Sequence[int]) -> tuple["PreTrainedModel", list[int]]:
    """A model of chosen layers of another, and which they are.

    Raises:
        ValueInRecipeError: there are no such layers, or the model has parts that a new one would not have.
    """
    layers = chosen_layers(model.config, wanted)
    place = next(place for place, known in _LAYERS.items() if model.config.model_type in known)
    prefix = re.escape(model.base_model_prefix)
    layer = re.compile(rf"((?:{prefix}\.)?{re.escape(place)}\.)(\d+)(\..+)")
    numbers = {str(old): str(new) for new, old in enumerate(layers)}

    def renamed(name: str) -> str | None:
        found = layer.fullmatch(name)
        if found is None:
            return name
        return found[1] + numbers[found[2]] + found[3] if found[2] in numbers else None

    with torch.random.fork_rng(devices=[]):
        small: PreTrainedModel = type(model)(cut_configuration(model.config, layers))
    weights = {new: value for name, value in model.state_dict().items() if (new := renamed(name)) is not None}
    module = cast("nn.Module", small)
    try:
        module.load_state_dict(weights)
    except RuntimeError:
        raise ValueInRecipeError(
            _KEY, "layers cannot be taken from this model: it has parts that its configuration does not tell of"
        ) from None
    if model.can_generate():
        small.generation_config = model.generation_config
    remember_origin(module, None, {new for name in origin_of(model).new if (new := renamed(name)) is not None})
    module.train(model.training)
    return small, layers
