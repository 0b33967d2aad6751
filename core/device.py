"""Which device a run computes on."""

import torch

from .errors import UsageError


def choose_device(wish: str) -> torch.device:
    """The device that a recipe's `device` names; `auto` takes a GPU if there is one.

    Raises:
        UsageError: this machine has no such device.
    """
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(wish)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device '{wish}': this machine has {torch.cuda.device_count()} CUDA devices; try 'auto'")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device 'mps': this machine has none; try 'auto'")
    return device


def device_name(device: torch.device) -> str:
    """What people call it."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)
