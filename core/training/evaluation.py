"""Looking at rows without learning from them; the figures do not depend on the batch size."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from .distribution import ALONE, Team
from .loop import autocast
from .objective import Batch, Objective


def evaluate(
    model: nn.Module,
    objective: Objective,
    batch_size: int,
    device: torch.device,
    precision: str = "fp32",
    team: Team = ALONE,
) -> dict[str, float]:
    """The objective's figures over all its rows; every process of a team looks at its share and gets all figures.

    Sums are added up in float64 and divided once, so that padding and batch size leave no trace.
    """
    tally = objective.tally()
    for _, outputs, batch in outputs_of(model, objective, batch_size, device, precision, team):
        with torch.inference_mode():
            tally.add(float(objective.loss_sum(outputs, batch)), outputs, batch)
    whole, *others = team.gathered(tally)
    for other in others:
        whole.merge(other)
    return whole.figures()


def outputs_of(
    model: nn.Module,
    objective: Objective,
    batch_size: int,
    device: torch.device,
    precision: str = "fp32",
    team: Team = ALONE,
) -> Iterator[tuple[Sequence[int], Tensor, Batch]]:
    """What the model says of all rows: row numbers, outputs and batch, rows of like length together.

    In a team each process takes every so many-th batch, so that none has all the long ones.
    """
    model.eval()
    order = np.argsort(objective.lengths, kind="stable").tolist()
    for start in range(team.rank * batch_size, len(order), team.size * batch_size):
        rows = order[start : start + batch_size]
        batch = objective.collate(rows, seed=0).to(device)
        with torch.inference_mode(), autocast(device, precision):
            outputs = objective.forward(model, batch)
        yield rows, outputs, batch
