"""Sums of products: what goes into curvature and scores, in which number type, and how it is added up.

Inputs may be rounded to bfloat16; sums are always float32 (float64 for models in float64). On a GPU the rounded
numbers are multiplied as such; a CPU multiplies them in float32, which gives the same products.
"""

from typing import Literal

import torch
from torch import Tensor

Numbers = Literal["float32", "bfloat16"]
_STRIPS = 4
_NARROWEST = 128


def rounded(x: Tensor, numbers: Numbers) -> Tensor:
    """x as it enters products; float64 stays as it is."""
    if x.dtype == torch.float64:
        return x
    if numbers == "float32":
        return x.float()
    x = x.to(torch.bfloat16)
    return x.float() if x.device.type == "cpu" else x


def product(x: Tensor, y: Tensor) -> Tensor:
    """x @ y of matrices or of batches of them, summed and given in float32 even if they are bfloat16."""
    if x.dtype != torch.bfloat16:
        return x @ y
    return torch.mm(x, y, out_dtype=torch.float32) if x.dim() == 2 else torch.bmm(x, y, out_dtype=torch.float32)


def wide(kind: torch.dtype) -> torch.dtype:
    """The number type that sums of such numbers have."""
    return torch.float64 if kind == torch.float64 else torch.float32


def gram(x: Tensor) -> Tensor:
    """The upper half of xᵀx, (width, width), for x (tokens, width); zeros below it.

    By strips of rows, each from the diagonal on: about 5/8 of the multiplications.
    """
    width = x.shape[1]
    step = max(_NARROWEST, -(-width // _STRIPS))
    found = torch.zeros(width, width, dtype=wide(x.dtype), device=x.device)
    for first in range(0, width, step):
        found[first : first + step, first:] = product(x[:, first : first + step].T, x[:, first:])
    return found


def mirrored(upper: Tensor) -> Tensor:
    """The symmetric matrix whose upper half is given."""
    return torch.triu(upper) + torch.triu(upper, 1).T
