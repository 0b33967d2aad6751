"""Colours keep their order and their contrast on every terminal, and never carry a meaning alone."""

import itertools
import math

import numpy as np
import pytest
from lmwb.core.tokens import TokenTrace
from lmwb.tui.pictures import colours
from lmwb.tui.pictures.ink import Depth, Ink, colour_depth, rich_style, rich_text
from rich.color import Color, ColorSystem

COLOURED = (Depth.TRUE, Depth.EXTENDED, Depth.BASIC)
PLACES = np.linspace(0, 1, 256)

XTERM_BASIC = {"red": "#cd0000", "yellow": "#cdcd00", "white": "#ffffff", "cyan": "#00cdcd", "blue": "#0000ee"}
"""What xterm makes of the first colours."""


def inks(depth: Depth) -> list[Ink]:
    return [colours.probability_ink(float(t), float(t), depth) for t in PLACES]


@pytest.mark.parametrize("depth", [Depth.TRUE, Depth.EXTENDED])
def test_text_can_be_read_on_every_background(depth: Depth) -> None:
    for ink in inks(depth):
        assert ink.foreground is not None
        assert ink.background is not None
        assert colours.contrast(ink.foreground, ink.background) >= 4.5


def test_text_can_be_read_with_the_sixteen_colours_of_xterm() -> None:
    for (_, foreground), name in zip(colours.BASIC_RAMP, ("red", "yellow", "white", "cyan", "blue"), strict=True):
        assert colours.contrast(f"#{foreground}", XTERM_BASIC[name]) >= 4.5


@pytest.mark.parametrize(
    ("depth", "system", "codes"),
    [
        (Depth.EXTENDED, ColorSystem.EIGHT_BIT, list(colours.XTERM_RAMP)),
        (Depth.BASIC, ColorSystem.STANDARD, [1, 3, 15, 6, 4]),
    ],
)
def test_smaller_palettes_are_kept_in_order_by_rich(depth: Depth, system: ColorSystem, codes: list[int]) -> None:
    seen = [Color.parse(str(ink.background)).downgrade(system).number for ink in inks(depth)]
    assert [code for code, _ in itertools.groupby(seen)] == codes


def test_the_ends_of_the_scale_are_the_palettes_ends() -> None:
    assert inks(Depth.TRUE)[0].background == "#a50026"
    assert inks(Depth.TRUE)[-1].background == "#313695"
    assert colours.probability_ink(0.5, 0.5, Depth.TRUE).background == "#ffffbf"


@pytest.mark.parametrize("depth", [*COLOURED, Depth.NONE])
def test_what_is_unlikely_is_underlined(depth: Depth) -> None:
    assert colours.probability_ink(0.09, 0.9, depth).underline
    assert not colours.probability_ink(0.11, 0.0, depth).underline


def test_without_colours_there_are_three_degrees_and_digits() -> None:
    looks = [colours.probability_ink(p, p, Depth.NONE) for p in (0.05, 0.3, 0.8)]
    assert len(set(looks)) == 3
    assert all(ink.foreground is None and ink.background is None for ink in looks)
    assert [colours.probability_digit(p) for p in (0.0, 0.09, 0.31, 1.0)] == ["₀", "₀", "₃", "₉"]
    assert colours.probability_digit(math.nan) == ""


@pytest.mark.parametrize("depth", [*COLOURED, Depth.NONE])
def test_no_probability_has_no_colour(depth: Depth) -> None:
    assert colours.probability_ink(math.nan, math.nan, depth) == Ink()


def trace(probabilities: list[float], ranks: list[int]) -> TokenTrace:
    n = len(probabilities)
    return TokenTrace(
        ids=np.arange(n, dtype=np.uint32),
        prompt_length=0,
        logprob=np.log(np.array(probabilities, np.float32)),
        rank=np.array(ranks, np.uint32),
        entropy=np.zeros(n, np.float32),
        alternative_ids=np.zeros((n, 0), np.uint32),
        alternative_logprob=np.zeros((n, 0), np.float32),
        pieces={},
    )


def test_the_three_scales() -> None:
    tokens = trace([math.nan, 1.0, 0.5, 2**-8, 1e-9], [0, 1, 2, 100, 5000])
    linear, surprisal, rank = (colours.likeness(tokens, scale) for scale in colours.SCALES)
    np.testing.assert_allclose(linear, [math.nan, 1, 0.5, 2**-8, 1e-9], rtol=1e-5)
    np.testing.assert_allclose(surprisal, [math.nan, 1, 15 / 16, 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(rank, [math.nan, 1, 0.75, 0.5, 0])


@pytest.mark.parametrize("scale", colours.SCALES)
@pytest.mark.parametrize("depth", [*COLOURED, Depth.NONE])
def test_the_legend_names_the_scale_and_three_places_on_it(scale: colours.Scale, depth: Depth) -> None:
    text = rich_text(colours.scale_legend(scale, depth)).plain
    assert "p<.1" in text
    if depth is not Depth.NONE:
        assert text.startswith("p " if scale == "linear" else scale)
        marks = {"linear": ("0", ".5", "1"), "surprisal": ("16+", "8", "0 bit"), "rank": (">1000", "≤100", "1")}[scale]
        places = [text.index(marks[0]), text.index(marks[1]), text.rindex(marks[2])]
        assert places == sorted(set(places))


@pytest.mark.parametrize("dark", [True, False])
def test_series_colours_differ_from_each_other_and_from_the_background(dark: bool) -> None:
    ramp = [colours.series_colour(i, Depth.TRUE, dark) for i in range(8)]
    assert len(set(ramp)) == 8
    assert ramp[0] == colours.series_colour(8, Depth.TRUE, dark)
    background = "#121212" if dark else "#ffffff"
    assert all(colours.contrast(str(colour), background) >= 1.9 for colour in ramp)
    basic = {Color.parse(str(colours.series_colour(i, Depth.BASIC))).downgrade(ColorSystem.STANDARD) for i in range(8)}
    assert len(basic) == 8


def test_every_style_of_a_chart_has_an_ink() -> None:
    for depth in (*COLOURED, Depth.NONE):
        made = colours.series_inks(depth)
        assert set(made) >= {0, 1, 2, 3, 4, 5, *range(8, 24)}
        if depth is Depth.NONE:
            assert all(ink.foreground is None for ink in made.values())


@pytest.mark.parametrize(
    ("environ", "depth"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, Depth.TRUE),
        ({"TERM": "tmux-256color"}, Depth.EXTENDED),
        ({"TERM": "screen"}, Depth.BASIC),
        ({"TERM": "xterm"}, Depth.BASIC),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, Depth.NONE),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, Depth.NONE),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, Depth.EXTENDED),
        ({}, Depth.BASIC),
    ],
)
def test_the_environment_tells_how_many_colours_there_are(environ: dict[str, str], depth: Depth) -> None:
    assert colour_depth(environ) is depth
    assert colour_depth(environ, no_color=True) is Depth.NONE
    assert colour_depth(environ, terminal=False) is Depth.NONE


def test_inks_become_styles_that_leave_alone_what_they_do_not_set() -> None:
    style = rich_style(Ink("#ffffff", bold=True))
    assert style.bold
    assert style.underline is None
    assert style.bgcolor is None
