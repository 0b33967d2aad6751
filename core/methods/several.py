"""Several low-rank adapters on one base, one of which is chosen at inference:

adapters = load_adapters(model, {"sentiment": "runs/a/lora/model", "topics": "runs/b/lora/model"})
adapters.use("topics")
adapters.use(None)  # the base alone
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from . import lora, peft


class AdapterSet:
    """Adapters that wait on a base; the model answers as the one last chosen."""

    def __init__(self, model: nn.Module, whole: Mapping[str, Mapping[str, Tensor]]):
        """The updates are on the model already; `whole` has, by adapter, the weights that it brings whole."""
        self._model = model
        self._whole = whole
        changed = {name for weights in whole.values() for name in weights}
        self._base = {name: value.clone() for name, value in model.state_dict().items() if name in changed}
        self.chosen: str | None = None
        self.use(None)

    @property
    def names(self) -> list[str]:
        """The adapters to choose from."""
        return list(self._whole)

    @torch.no_grad()
    def use(self, name: str | None) -> None:
        """Let the model answer with this adapter, its head included; None for the base alone.

        Raises:
            ValueError: there is none by that name, or updates are merged into the weights.
        """
        lora.use(self._model, *([] if name is None else [name]))
        there = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        for key, value in {**self._base, **self._whole.get(name or "", {})}.items():
            there[key].data = value.to(there[key])  # a head may have another size
        self.chosen = name


def load_adapters(model: nn.Module, folders: Mapping[str, str | Path]) -> AdapterSet:
    """Put adapters, in peft's format or as a run has left them, on one base; none is chosen yet.

    Args:
        model: the base that all of them belong to.
        folders: where they are, by names without dots.

    Raises:
        ValueInRecipeError: a folder holds something else, or something that does not fit the model.
    """
    return AdapterSet(model, {name: peft.attach(model, Path(folder), name) for name, folder in folders.items()})
