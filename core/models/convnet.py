"""A small convolutional image classifier of our own, in the manner of LeCun et al. 1998: 32×32 pixels in grey."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ImageClassifierOutput


class ConvNetConfig(PretrainedConfig):
    """The shape of a convolutional net."""

    model_type = "lmwb-convnet"

    def __init__(
        self,
        channels: Sequence[int] = (16, 32),
        hidden_size: int = 128,
        dropout: float = 0.0,
        image_size: int = 32,
        num_channels: int = 1,
        **fields: Any,
    ):
        """A configuration; `channels` are those of the two convolutions."""
        super().__init__(**fields)
        self.channels = list(channels)
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.image_size = image_size
        self.num_channels = num_channels


class ConvNetBody(nn.Module):
    """Two convolutions of 5×5, each with a ReLU and a 2×2 maximum, then a linear layer; no batch statistics."""

    def __init__(self, config: ConvNetConfig):
        super().__init__()
        first, second = config.channels
        self.conv1 = nn.Conv2d(config.num_channels, first, 5, padding=2)
        self.conv2 = nn.Conv2d(first, second, 5, padding=2)
        self.fc1 = nn.Linear(second * (config.image_size // 4) ** 2, config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """Images (batch, 1, 32, 32) → features (batch, hidden)."""
        pixels = F.max_pool2d(F.relu(self.conv1(pixels)), 2)  # (batch, first, 16, 16)
        pixels = F.max_pool2d(F.relu(self.conv2(pixels)), 2)  # (batch, second, 8, 8)
        return F.relu(self.fc1(pixels.flatten(1)))


class ConvNetClassifier(PreTrainedModel):
    """The convolutions, and a linear `classifier` on what they found."""

    config_class = ConvNetConfig
    base_model_prefix = "convnet"
    main_input_name = "pixel_values"
    config: ConvNetConfig

    def __init__(self, config: ConvNetConfig):
        super().__init__(config)
        self.num_labels = config.num_labels or 2
        self.convnet = ConvNetBody(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()

    def forward(self, pixel_values: Tensor, **_: Any) -> ImageClassifierOutput:
        """Logits (batch, labels) of images (batch, 1, 32, 32) with values from -1 to 1."""
        return ImageClassifierOutput(logits=self.classifier(self.dropout(self.convnet(pixel_values))))

    def _init_weights(self, module: nn.Module) -> None:
        """Uniform weights of variance 1/(3·inputs), as torch draws them; no offsets."""
        if isinstance(module, nn.Conv2d | nn.Linear):
            init.kaiming_uniform_(module.weight, a=5**0.5)
            if module.bias is not None:
                init.zeros_(module.bias)
