"""Colours keep their order and their contrast on every terminal, and never carry a meaning alone."""

import itertools
import math

import numpy as np
import pytest
from lmwb.core.tokens import TokenTrace
from lmwb.tui.pictures import colours, ramps
from lmwb.tui.pictures.ink import Depth, Ink, colour_depth, rich_style, rich_text
from rich.color import Color, ColorSystem

COLOURED = (Depth.TRUE, Depth.EXTENDED, Depth.BASIC)
PLACES = np.linspace(0, 1, 256)

RAMPS = {"rdylbu": ramps.RDYLBU, "cividis": ramps.CIVIDIS, "puor": ramps.PUOR}
XTERM_BASIC = {1: "#cd0000", 3: "#cdcd00", 4: "#0000ee", 5: "#cd00cd", 6: "#00cdcd", 7: "#e5e5e5", 11: "#ffff00",
               13: "#ff00ff", 15: "#ffffff"}  # fmt: skip
"""What xterm makes of the first colours."""
CODES = {"rdylbu": [1, 3, 15, 6, 4], "cividis": [4, 6, 7, 11], "puor": [3, 11, 15, 13, 5]}
"""The colours of the palette of 16, in order."""


def inks(depth: Depth, ramp: ramps.Ramp = ramps.RDYLBU) -> list[Ink]:
    return [colours.probability_ink(float(t), float(t), depth, ramp) for t in PLACES]


def wcag(foreground: str | None, background: str | None) -> float:
    """Contrast as WCAG 2.2 defines it."""

    def luminance(colour: str | None) -> float:
        assert colour is not None
        shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(foreground), luminance(background)))
    return (light + 0.05) / (dark + 0.05)


def as_shown(colour: str | None, depth: Depth) -> str:
    """The colour that a terminal of so many colours ends up with."""
    if depth is Depth.TRUE:
        return str(colour)
    code = Color.parse(str(colour)).downgrade(ColorSystem.EIGHT_BIT)
    assert code.number is not None
    basic = {0: "#000000", 15: "#ffffff"}
    return basic.get(code.number) or ramps.xterm_colour(code.number)


@pytest.mark.parametrize("name", RAMPS)
@pytest.mark.parametrize("depth", [Depth.TRUE, Depth.EXTENDED])
def test_text_can_be_read_on_every_background(depth: Depth, name: str) -> None:
    for ink in inks(depth, RAMPS[name]):
        assert wcag(as_shown(ink.foreground, depth), as_shown(ink.background, depth)) >= 4.5


@pytest.mark.parametrize("name", RAMPS)
def test_text_can_be_read_with_the_sixteen_colours_of_xterm(name: str) -> None:
    for (_, foreground), code in zip(RAMPS[name].basic, CODES[name], strict=True):
        assert wcag(foreground, XTERM_BASIC[code]) >= 4.5


def test_contrast_is_what_the_guidelines_say() -> None:
    assert ramps.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert ramps.contrast("#777777", "#ffffff") == pytest.approx(wcag("#ffffff", "#777777"))


@pytest.mark.parametrize("name", RAMPS)
@pytest.mark.parametrize(
    ("depth", "system"), [(Depth.EXTENDED, ColorSystem.EIGHT_BIT), (Depth.BASIC, ColorSystem.STANDARD)]
)
def test_smaller_palettes_are_kept_in_order_by_rich(depth: Depth, system: ColorSystem, name: str) -> None:
    codes = list(RAMPS[name].extended) if depth is Depth.EXTENDED else CODES[name]
    seen = [Color.parse(str(ink.background)).downgrade(system).number for ink in inks(depth, RAMPS[name])]
    assert [code for code, _ in itertools.groupby(seen)] == codes


@pytest.mark.parametrize("depth", [Depth.TRUE, Depth.EXTENDED])
def test_cividis_gets_lighter_all_the_way(depth: Depth) -> None:
    lightness = [wcag(ink.background, "#000000") for ink in inks(depth, ramps.CIVIDIS)]
    assert lightness == sorted(lightness)
    assert lightness[-1] > 8 * lightness[0]


