"""The pure parts of the app: lines that fit, frames, differences, where panes go, numbers in few characters."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.text import printable
from lmwb.tui import words
from lmwb.tui.screens.board import ALL_TABS, places
from lmwb.tui.theme import DARK
from lmwb.tui.widgets.frame import changed, cut, framed, joined, spread, width_of, wrapped
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip

STYLES = [None, Style(color="red"), Style(bgcolor="blue"), Style(bold=True), Style(underline=True)]
printable_text = st.text(max_size=40).map(printable)
segments = st.tuples(printable_text, st.sampled_from(STYLES)).map(lambda pair: Segment(*pair))
lines = st.lists(segments, max_size=5)


@given(lines, st.integers(0, 60))
def test_a_cut_line_is_never_too_wide_and_a_short_one_is_left_alone(line, width):
    kept = cut(line, width)
    assert width_of(kept) <= width
    if width_of(line) <= width:
        assert kept == line


@given(lines, lines, st.integers(1, 60))
def test_two_ends_fill_the_width_and_the_right_one_stays(left, right, width):
    whole = spread(left, right, width)
    assert width_of(whole) == width
    if width_of(right) < width:
        assert "".join(s.text for s in whole).endswith("".join(s.text for s in right))


@given(printable_text, st.integers(3, 30), st.integers(0, 4))
def test_wrapping_loses_nothing_but_spaces_and_fits(text, width, indent):
    parts = wrapped(text, width, indent=indent)
    assert all(width_of(part) <= width for part in parts)
    assert "".join("".join(s.text for s in part) for part in parts).replace(" ", "") == text.replace(" ", "")


@given(st.lists(lines, max_size=6), st.integers(6, 60), st.integers(3, 12), st.booleans(), lines, lines)
def test_a_frame_has_exactly_the_size_it_was_asked_for(inside, width, height, focused, notes, foot):
    picture = framed(inside, width, height, DARK, ("One", "Two"), "Two", focused, notes, foot)
    assert [width_of(line) for line in picture] == [width] * height


@given(st.lists(st.tuples(lines, lines), min_size=1, max_size=4), st.integers(1, 40))
def test_sending_the_changed_spans_makes_the_old_picture_the_new_one(pairs, width):
    old, new = ([strip(line, width) for line in side] for side in zip(*pairs, strict=True))
    screen = [list(cells(line)) for line in old]
    for region in changed(old, new):
        assert region.height == 1
        screen[region.y][region.x : region.right] = cells(new[region.y])[region.x : region.right]
    assert screen == [cells(line) for line in new]


def test_a_changed_digit_is_one_cell():
    old, new = (strip([Segment(f"loss 2.3{digit} at step 100")], 30) for digit in (1, 2))
    assert changed([old, old], [old, new]) == [Region(8, 1, 1, 1)]


@given(lines)
def test_joining_segments_changes_nothing_that_can_be_seen(line):
    def look(segments):
        return [
            (c, None if c == " " and not (s and (s.underline or s.reverse)) else s, s.bgcolor if s else None)
            for text, s, _ in segments
            for c in text
        ]

    based = [Segment(text, DARK.text + style if style else DARK.text) for text, style, _ in line]
    assert look(joined(based)) == look(based)


@given(st.integers(1, 250), st.integers(1, 80), st.sampled_from(ALL_TABS), st.sampled_from([None, "Runs", *ALL_TABS]))
def test_panes_cover_the_room_without_overlapping(width, height, tab, zoomed):
    regions = [place.region for place in places(Size(width, height), tab, zoomed).values()]
    assert sum(region.area for region in regions) == width * height
    assert all(Size(width, height).region.contains_region(region) for region in regions)
    assert not any(a.intersection(b).area for i, a in enumerate(regions) for b in regions[:i])


@given(st.integers(1, 250), st.integers(1, 80), st.sampled_from(ALL_TABS))
def test_the_chosen_tab_is_always_on_the_screen(width, height, tab):
    assert tab in places(Size(width, height), tab)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (math.nan, "NaN"), (math.inf, "∞"), (-math.inf, "-∞"), (0.0, "0.00"), (2.3111, "2.31"),
        (23.11, "23.1"), (231.1, "231"), (999.7, "1000"), (2311.0, "2311"), (23111.0, "23.1k"), (2e6, "2.0e+6"),
        (0.5, "0.500"), (0.0842, "0.0842"), (3.1e-5, "3.1e-5"), (-1.5, "-1.50"),
    ],
)  # fmt: skip
def test_numbers_take_few_characters(value, text):
    assert words.number(value) == text


@given(st.floats())
def test_no_number_is_long(value):
    assert len(words.number(value)) <= 9


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (40, "40 s"), (89.6, "90 s"), (180, "3 min"), (7500, "2 h 05"), (200_000, "2 d 7 h")],
)
def test_durations_are_in_one_unit_or_two(seconds, text):
    assert words.duration(seconds) == text


def strip(line, width):
    return Strip([segment for segment in line if segment.text]).adjust_cell_length(width)


def cells(line):
    found = []
    for text, style, _ in line:
        for character in text:
            width = width_of([Segment(character)])
            if width == 0 and found:
                found[-1] = (found[-1][0] + character, style)
            elif width:
                found.extend([(character, style), *[("", style)] * (width - 1)])
    return found
