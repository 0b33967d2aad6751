"""All randomness as a function of the recipe's seed and of what it is for.

Nothing here has a state that would have to be saved: data order and dropout of any step can be had
at once, so a resumed run draws what the uninterrupted one would have drawn.
"""

import hashlib

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, the same in every process and on every machine."""
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator of its own for one purpose."""
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))


def seed_device(device: torch.device, seed: int) -> None:
    """Set the generators that dropout draws from; `torch.manual_seed` does the same in 170 µs instead of 1."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
