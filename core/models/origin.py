"""Where the weights of a model in memory came from: what need not be stored again, and what is new in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn


@dataclass(frozen=True)
class Origin:
    """Where a model's weights came from.

    Attributes:
        source: a folder or a name on the hub; None for a new model.
        new: names of weights that were not there, such as those of a new head.
    """

    source: str | None = None
    new: frozenset[str] = frozenset()


def origin_of(model: nn.Module) -> Origin:
    """What `remember_origin` was told; without it, all weights are new."""
    return getattr(model, "_lmwb_origin", Origin())


def remember_origin(model: nn.Module, source: str | None, new: Iterable[str]) -> None:
    """Note where a model's weights came from; the note is not stored with the model."""
    if source is not None and Path(source).is_dir():
        source = str(Path(source).resolve())
    model._lmwb_origin = Origin(source, frozenset(new))  # type: ignore[assignment]
