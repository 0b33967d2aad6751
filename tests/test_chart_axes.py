"""Round numbers on axes, and domains that stay where they are for as long as they can."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lmwb.tui.pictures import axes
from lmwb.tui.pictures.series import Series, best_of, smooth, smoothed, sparkline, value_at

NUMBERS = st.floats(-1e12, 1e12, allow_subnormal=False)


@given(NUMBERS, NUMBERS, st.integers(1, 12))
def test_ticks_are_round_even_few_and_within(a: float, b: float, count: int) -> None:
    low, high = sorted((a, b))
    assume(high - low > 1e-6 * max(1.0, abs(low), abs(high)))
    found = axes.ticks(low, high, count)
    slack = 1e-6 * (high - low)
    assert len(found) <= count
    assert all(low - slack <= tick <= high + slack for tick in found)
    if len(found) > 1:
        step = found[1] - found[0]
        mantissa = step / 10.0 ** math.floor(math.log10(step * (1 + 1e-6)))
        assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-3
    labels = axes.tick_labels(found)
    assert len(set(labels)) == len(labels)


@given(st.floats(1e-12, 1e12), st.floats(1.01, 1e12), st.integers(2, 12))
def test_log_ticks_are_within(low: float, ratio: float, count: int) -> None:
    high = low * ratio
    found = axes.log_ticks(low, high, count)
    assert len(found) <= count
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in found)


@given(NUMBERS, NUMBERS)
def test_the_y_axis_holds_the_data_and_is_not_much_larger(a: float, b: float) -> None:
    low, high = sorted((a, b))
    y0, y1 = axes.y_domain(low, high, log=False)
    assert y0 <= low + 1e-9 * abs(low)
    assert y1 >= high - 1e-9 * abs(high)
    if high - low > max(1e-6 * max(abs(low), abs(high)), axes.LEAST):
        assert y1 - y0 <= 1.5 * (high - low)


@given(st.floats(1e-240, 1e290), st.floats(1, 1e12))
def test_a_log_axis_holds_the_data_and_stays_positive(low: float, ratio: float) -> None:
    high = min(low * ratio, axes.LARGEST)
    y0, y1 = axes.y_domain(low, high, log=True)
    assert 0 < y0 <= low * (1 + 1e-6)
    assert y1 >= high * (1 - 1e-6)


def test_the_y_axis_stays_while_the_data_fits_and_fills_half_of_it() -> None:
    kept = axes.y_domain(0, 4, log=False)
    assert axes.y_domain(0.3, 3.1, False, kept) == kept
    assert axes.y_domain(0.3, 4.1, False, kept) != kept
    assert axes.y_domain(0.3, 0.9, False, kept) != kept


@given(st.integers(1, 10**9))
def test_the_x_axis_grows_in_steps(last: int) -> None:
    low, high = axes.x_domain(0, last)
    assert low == 0
    assert last <= high * (1 + 1e-9)
    assert high <= 1.5 * last


def test_the_x_axis_takes_few_steps_and_never_shrinks() -> None:
    ends = [axes.x_domain(0, last)[1] for last in range(1, 10_001)]
    assert ends == sorted(ends)
    assert len(set(ends)) <= 45


def test_the_x_axis_ends_at_the_planned_step_until_the_data_goes_further() -> None:
    assert axes.x_domain(0, 90, end=777) == (0, 777)
    assert axes.x_domain(0, 800, end=777) == (0, 800)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 200, 400], ["0", "200", "400"]),
        ([0, 0.5, 1], ["0", "0.5", "1.0"]),
        ([0, 20_000, 40_000], ["0", "20k", "40k"]),
        ([1_000_000, 1_500_000], ["1.0M", "1.5M"]),
        ([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"]),
        ([1e-5, 2e-5], ["1e-5", "2e-5"]),
    ],
)
def test_tick_labels_are_short(values: list[float], labels: list[str]) -> None:
    assert axes.tick_labels(values) == labels


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (45, "45s"), (150, "2m30"), (3900, "1h05"), (273_600, "3d04h"), (-60, "-1m")]
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert axes.span(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.31234, "2.312"), (12345.0, "12345"), (1e-5, "1e-5"), (math.nan, "nan"), (math.inf, "inf"), (0.5, "0.5")],
)
def test_numbers(value: float, text: str) -> None:
    assert axes.number(value) == text


@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=300), st.floats(0, 0.999))
def test_smoothing_is_the_moving_average_of_the_textbook(values: list[float], weight: float) -> None:
    total = count = 0.0
    expected: list[float] = []
    for value in values:
        if math.isnan(value):
            total, count = weight * total, weight * count
            expected.append(math.nan)
        else:
            total, count = weight * total + value, weight * count + 1
            expected.append(total / count)
    np.testing.assert_allclose(smooth(values, weight), expected, rtol=1e-9, atol=1e-6)


def test_smoothing_a_long_series_neither_overflows_nor_forgets() -> None:
    level = smooth(np.full(1_000_000, 3.0), 0.9)
    np.testing.assert_allclose(level, 3.0)


def test_smoothing_refuses_a_weight_that_never_forgets() -> None:
    with pytest.raises(ValueError, match="below 1"):
        smooth([1.0], 1.0)


def test_the_raw_curve_stays_behind_the_smoothed_one_and_keeps_its_best_value() -> None:
    raw, soft = smoothed(Series("s", np.arange(3), np.array([3.0, 1.0, 2.0]), best="min"), 0.9)
    assert raw.faint
    best = best_of(raw)
    assert best is not None
    assert best.y == 1
    assert best_of(soft) is None


@given(st.lists(st.floats() | st.floats(-5, 5), max_size=200), st.integers(0, 50), st.booleans())
def test_sparklines_fit(values: list[float], width: int, ascii_only: bool) -> None:
    text = sparkline(values, width, ascii_only)
    assert len(text) == min(width, len(values))
    assert text.isascii() or not ascii_only


def test_sparklines_rise_with_their_values() -> None:
    assert sparkline(range(8), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, math.nan, 3], 3) == "▁x█"


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50), st.floats(-100, 1100))
def test_the_value_at_a_place_is_the_nearest_one(places: list[int], x: float) -> None:
    found = value_at(Series("s", np.array(places), np.array(places)), x)
    assert found is not None
    assert abs(found.x - x) == min(abs(place - x) for place in places)
    assert found.y == found.x


def test_an_empty_series_has_no_values() -> None:
    empty = Series("s", np.empty(0), np.empty(0), best="max")
    assert value_at(empty, 1) is None
    assert best_of(empty) is None
