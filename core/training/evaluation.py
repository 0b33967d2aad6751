"""Looking at rows without learning from them; the figures do not depend on the batch size."""

import torch
from torch import nn

from .loop import autocast
from .objectives import Objective


@torch.inference_mode()
def evaluate(
    model: nn.Module, objective: Objective, rows: int, batch_size: int, device: torch.device, precision: str = "fp32"
) -> dict[str, float]:
    """The objective's figures over rows 0 … rows − 1.

    Sums are added up in float64 and divided once, so that padding and batch size leave no trace.
    """
    model.eval()
    total = torch.zeros((), dtype=torch.float64)
    weight = 0
    for start in range(0, rows, batch_size):
        batch = objective.collate(range(start, min(start + batch_size, rows)))
        with autocast(device, precision):
            total += objective.loss_sum(model, batch.to(device)).double().cpu()
        weight += batch.weight
    return objective.figures(float(total), weight)