@pytest.mark.parametrize("depth", [Depth.TRUE, Depth.EXTENDED])
def test_differences_get_darker_to_both_sides_of_zero(depth: Depth) -> None:
    lightness = [wcag(ink.background, "#000000") for ink in inks(depth, ramps.PUOR)]
    middle = lightness.index(max(lightness))
    assert lightness[:middle] == sorted(lightness[:middle])
    assert lightness[middle:] == sorted(lightness[middle:], reverse=True)
    assert min(lightness[0], lightness[-1]) < 5


def test_the_ends_of_the_scale_are_the_palettes_ends() -> None:
    assert inks(Depth.TRUE)[0].background == "#a50026"
    assert inks(Depth.TRUE)[-1].background == "#313695"
    assert colours.probability_ink(0.5, 0.5, Depth.TRUE).background == "#ffffbf"


@pytest.mark.parametrize("depth", [*COLOURED, Depth.NONE])
def test_what_is_unlikely_is_underlined(depth: Depth) -> None:
    assert colours.probability_ink(0.09, 0.9, depth).underline
    assert not colours.probability_ink(0.11, 0.0, depth).underline


def test_without_colours_there_are_three_degrees() -> None:
    looks = [colours.probability_ink(p, p, Depth.NONE) for p in (0.05, 0.3, 0.8)]
    assert len(set(looks)) == 3
    assert all(ink.foreground is None and ink.background is None for ink in looks)


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


def test_without_colours_small_digits_follow_the_scale() -> None:
    tokens = trace([math.nan, 1.0, 0.31, 2**-8, 1e-9], [0, 1, 2, 100, 5000])
    assert colours.token_digits(tokens, "linear") == ["", "₉", "₃", "₀", "₀"]
    assert colours.token_digits(tokens, "surprisal") == ["", "₀", "₁", "₈", "₁₆"]
    assert colours.token_digits(tokens, "rank") == ["", "₀", "₁", "₂", "₄"]


@pytest.mark.parametrize("scale", ["surprisal", "rank"])
def test_the_legend_without_colours_names_the_scale_and_says_what_the_digits_are(scale: colours.Scale) -> None:
    text = rich_text(colours.scale_legend(scale, Depth.NONE, styled=False)).plain
    assert text.startswith(scale)
    assert all(mark in text for mark in {"surprisal": ("₀ <1", "₈ 8", "₁₆ 16+ bit"), "rank": ("₀ 1", "₂ ≤100")}[scale])


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


@pytest.mark.parametrize("depth", [*COLOURED, Depth.NONE])
def test_a_change_of_nothing_has_no_colour_and_both_directions_have_signs(depth: Depth) -> None:
    assert colours.difference_ink(0.0, depth) == colours.difference_ink(math.nan, depth) == Ink()
    worse, better = colours.difference_ink(-2.0, depth), colours.difference_ink(2.0, depth)
    assert worse.underline
    assert not better.underline
    assert worse != better
    assert colours.difference_ink(-1e9, depth) == colours.difference_ink(-4.0, depth)
    assert [colours.difference_digits(bits) for bits in (-12.3, -0.9, 0.0, 1.0, 3.7, math.nan, -math.inf)] == [
        "₋₁₂", "", "", "₊₁", "₊₃", "", "₋₉₉",
    ]  # fmt: skip


@pytest.mark.parametrize("depth", [*COLOURED, Depth.NONE])
def test_the_legend_of_differences_names_three_places(depth: Depth) -> None:
    text = rich_text(colours.difference_legend(depth)).plain
    marks = ("−4", "0", "+4 bit") if depth is not Depth.NONE else ("−1 bit", "₋₂", "₊₂")
    assert sorted(places := [text.index(mark) for mark in marks]) == places


@pytest.mark.parametrize("dark", [True, False])
def test_series_colours_differ_from_each_other_and_from_the_background(dark: bool) -> None:
    ramp = [colours.series_colour(i, Depth.TRUE, dark) for i in range(8)]
    assert len(set(ramp)) == 8
    assert ramp[0] == colours.series_colour(8, Depth.TRUE, dark)
    background = "#121212" if dark else "#ffffff"
    assert all(ramps.contrast(str(colour), background) >= 1.9 for colour in ramp)
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
