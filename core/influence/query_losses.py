"""What a model loses on queries: what influence predicts changes of."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .sides import Side


def query_losses(model: nn.Module, queries: Side, device: torch.device) -> NDArray[np.float64]:
    """(queries,): the loss of each query in nats, summed over what is asked about, in float32 and without dropout."""
    model.eval()
    found: list[float] = []
    for row in queries.rows:
        batch = queries.objective.collate([row], 0).to(device)
        with torch.inference_mode():
            found.append(float(queries.objective.loss_sum(queries.objective.forward(model, batch), batch)))
    return np.array(found)


def predictions(queries: Side) -> int:
    """How many predictions the losses of all queries are sums over."""
    return sum(queries.objective.collate([row], 0).weight for row in queries.rows)
