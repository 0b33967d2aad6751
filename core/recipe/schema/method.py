"""The tables `[[method]]`: how a model is adapted, and what else happens while it is trained.

Without any method all weights are trained. With methods, the model's weights are frozen but for what the methods
train; several methods add up. Targets and patterns are names of modules, with `*` and `?`, matched against the end of
a module's full name: `query` means every module called so, `layer.11.*` all in the last layer of twelve.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from .base import NotEmpty, Positive, Share, Table, kind_of
from .distilling import Distillation
from .gain import InformationGain
from .pruning import MovementPruning

Patterns = Annotated[list[NotEmpty], Field(min_length=1)]
Rate = Annotated[float, Field(gt=0, le=1000)]


class LinearProbe(Table):
    """Train the head only."""

    kind: Literal["linear-probe"] = "linear-probe"


class Layers(Table):
    """Train chosen layers, each at a rate of its own if wanted."""

    kind: Literal["layers"] = "layers"
    train: Patterns
    """The modules to train; `*` for all."""
    rates: dict[str, Rate] = {}
    """By pattern, what the learning rate of the modules is multiplied by; the last that matches counts."""
    head: bool = True
    """Train the head, too."""


class Adapters(Table):
    """Bottleneck adapters (Houlsby et al. 2019): y + up(relu(down(y))) after chosen linear layers."""

    kind: Literal["adapters"] = "adapters"
    size: Positive = 24
    """Width of the bottleneck."""
    targets: Patterns
    """The linear layers to put adapters behind."""
    head: bool = True
    """Train the head, too."""


class Lora(Table):
    """Low-rank adaptation (Hu et al. 2021): W + (alpha / rank)·B·A, with W frozen."""

    kind: Literal["lora"] = "lora"
    rank: Positive = 8
    """Rank of the update."""
    alpha: Annotated[float, Field(gt=0)] = 16.0
    """Scale of the update, divided by the rank."""
    dropout: Share = 0.0
    """Share of the inputs of A dropped in training."""
    targets: Patterns
    """The linear layers, GPT-2's Conv1D layers, attention projections or convolutions to adapt."""
    also_train: list[NotEmpty] = []
    """Further modules to train whole and to store with the adapter."""
    head: bool = True
    """Train the head, too."""


def _kind(value: Any) -> str | None:
    return kind_of(value, "lora")


Method = Annotated[
    Annotated[LinearProbe, Tag("linear-probe")]
    | Annotated[Layers, Tag("layers")]
    | Annotated[Adapters, Tag("adapters")]
    | Annotated[Lora, Tag("lora")]
    | Annotated[MovementPruning, Tag("movement-pruning")]
    | Annotated[Distillation, Tag("distillation")]
    | Annotated[InformationGain, Tag("information-gain")],
    Discriminator(_kind),
]

Adaptation = LinearProbe | Layers | Adapters | Lora
"""Methods that change what is trained, once, before training."""

ActiveMethod = MovementPruning | Distillation | InformationGain
"""Methods that stay active while a model is trained."""

AnyMethod = Adaptation | ActiveMethod
