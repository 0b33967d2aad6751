"""Models in one small file: rounded values, gap-coded positions, entropy-coded; sizes told part by part."""

from .folders import Compressed, compress, decompress
from .sizes import Part, sizes_of, total

__all__ = ["Compressed", "Part", "compress", "decompress", "sizes_of", "total"]
