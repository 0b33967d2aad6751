"""Writing a model to a folder, and taking its weights up again."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save_model(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase | None", folder: Path) -> None:
    """Write both in `save_pretrained` layout."""
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def load_weights(model: nn.Module, folder: Path) -> None:
    """Give a model the weights that `save_model` wrote; it must be built alike."""
    from safetensors.torch import load_file

    files = sorted(folder.glob("model*.safetensors"))
    weights = {name: weight for file in files for name, weight in load_file(file).items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    tied = _tied(model)
    lost = [name for name in missing if name not in tied]
    if lost or unexpected or not files:
        raise ValueError(f"{folder} does not hold this model: {', '.join([*lost, *unexpected][:4]) or 'no weights'}")


def _tied(model: nn.Module) -> set[str]:
    """Names of weights that are one with another and therefore stored once."""
    first: dict[int, str] = {}
    names: set[str] = set()
    for name, weight in model.state_dict(keep_vars=True).items():
        known = first.setdefault(id(weight), name)
        if known != name:
            names |= {name, known}
    return names
