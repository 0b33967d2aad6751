"""Of a batch: which places hold tokens that are read, and what models are given."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...training.objective import Batch, Objective
from ...training.objectives.causal import CausalLM
from ...training.objectives.masked import PLACES

COMPARED, ATTENDED, ROWS = "compared", "attended", "rows"
"""Entries of a batch that no model gets: places whose logits are compared, of tokens that are read, numbers of rows."""


def attended(objective: Objective, kind: type[Objective], batch: Batch, rows: Sequence[int]) -> Tensor | None:
    """The places of the tokens that are read, in the flattened batch; None for images.

    Args:
        objective: that the batch is from.
        kind: what it is, should another method have put something around it.
        batch: on the CPU.
        rows: the numbers of its rows.
    """
    ids = batch.inputs.get("input_ids")
    if ids is None:
        return None
    if issubclass(kind, CausalLM):  # its padding needs no mask and has none
        return (torch.arange(ids.shape[1]) < read_of(objective, rows)[:, None]).flatten().nonzero()[:, 0]
    mask = batch.inputs.get("attention_mask")
    return torch.arange(ids.numel()) if mask is None else mask.flatten().nonzero()[:, 0]


def read_of(objective: Objective, rows: Sequence[int]) -> Tensor:
    """How many tokens of each row a causal language model reads: the last one is only predicted."""
    return torch.from_numpy(objective.lengths[list(rows)]) - 1


def given(batch: Batch, kind: type[Objective]) -> dict[str, Any]:
    """What models are given of a batch's entries."""
    inputs = {name: value for name, value in batch.inputs.items() if name not in (PLACES, COMPARED, ATTENDED, ROWS)}
    return {**inputs, "use_cache": False} if issubclass(kind, CausalLM) else inputs
