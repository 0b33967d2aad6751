"""Models that are smaller, and so faster, for what pruning has left without effect in them."""

from .anatomy import Sizes, sizes_of
from .shrinking import Shrunk, shrink

__all__ = ["Shrunk", "Sizes", "shrink", "sizes_of"]
