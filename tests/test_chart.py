"""The chart's picture: what must be seen is seen, at any size and zoom, and nothing that is not there."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.tui.pictures.chart import Grid, Part, View, changes, draw, series_part
from lmwb.tui.pictures.series import Series
from rich.cells import cell_len

ODD = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 5e-324, 1.7e308, -1.7e308, 1e-12])
VALUES = st.lists(st.one_of(st.floats(-1e6, 1e6), ODD), max_size=40)


def line(y: object, **options: object) -> Series:
    values = np.asarray(y, np.float64)
    return Series("s", np.arange(len(values)), values, **options)  # type: ignore[arg-type]


def area(grid: Grid) -> np.ndarray:
    frame = grid.frame
    assert frame is not None
    return grid.characters[frame.top : frame.top + frame.rows, frame.left : frame.left + frame.columns]


def drawn(grid: Grid, colour: int = 0) -> np.ndarray:
    """(rows, columns) bool: the cells of a series."""
    frame = grid.frame
    assert frame is not None
    parts = grid.parts[frame.top : frame.top + frame.rows, frame.left : frame.left + frame.columns]
    return parts == series_part(colour)


@settings(deadline=None)
@given(
    st.lists(VALUES, max_size=3), st.integers(0, 90), st.integers(0, 30), st.booleans(), st.booleans(),
    st.none() | st.floats(-10, 50),
)  # fmt: skip
def test_any_data_gives_a_picture_of_the_size_asked_for(
    curves: list[list[float]], width: int, height: int, log: bool, ascii_only: bool, cursor: float | None
) -> None:
    series = [Series("世\x1b[2J", np.arange(len(y)), np.array(y), i, "max") for i, y in enumerate(curves)]
    grid = draw(series, width, height, View(log_y=log), title="t", x_label="x", cursor=cursor, ascii_only=ascii_only)
    assert grid.characters.shape == grid.parts.shape == (height, width)
    for row in range(height if width else 0):
        assert cell_len("".join(text for text, _ in grid.runs(row))) == width
    assert "\x1b" not in str(grid)
    if grid.frame is not None:
        assert all(map(math.isfinite, (grid.frame.x0, grid.frame.x1, grid.frame.y0, grid.frame.y1)))


@settings(deadline=None)
@given(st.integers(20, 5000), st.data())
def test_a_spike_of_one_step_is_seen_at_every_zoom(n: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, n - 1))
    length = data.draw(st.integers(1, n))
    x0 = max(0, at - data.draw(st.integers(0, length)))
    width, height = data.draw(st.integers(20, 160)), data.draw(st.integers(6, 40))
    y = np.zeros(n)
    y[at] = 10.0
    grid = draw([line(y)], width, height, View(x0=x0, x1=x0 + length if x0 + length >= at else at, y0=0, y1=10))
    frame = grid.frame
    assert frame is not None
    column = frame.column(at)
    assert column is not None
    near = drawn(grid)[0, max(0, column - frame.left - 1) : column - frame.left + 2]
    assert near.any()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_cannot_be_drawn_leave_a_gap_with_a_sign(bad: float) -> None:
    y = np.linspace(1, 2, 1000)
    clean = draw([line(y)], 80, 16).frame
    y[400:600] = bad
    grid = draw([line(y)], 80, 16)
    frame = grid.frame
    assert frame is not None
    assert clean is not None
    assert (frame.y0, frame.y1) == (clean.y0, clean.y1)  # the axis is not poisoned
    gap = range(int(0.42 * frame.columns), int(0.58 * frame.columns))
    cells = area(grid)[:, gap]
    assert set(cells[-1]) == {"✗"}
    assert set(cells[:-1].flat) <= {" ", "┈"}


def test_a_gap_of_one_point_among_few_is_not_bridged() -> None:
    grid = draw([line([1, 1, math.nan, 1, 1])], 60, 10, View(y0=0, y1=2))
    seen = drawn(grid)[:-1].any(axis=0)
    frame = grid.frame
    assert frame is not None
    left, right = (frame.column(x) for x in (1, 3))
    assert left is not None
    assert right is not None
    assert not seen[left - frame.left + 1 : right - frame.left].any()


def test_values_that_are_not_positive_are_gaps_on_a_log_axis_only() -> None:
    y = np.array([10.0, 1.0, 0.0, -1.0, 1.0, 10.0])
    assert "✗" in str(draw([line(y)], 60, 12, View(log_y=True)))
    assert "✗" not in str(draw([line(y)], 60, 12))


def test_the_log_axis_waits_for_a_positive_value() -> None:
    frame = draw([line([-1.0, 0.0])], 60, 12, View(log_y=True)).frame
    assert frame is not None
    assert not frame.log_y


def test_one_point_is_seen() -> None:
    grid = draw([line([3.0])], 40, 8)
    assert drawn(grid).sum() == 1
    assert "s 3" in str(grid)


def test_later_series_are_painted_over_earlier_ones() -> None:
    low = Series("a", np.arange(100), np.ones(100), 0)
    high = Series("b", np.arange(100), np.ones(100), 1)
    assert not drawn(draw([low, high], 60, 10), 0).any()
    assert not drawn(draw([high, low], 60, 10), 1).any()


def test_the_best_value_is_marked_and_named() -> None:
    text = str(draw([line([3.0, 1.0, 2.0], best="min")], 60, 10))
    assert "● best 1 @ 1" in text
    assert text.count("●") == 2


def test_the_legend_counts_what_it_has_no_room_for() -> None:
    series = [Series(f"a long name {i}", np.arange(3), np.arange(3), i) for i in range(8)]
    first = str(draw(series, 60, 10)).splitlines()[0]
    assert first.endswith("+5")
    assert len(first) <= 60


def test_the_cursor_tells_the_values_at_the_nearest_measurement() -> None:
    grid = draw([Series("s", np.array([0, 10, 20]), np.array([1.0, 7.0, 3.0]))], 60, 12, cursor=11.5)
    text = str(grid).splitlines()
    assert "s 7" in text[0]
    assert "10" in text[-1].split()
    assert (grid.parts == Part.CURSOR).any()


def test_ascii_only_means_ascii_only() -> None:
    y = np.sin(np.arange(300) / 20) * 3
    y[100] = math.nan
    assert str(draw([line(y, best="max")], 60, 12, title="t", x_label="x", cursor=40, ascii_only=True)).isascii()


def test_a_live_chart_changes_few_cells() -> None:
    y = 3 * np.exp(-np.arange(2000) / 300) + 1
    before = draw([line(y[:1000])], 120, 30)
    kept, touched, whole = before, 0, 0
    for n in range(1010, 2000, 10):
        after = draw([line(y[:n])], 120, 30, kept=kept.frame)
        spans = changes(kept, after)
        assert spans is not None
        cells = sum(stop - start for _, start, stop in spans)
        whole += cells > 200
        touched += cells
        kept = after
    assert whole <= 4  # the steps of the x axis
    assert touched < 99 * 120


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.lists(st.floats(-100, 100), min_size=1, max_size=30))
@settings(deadline=None)
def test_repainting_the_changed_spans_gives_the_new_picture(a: list[float], b: list[float]) -> None:
    old, new = draw([line(a)], 50, 10), draw([line(b)], 50, 10)
    painted, parts = old.characters.copy(), old.parts.copy()
    for row, start, stop in changes(old, new) or ():
        painted[row, start:stop] = new.characters[row, start:stop]
        parts[row, start:stop] = new.parts[row, start:stop]
    assert (painted == new.characters).all()
    assert (parts == new.parts).all()


def test_grids_of_different_size_have_no_spans() -> None:
    assert changes(draw([], 10, 10), draw([], 11, 10)) is None


def test_a_series_sorts_itself_and_leaves_out_points_without_a_place() -> None:
    series = Series("s", np.array([3, math.nan, 1, 2]), np.array([30, 0, 10, 20]))
    assert series.x.tolist() == [1, 2, 3]
    assert series.y.tolist() == [10, 20, 30]


def test_x_and_y_must_have_one_length() -> None:
    with pytest.raises(ValueError, match="one length"):
        Series("s", np.arange(3), np.arange(4))
