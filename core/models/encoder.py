"""A Transformer text classifier of our own (Vaswani et al. 2017, the encoder half).

The blocks are written out instead of taken from torch: `nn.TransformerEncoder` leaves the forward methods of its parts
aside in evaluation, so that whatever a method puts into one of them is trained and then ignored.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_outputs import SequenceClassifierOutput

from .pooling import TextClassifier, TextConfig, mean_over


class EncoderConfig(TextConfig):
    """The shape of an encoder; field names as in BERT's configuration."""

    model_type = "lmwb-encoder"

    def __init__(
        self,
        num_hidden_layers: int = 2,
        num_attention_heads: int = 2,
        intermediate_size: int = 128,
        dropout: float = 0.1,
        norm: Literal["post", "pre"] = "post",
        max_position_embeddings: int = 1024,
        **fields: Any,
    ):
        """A configuration; `hidden_size` must be a multiple of `num_attention_heads`, and even."""
        super().__init__(**fields)
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.dropout = dropout
        self.norm = norm
        self.max_position_embeddings = max_position_embeddings


class EncoderBlock(nn.Module):
    """Self-attention and a feed-forward part, each with a residual sum and a norm.

    With `norm="post"`: x ← norm(x + part(x)), as in the paper; with `"pre"`: x ← x + part(norm(x)).
    """

    def __init__(self, config: EncoderConfig):
        super().__init__()
        width = config.hidden_size
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.linear1 = nn.Linear(width, config.intermediate_size)
        self.linear2 = nn.Linear(config.intermediate_size, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self._heads = config.num_attention_heads
        self._dropout = config.dropout
        self._before = config.norm == "pre"

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States (batch, tokens, width) → the same shape; `mask` (batch, 1, 1, tokens) is True for real tokens."""
        if self._before:
            states = states + self.dropout(self._attention(self.norm1(states), mask))
            return states + self.dropout(self._feedforward(self.norm2(states)))
        states = self.norm1(states + self.dropout(self._attention(states, mask)))
        return self.norm2(states + self.dropout(self._feedforward(states)))

    def _attention(self, states: Tensor, mask: Tensor) -> Tensor:
        """softmax(q·kᵀ/√d)·v for each head (equation 1 of the paper)."""
        query, key, value = (
            part(states).unflatten(-1, (self._heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        drop = self._dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=drop)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _feedforward(self, states: Tensor) -> Tensor:
        return self.linear2(self.dropout(F.relu(self.linear1(states))))


class EncoderBody(nn.Module):
    """Embeddings times √width plus sinusoids, then the blocks; with norms before the parts, one more at the end."""

    positions: Tensor

    def __init__(self, config: EncoderConfig):
        super().__init__()
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(EncoderBlock(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size) if config.norm == "pre" else nn.Identity()
        self.register_buffer(
            "positions", sinusoids(config.max_position_embeddings, config.hidden_size), persistent=False
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Tokens (batch, tokens) → states (batch, tokens, width)."""
        scaled = self.embeddings(ids) * math.sqrt(self.embeddings.embedding_dim)
        states = self.dropout(scaled + self.positions[: ids.shape[1]])
        seen = mask.bool()[:, None, None, :]
        for layer in self.layers:
            states = layer(states, seen)
        return self.norm(states)


class EncoderClassifier(TextClassifier):
    """The body, the mean over real tokens, and a linear layer."""

    config_class = EncoderConfig
    base_model_prefix = "encoder"

    def __init__(self, config: EncoderConfig):
        super().__init__(config)
        self.num_labels = config.num_labels or 2
        self.encoder = EncoderBody(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()
        self.freeze()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """Logits (batch, labels) of tokens (batch, tokens); without a mask all tokens are real."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        pooled = mean_over(self.encoder(input_ids, mask), mask)
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, EncoderBody):  # not stored with the weights, so it must be made after loading
            init.copy_(module.positions, sinusoids(*module.positions.shape))


def sinusoids(length: int, width: int) -> Tensor:
    """Fixed positions, (length, width): sin and cos of position/10000^(2i/width) (section 3.5 of the paper)."""
    angles = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width]
