"""Weights as the integers that are stored: rounded to int8 or float16, or exactly their own bits.

What is rounded comes back in float32. Vectors (biases, norms) and whatever is no floating-point number are always
stored exactly. A negative zero, which masks leave behind, becomes a positive one.
"""

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Values = Literal["int8", "float16", "exact"]

DTYPES: dict[str, torch.dtype] = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "int16": torch.int16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
"""What can be stored."""

WIDTHS: dict[str, int] = {name: dtype.itemsize for name, dtype in DTYPES.items()}
"""Bytes of one value."""

_STEPS = 127
_LEAST, _MOST = 1e-30, 1e38
_UNSIGNED = {1: np.dtype(np.uint8), 2: np.dtype(np.uint16), 4: np.dtype(np.uint32), 8: np.dtype(np.uint64)}
_SIGNED = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def way_of(weight: Tensor, wanted: Values) -> Values:
    """How a weight is stored when `wanted` is asked for: vectors, integers and what is in half already, exactly."""
    half = wanted == "float16" and weight.dtype == torch.float16
    return "exact" if weight.dim() < 2 or not weight.is_floating_point() or half else wanted


def width_of(way: Values, dtype: str) -> int:
    """Bytes of one stored value."""
    return {"int8": 1, "float16": 2, "exact": WIDTHS[dtype]}[way]


def to_stored(weight: Tensor, way: Values) -> tuple[NDArray[np.unsignedinteger], float]:
    """A weight as unsigned integers of its shape, in which 0 means zero; also its scale, 1 but for int8.

    Raises:
        ValueError: its values are too large, or no numbers.
    """
    scale = 1.0
    if way != "exact":
        most = float(weight.abs().max()) if weight.numel() else 0.0
        if not most <= (_MOST if way == "int8" else torch.finfo(torch.float16).max):
            raise ValueError(f"a value of {most:.3g} does not fit into {way}; store the model with exact values")
        if way == "int8":
            scale = _scale(most)
            weight = (weight.float() / scale).round().to(torch.int8)
        else:
            weight = weight.to(torch.float16)
    if weight.is_floating_point():
        weight = torch.where(weight == 0, torch.zeros((), dtype=weight.dtype), weight)
    bits = weight.contiguous().view(_SIGNED[weight.dtype.itemsize]).numpy()
    return bits.view(_UNSIGNED[bits.dtype.itemsize]), scale


def from_stored(stored: NDArray[np.unsignedinteger], way: Values, dtype: str, scale: float) -> Tensor:
    """The weight again; of rounded ones, the rounded values in float32."""
    if way == "int8":
        return torch.from_numpy(stored.view(np.int8)).float() * scale
    bits = torch.from_numpy(stored.view(np.dtype(f"i{stored.itemsize}")))
    if way == "float16":
        return bits.view(torch.float16).float()
    return bits != 0 if dtype == "bool" else bits.view(DTYPES[dtype])


def stored_type(way: Values, dtype: str) -> np.dtype[np.unsignedinteger]:
    """The type of the integers that are stored."""
    return _UNSIGNED[width_of(way, dtype)]


def _scale(most: float) -> float:
    """The step of int8 values whose largest is `most`, rounded up to 16 binary digits.

    With so few digits all multiples up to 127 are exact in float32, on any machine, and rounding what was rounded
    already changes nothing. A matrix of nothing above 1e-30 becomes zero.
    """
    if most < _LEAST:
        return 1.0
    mantissa, exponent = math.frexp(most / _STEPS)
    return math.ldexp(math.ceil(math.ldexp(mantissa, 16)), exponent - 16)
