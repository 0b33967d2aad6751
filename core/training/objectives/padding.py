"""Rows of different lengths side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ...data.encoded import EncodedRows


def padded(rows: EncodedRows, chosen: Sequence[int], pad: int, with_types: bool) -> dict[str, Tensor]:
    """Ids and attention mask, (batch, longest row); padded at the end, and no further than the batch needs.

    Args:
        rows: to choose from.
        chosen: their numbers.
        pad: the token that fills short rows; the mask tells it from the same token in a text.
        with_types: also give `token_type_ids`, if the rows have them.
    """
    bounds = rows.bounds[list(chosen)]
    longest = int((bounds[:, 1] - bounds[:, 0]).max())
    shape = (len(chosen), longest)
    ids = torch.full(shape, pad, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.long)
    types = torch.zeros(shape, dtype=torch.long) if with_types and rows.types is not None else None
    for i, (first, end) in enumerate(bounds.tolist()):
        ids[i, : end - first] = torch.tensor(rows.stream[first:end], dtype=torch.long)
        mask[i, : end - first] = 1
        if types is not None and rows.types is not None:
            types[i, : end - first] = torch.tensor(rows.types[first:end], dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": mask}
    return inputs if types is None else {**inputs, "token_type_ids": types}
