"""Secondary learners: small networks that tell a context's information gain from its tokens alone.

Both work on a copy of the base model's word embeddings: the model keeps its own, tied or not.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...recipe.schema.gain import AnyLearner, ConvolutionLearner, PublishedLearner


class PublishedNet(nn.Module):
    """Embeddings, Conv1d(d → 256, 3), maximum over the tokens, Linear 256 → 32 → 32 → 1 with dropout after the first.

    The embeddings are trained. But for the maximum nothing in it is non-linear; the three linear layers are one.
    """

    def __init__(self, vocabulary: int, width: int):
        """New weights, drawn from torch's present seed; the embeddings are to be copied in."""
        super().__init__()
        self.embeddings = nn.Embedding(vocabulary, width)
        self.convolution = nn.Conv1d(width, 256, 3, padding=1)
        self.layers = nn.Sequential(nn.Linear(256, 32), nn.Dropout(0.1), nn.Linear(32, 32), nn.Linear(32, 1))

    def forward(self, contexts: Tensor) -> Tensor:
        """The standardised gain of contexts (batch, length), (batch,)."""
        found = self.convolution(self.embeddings(contexts).transpose(1, 2))
        return self.layers(found.amax(2)).squeeze(1)


class ConvolutionNet(nn.Module):
    """Frozen embeddings scaled to unit variance, a projection, two convolutions with GELU, mean and maximum, a hidden
    layer."""

    def __init__(self, vocabulary: int, width: int, channels: int, dropout: float):
        """New weights, drawn from torch's present seed; the embeddings are to be copied in."""
        super().__init__()
        self.embeddings = nn.Embedding(vocabulary, width).requires_grad_(False)
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, channels)
        self.near = nn.Conv1d(channels, channels, 3, padding=1)
        self.far = nn.Conv1d(channels, channels, 3, padding=2, dilation=2)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.GELU(), nn.Dropout(dropout), nn.Linear(channels, 1)
        )

    def forward(self, contexts: Tensor) -> Tensor:
        """The standardised gain of contexts (batch, length), (batch,)."""
        found = self.drop(self.project(self.norm(self.embeddings(contexts)))).transpose(1, 2)
        found = found + self.drop(nn.functional.gelu(self.near(found)))
        found = found + self.drop(nn.functional.gelu(self.far(found)))
        return self.layers(torch.cat([found.mean(2), found.amax(2)], 1)).squeeze(1)


@dataclass(frozen=True)
class Shape:
    """What a learner's network is built from.

    Attributes:
        kind: of the learner.
        vocabulary, width: of the embeddings.
        channels, dropout: of a network of convolutions.
    """

    kind: str
    vocabulary: int
    width: int
    channels: int = 0
    dropout: float = 0.0

    def build(self) -> nn.Module:
        """The network, with new weights."""
        if self.kind == PublishedLearner().kind:
            return PublishedNet(self.vocabulary, self.width)
        return ConvolutionNet(self.vocabulary, self.width, self.channels, self.dropout)

    def as_facts(self) -> Mapping[str, Any]:
        """For JSON."""
        return asdict(self)


def shape_of(settings: AnyLearner, embeddings: Tensor) -> Shape:
    """The shape that a recipe asks for."""
    vocabulary, width = embeddings.shape
    if isinstance(settings, ConvolutionLearner):
        return Shape(settings.kind, vocabulary, width, settings.width, settings.dropout)
    return Shape(settings.kind, vocabulary, width)


def new_learner(settings: AnyLearner, embeddings: Tensor) -> nn.Module:
    """A learner to be trained, with a copy of a model's word embeddings (vocabulary, width)."""
    net = shape_of(settings, embeddings).build()
    with torch.no_grad():
        net.get_parameter("embeddings.weight").copy_(embeddings)
    return net
