"""What scores cost, so that they fall: the mean over matrices of the mean over each (Sanh et al. 2020, section 4)."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from .gates import BETA, HIGH, LOW


def regularised(scores: Sequence[Tensor], kind: Literal["l1", "l0"]) -> Tensor:
    """A scalar from 0 to 1.

    `l1`: σ(S), the norm of the soft mask. `l0`: σ(S − β·ln(−LOW/HIGH)), the chance that a hard concrete gate is open.
    """
    shift = 0.0 if kind == "l1" else BETA * math.log(-LOW / HIGH)
    return torch.stack([torch.sigmoid(each - shift if shift else each).mean() for each in scores]).mean()
