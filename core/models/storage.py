"""Writing a model to a folder, and taking its weights up again."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save_model(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase | None", folder: Path) -> None:
    """Write both: the model in `save_pretrained` layout, or, if it is adapted, what its base does not have.

    Masks are written as what they leave in evaluation.
    """
    from ..methods import pruning
    from ..methods import storage as methods
    from .shrunk import note_sizes

    if methods.is_small(model):
        methods.save_small(model, folder)
        model.config.architectures = [type(model).__name__]
        model.config.save_pretrained(folder)
        if model.can_generate():
            model.generation_config.save_pretrained(folder)
    else:
        model.save_pretrained(folder, state_dict=pruning.plain_state(model))
        methods.note_bottlenecks(model, folder)
        note_sizes(model, folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def load_weights(model: nn.Module, folder: Path) -> None:
    """Give a model the weights that `save_model` wrote; it must be built alike."""
    from safetensors.torch import load_file

    from ..methods import pruning
    from ..methods import storage as methods

    if methods.is_small(model):
        methods.load_small(model, folder)
        return
    files = sorted(folder.glob("model*.safetensors"))
    weights = {name: weight for file in files for name, weight in load_file(file).items()}
    missing, unexpected = model.load_state_dict(pruning.as_masked(model, weights), strict=False)
    tied = _tied(model)
    lost = [name for name in missing if name not in tied]
    if lost or unexpected or not files:
        raise ValueError(f"{folder} does not hold this model: {', '.join([*lost, *unexpected][:4]) or 'no weights'}")


def stored_weights(model: nn.Module) -> int:
    """How many numbers `save_model` writes."""
    from ..methods import storage as methods

    kept = methods.small_weights(model).values() if methods.is_small(model) else model.parameters()
    return sum(weight.numel() for weight in kept)


def _tied(model: nn.Module) -> set[str]:
    """Names of weights that are one with another and therefore stored once."""
    first: dict[int, str] = {}
    names: set[str] = set()
    for name, weight in model.state_dict(keep_vars=True).items():
        known = first.setdefault(id(weight), name)
        if known != name:
            names |= {name, known}
    return names
