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
