"""Movement pruning (Sanh, Wolf & Rush 2020): masks that are learnt while a model is fine-tuned."""

from .method import Pruning
from .storing import as_masked, fold, plain_state

__all__ = ["Pruning", "as_masked", "fold", "plain_state"]
