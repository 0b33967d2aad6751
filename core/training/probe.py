"""A look at a model before the first step: does what is trained get a gradient, and does it change what is said?"""

import torch
from torch import nn

from .objective import Objective


def probe(model: nn.Module, objective: Objective, device: torch.device) -> None:
    """See that training can do what it is meant to.

    Raises:
        TrainingError: it cannot; the sentence says which weights are dead, or what differs.
    """
