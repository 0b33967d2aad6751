"""Points become bytes and come back, bit for bit; bytes that were changed are noticed."""

import contextlib
import math
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.core.history.blocks import RECORD, Points, checksum, pack, unpack

INTEGERS = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.one_of(
    st.floats(),
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, -5e-324, 1.7e308, 2.0**53 + 2]),
)
ROWS = st.lists(st.tuples(INTEGERS, INTEGERS, NUMBERS), min_size=1, max_size=200)


def points_of(rows: list[tuple[int, int, float]]) -> Points:
    steps, times, values = zip(*rows, strict=True)
    return Points(np.array(steps, np.int64), np.array(times, np.int64), np.array(values, np.float64))


def assert_same(one: Points, other: Points) -> None:
    np.testing.assert_array_equal(one.steps, other.steps)
    np.testing.assert_array_equal(one.times, other.times)
    assert one.values.astype("<f8").tobytes() == other.values.astype("<f8").tobytes(), "not the same bits"


@given(ROWS)
def test_any_points_come_back_bit_for_bit(rows):
    points = points_of(rows)
    data = pack(points)
    assert_same(unpack(data, len(points), checksum(data, len(rows))), points)


@given(ROWS)
def test_records_one_after_the_other_are_a_block_too(rows):
    data = b"".join(RECORD.pack(*row) for row in rows)
    assert_same(unpack(data, len(rows), checksum(data, len(rows))), points_of(rows))


@pytest.mark.parametrize("n", [1, 2, 4095, 4096])
def test_an_even_curve_takes_few_bytes(n):
    steps = np.arange(n, dtype=np.int64) * 10
    values = np.float32(2.5 + np.sin(np.arange(n))).astype(np.float64)
    points = Points(steps, 1_760_000_000_000_000 + steps * 1000, values)
    data = pack(points)
    assert_same(unpack(data, n, checksum(data, n)), points)
    assert len(data) <= (24 * n if n < 100 else 5 * n)


@given(ROWS, st.data())
@settings(max_examples=200)
def test_every_flipped_bit_is_noticed(rows, data):
    block = bytearray(pack(points_of(rows)))
    crc = checksum(block, len(rows))
    block[data.draw(st.integers(0, len(block) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ValueError, match="a block of points is damaged"):
        unpack(bytes(block), len(rows), crc)


@given(ROWS, st.integers(0, 300))
def test_a_block_of_another_length_is_noticed(rows, n):
    data = pack(points_of(rows))
    if n == len(rows):
        assert len(unpack(data, n, checksum(data, len(rows)))) == n
        return
    with pytest.raises(ValueError, match="a block of points is damaged"):
        unpack(data, n, checksum(data, len(rows)))


@given(st.binary(max_size=300), st.integers(0, 100))
def test_bytes_that_are_no_block_raise_nothing_else(data, n):
    for content in (data, zlib.compress(data)):
        with contextlib.suppress(ValueError):
            assert len(unpack(content, n, checksum(content, n))) == n
