"""Arrays to few bytes and back: the zeros between kept values as gaps, and both entropy-coded.

Gaps and rounded values of a pruned matrix have hardly any order beyond how often each comes, so Huffman codes by
themselves are what deflate needs: at 6 % kept, gaps and int8 values come within .8 % of their entropy, LZMA (preset 9)
within 2 % at 50 times the effort. Where whole rows are gone, matches help; the shorter of the two is kept. An own
arithmetic coder could win those .8 % at most.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

FAR = 255
"""In gap coding: so many zeros, and no value after them."""


def deflated(data: bytes) -> bytes:
    """The data in zlib's format, as short as its strategies make it."""
    return min((_deflated(data, strategy) for strategy in (zlib.Z_HUFFMAN_ONLY, zlib.Z_DEFAULT_STRATEGY)), key=len)


def _deflated(data: bytes, strategy: int) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    return packer.compress(data) + packer.flush()


def inflated(packed: bytes, size: int) -> bytes:
    """What `deflated` was given; never more than `size` bytes are made.

    Raises:
        ValueError: it is damaged, or not of that size.
    """
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(f"a part of it cannot be unpacked: {error}") from None
    if len(data) != size or not unpacker.eof or unpacker.unused_data:
        raise ValueError("a part of it is longer or shorter than it says")
    return data


def gaps_of(positions: NDArray[np.int64]) -> Bytes:
    """Ascending positions as numbers of zeros before each, 255 and more of them as several bytes.

    A byte below 255 is that many zeros and then a value; 255 is that many zeros alone.
    """
    gaps = np.diff(positions, prepend=-1) - 1
    more = gaps // FAR
    coded = np.full(int(more.sum()) + len(gaps), FAR, np.uint8)
    coded[np.cumsum(more + 1) - 1] = gaps % FAR
    return coded


def positions_of(gaps: Bytes, kept: int, size: int) -> NDArray[np.int64]:
    """What `gaps_of` was given: `kept` positions below `size`.

    Raises:
        ValueError: the gaps are of something else.
    """
    ends = gaps != FAR
    # each byte moves on by its zeros, and by one for the value after them
    positions = (np.cumsum(gaps, dtype=np.int64) + np.cumsum(ends) - 1)[ends]
    if len(positions) != kept or (len(ends) and not ends[-1]) or (kept and positions[-1] >= size):
        raise ValueError("the positions of its weights do not fit their matrix")
    return positions


def planes_of(values: NDArray[np.unsignedinteger]) -> list[bytes]:
    """All first bytes, all second bytes and so on, lowest first: bytes of one kind pack better together."""
    data = values.astype(values.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8)
    return [plane.tobytes() for plane in data.reshape(-1, values.itemsize).T]


def joined(planes: list[bytes], dtype: np.dtype[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    """What `planes_of` was given, flat."""
    data = np.stack([np.frombuffer(plane, np.uint8) for plane in planes], axis=1)
    return np.ascontiguousarray(data).reshape(-1).view(dtype.newbyteorder("<")).astype(dtype, copy=False)
