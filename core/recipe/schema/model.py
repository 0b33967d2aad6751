"""The tables `[model]`: what is trained."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from ..lines import is_table
from .base import NotEmpty, Positive, Share, Table, kind_of, rule_broken


class PretrainedModel(Table):
    """A model that exists already."""

    kind: Literal["pretrained"] = "pretrained"
    from_: NotEmpty = Field(alias="from")
    """The name of an earlier stage, a folder in `save_pretrained` layout, `run:RUN` or `run:RUN/STAGE` for the result
    of another run, or a name on the model hub."""
    trust_remote_code: bool = False
    """Allow the model's repository to run code of its own. Only for repositories that you have read."""


class StartingModel(PretrainedModel):
    """A model that exists already, or chosen layers of it."""

    layers: Positive | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    """Take only so many of its layers, evenly spaced from first to last, or those of these numbers, from 0 on;
    embeddings and head are taken over whole. All layers if not given."""

    @model_validator(mode="after")
    def _rising(self) -> "StartingModel":
        if isinstance(self.layers, list) and self.layers != sorted(set(self.layers)):
            raise rule_broken("layers", "the numbers of the layers must rise, each given once")
        return self


class ScratchModel(Table):
    """A new transformers model with random weights."""

    kind: Literal["scratch"] = "scratch"
    type: NotEmpty
    """The architecture by its `model_type`, such as `gpt2`, `llama` or `bert`; it must fit the objective."""
    config: dict[str, Any] = {}
    """Fields of the architecture's configuration, such as `n_embd = 128`. The vocabulary's size is set by itself."""


class EncoderModel(Table):
    """A Transformer text classifier of our own: sinusoidal positions, mean pooling over real tokens."""

    kind: Literal["encoder"] = "encoder"
    layers: Positive = 2
    """Encoder blocks."""
    heads: Positive = 2
    """Attention heads; must divide `hidden`."""
    hidden: Positive | None = None
    """Width; the width of the embeddings if they are given, else 128."""
    feedforward: Positive = 128
    """Width inside a block's feed-forward part."""
    dropout: Share = 0.1
    """Share of activations dropped in training."""
    norm: Literal["post", "pre"] = "post"
    """Where the norms stand: after each residual sum, as in Vaswani et al. 2017, or before each part."""
    max_length: Positive = 1024
    """The most tokens that the model takes at once."""
    embeddings: NotEmpty | None = None
    """A GloVe file (.txt or .gz) to take the words' vectors from; `glove:6B.100d` is fetched once."""
    train_embeddings: bool = True
    """Whether the words' vectors change in training."""


class BagModel(Table):
    """A text classifier of our own: the mean of the words' vectors, and a linear layer."""

    kind: Literal["bag"] = "bag"
    hidden: Positive | None = None
    """Width of the vectors; the width of the embeddings if they are given, else 64."""
    embeddings: NotEmpty | None = None
    """A GloVe file (.txt or .gz) to take the words' vectors from; `glove:6B.100d` is fetched once."""
    train_embeddings: bool = True
    """Whether the words' vectors change in training."""


class ConvNetModel(Table):
    """A small convolutional image classifier of our own for 32×32 pixels in grey."""

    kind: Literal["convnet"] = "convnet"
    channels: tuple[Positive, Positive] = Field(default=(16, 32), strict=False)
    """Channels of the two convolutions."""
    hidden: Positive = 128
    """Width of the layer before the last."""
    dropout: Share = 0.0
    """Share of activations dropped before the last layer in training."""


def _kind(value: Any) -> str | None:
    guess = "scratch" if is_table(value) and "type" in value and "from" not in value else "pretrained"
    return kind_of(value, guess)


_Pretrained = Annotated[StartingModel, Tag("pretrained")]
_Scratch = Annotated[ScratchModel, Tag("scratch")]

LanguageModel = Annotated[_Pretrained | _Scratch, Discriminator(_kind)]
"""A model of transformers."""
TextModel = Annotated[
    _Pretrained | _Scratch | Annotated[EncoderModel, Tag("encoder")] | Annotated[BagModel, Tag("bag")],
    Discriminator(_kind),
]
"""A model that classifies texts."""
ImageModel = Annotated[_Pretrained | Annotated[ConvNetModel, Tag("convnet")], Discriminator(_kind)]
"""A model that classifies images."""

AnyModel = PretrainedModel | ScratchModel | EncoderModel | BagModel | ConvNetModel
