"""Labels of images, by cross-entropy."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.images import Images
from ..objective import Batch, fingerprint_of
from .labels import ClassTally


class ImageClassification:
    """Cross-entropy of each image's label; values run from -1 (black) to 1 (white)."""

    def __init__(self, images: Images):
        """The objective over images."""
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """All alike: an image counts as one token."""
        return np.ones(len(self.images), np.int64)

    @property
    def fingerprint(self) -> str:
        """Changes when the images or their labels do."""
        return fingerprint_of(self.images.pixels, self.images.labels)

    def collate(self, rows: Sequence[int], seed: int) -> Batch:  # noqa: ARG002 - nothing is random here
        """Inputs (batch, 1, 32, 32) and labels (batch,)."""
        chosen = list(rows)
        pixels = torch.from_numpy(self.images.pixels[chosen]).float().div(127.5).sub(1).unsqueeze(1)
        return Batch({"pixel_values": pixels}, torch.from_numpy(self.images.labels[chosen]), len(chosen), len(chosen))

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits, (batch, labels)."""
        return model(**batch.inputs).logits

    def loss_sum(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Σ −log p(label | image)."""
        return F.cross_entropy(outputs.float(), batch.targets, reduction="sum")

    def tally(self) -> ClassTally:
        """Loss and accuracy."""
        return ClassTally(len(self.images.names), ("accuracy",))
