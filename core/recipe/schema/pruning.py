"""The table `[[method]]` of kind `movement-pruning`."""

from typing import Literal

from .base import Table


class MovementPruning(Table):
    """Take weights away while the model is fine-tuned (Sanh, Wolf & Rush 2020)."""

    kind: Literal["movement-pruning"] = "movement-pruning"
