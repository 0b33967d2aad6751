"""A bag-of-embeddings text classifier of our own: the mean of the words' vectors, and a linear layer."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from .pooling import TextClassifier, TextConfig, mean_over


class BagConfig(TextConfig):
    """The shape of a bag classifier."""

    model_type = "lmwb-bag"


class BagBody(nn.Module):
    """Nothing but the words' vectors."""

    def __init__(self, config: BagConfig):
        super().__init__()
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)

    def forward(self, ids: Tensor) -> Tensor:
        """Tokens (batch, tokens) → vectors (batch, tokens, width)."""
        return self.embeddings(ids)


class BagClassifier(TextClassifier):
    """Like fastText (Joulin et al. 2017) without word pairs."""

    config_class = BagConfig
    base_model_prefix = "bag"

    def __init__(self, config: BagConfig):
        super().__init__(config)
        self.num_labels = config.num_labels or 2
        self.bag = BagBody(config)
        self.classifier = nn.Linear(config.hidden_size, self.num_labels)
        self.post_init()
        self.freeze()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> SequenceClassifierOutput:
        """Logits (batch, labels) of tokens (batch, tokens); without a mask all tokens are real."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return SequenceClassifierOutput(logits=self.classifier(mean_over(self.bag(input_ids), mask)))
