"""What our own text classifiers have in common: their configuration's words, their initial weights, their mean."""

from typing import Any, cast

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers import initialization as init


class TextConfig(PretrainedConfig):
    """What every text classifier of our own knows about itself."""

    def __init__(self, vocab_size: int = 1000, hidden_size: int = 64, train_embeddings: bool = True, **fields: Any):
        """A configuration; `fields` are those of transformers, such as `num_labels` and `pad_token_id`."""
        super().__init__(**fields)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.train_embeddings = train_embeddings
        self.pad_token_id: int | None = fields.get("pad_token_id")


class TextClassifier(PreTrainedModel):
    """A body with `embeddings`, and a linear `classifier` on the mean of what the body says of real tokens."""

    config: TextConfig

    @classmethod
    def from_pretrained(cls, *arguments: Any, **named: Any) -> Any:
        """As in transformers, which would forget what is frozen."""
        found = super().from_pretrained(*arguments, **named)
        (found[0] if isinstance(found, tuple) else found).freeze()
        return found

    def freeze(self) -> None:
        """Keep the words' vectors as they are if the configuration says so."""
        if not self.config.train_embeddings:
            self.get_input_embeddings().requires_grad_(False)

    def get_input_embeddings(self) -> nn.Module:
        """The words' vectors, (vocabulary, hidden)."""
        return cast("nn.Module", self.base_model.embeddings)

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Take other vectors."""
        self.base_model.embeddings = value

    def _init_weights(self, module: nn.Module) -> None:
        """Vectors from N(0, 1/hidden), zero for padding; matrices as in Glorot & Bengio 2010; no offsets."""
        if isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=self.config.hidden_size**-0.5)
            if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
                init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)


def mean_over(states: Tensor, mask: Tensor) -> Tensor:
    """The mean of the states of real tokens, (batch, width); zero where there are none.

    Args:
        states: (batch, tokens, width).
        mask: (batch, tokens), not zero for real tokens.
    """
    real = mask.bool().unsqueeze(-1)
    return states.masked_fill(~real, 0).sum(1) / real.sum(1).clamp(min=1)
