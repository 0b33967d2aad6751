"""Searches in lines: the tree says who came from whom, numbers keep their names, nothing is wider than asked for."""

import dataclasses
import math
import re

import made_generations as made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.decoding.records import Fate, Generation
from lmwb.tui.pictures.beam_tree import tree_lines
from lmwb.tui.pictures.differences import difference_lines, difference_table
from lmwb.tui.pictures.generations import (
    Pen,
    family_lines,
    legend_line,
    line_of_prompt,
    percent,
    signed,
    table_legend,
    table_lines,
    text_lines,
)
from lmwb.tui.pictures.ink import Depth, Line, rich_text
from lmwb.tui.pictures.ramps import CIVIDIS
from rich.cells import cell_len

PLAIN = Pen(80, depth=Depth.NONE, styled=False)


def plain(lines) -> list[str]:
    return [rich_text(line).plain.rstrip() for line in lines]


def search() -> Generation:
    """Two beams over three steps: the best text comes from the row that was second at first."""
    pieces = [b"The", b" cat", b" dog", b" sat", b" ran", b"."]
    table = dict(enumerate(pieces))
    steps = (
        made.step([(0, 1, -0.5, Fate.KEPT), (0, 2, -0.6, Fate.KEPT), (0, 3, -3.0, Fate.DROPPED)], 1, 0.25),
        made.step([(1, 4, -0.9, Fate.KEPT), (0, 3, -1.5, Fate.KEPT), (0, 4, -1.500002, Fate.DROPPED)], 2),
        made.step([(0, 5, -1.0, Fate.FINISHED), (0, 3, -4.0, Fate.KEPT), (0, 1, -5.0, Fate.DROPPED)], 2),
    )
    tokens = [dataclasses.replace(made.trace([pieces[i] for i in ids], prompt=1), ids=np.array(ids, np.uint32),
                                  pieces=table) for ids in ([0, 2, 4, 5], [0, 2, 4, 3])]  # fmt: skip
    ones = tuple(made.hypothesis(each, path) for each, path in zip(tokens, ([1, 0, 0], [1, 0, 1]), strict=True))
    return Generation("The", ones, steps, table, frozenset())


def test_the_tree_tells_parents_fates_and_the_best_way():
    assert plain(tree_lines(search(), dataclasses.replace(PLAIN, width=72))) == [
        "      token                  p    score    total  rank   becomes",
        "── step 1 ──────────────────────────────────────────────────────────────",
        " 1 The                                             blocked 25 %  1.5 bit",
        "   ├─ ␠cat                 .78    −0.25    −0.50     1   → 1",
        "   ├─ ␠dog                 .74    −0.30    −0.60     2   → 2 ★",
        "   └─ ␠sat                 .22    −1.50    −3.00     3   dropped",
        "── step 2 near tie ≈: the worst kept and the best dropped are alike ────",
        " 1 The cat                                                       1.5 bit",
        "   ├─ ␠sat                 .47    −0.75    −1.50     2   → 2 ≈",
        "   └─ ␠ran                 .47    −0.75    −1.50     3   dropped ≈",
        " 2 The dog                                                       1.5 bit",
        "   └─ ␠ran                 .64    −0.45    −0.90     1   → 1 ★",
        "── step 3 ──────────────────────────────────────────────────────────────",
        " 1 The dog ran                                                   1.5 bit",
        "   ├─ .                    .61    −0.50    −1.00     1   finished ★",
        "   ├─ ␠sat                 .14    −2.00    −4.00     2   → 1",
        "   └─ ␠cat                .082    −2.50    −5.00     3   dropped",
        " 2 The cat sat                                     1.5 bit  no candidate",
    ]


def test_texts_share_what_they_have_in_common():
    assert plain(family_lines(search(), PLAIN)) == [
        "The dog₅ ran₅",
        "├─ 1  total −2.08",
        "│  .₅",
        "└─ 2  total −2.08",
        "    sat₅",
    ]


def test_every_text_has_its_number_and_its_totals():
    one = search().hypotheses[0]
    other = dataclasses.replace(one, final=-0.7, finished=True, blocked=np.zeros(4, np.float32))
    lines = plain(text_lines(dataclasses.replace(search(), hypotheses=(one, other)), PLAIN))
    assert lines == [
        "1  total −2.08   p per token .50   blocked 20 % of p",
        "   The dog₅ ran₅.₅",
        "2  total −2.08   final −0.70   p per token .50   ended",
        "   The dog₅ ran₅.₅",
    ]


def test_the_table_has_every_number_under_its_name():
    tokens = made.trace([b"The", b" cat"], prompt=1, logprob=[0, math.log(0.5)])
    one = dataclasses.replace(made.hypothesis(tokens, score=[0, -1.5]), renormalised=np.array([math.nan, 0.31]))
    head, first, second = plain(table_lines(tokens, PLAIN, one))
    assert head.split() == ["#", "token", "p", "logprob", "score", "renorm", "blocked", "rank", "bit", "likeliest"]
    assert first.split() == ["1", "The", *"–––––––"]
    assert second.split() == ["2", "␠cat", ".50", "−0.69", "−1.50", ".31", "20", "%", "1", "2.5", "The", ".25", "␠cat",
                              ".25"]  # fmt: skip
    head, *_ = plain(table_lines(tokens, PLAIN))
    assert head.split() == ["#", "token", "p", "logprob", "rank", "bit", "likeliest"]
    unblocked = dataclasses.replace(one, blocked=np.array([math.nan, 0], np.float32))
    assert "blocked" not in plain(table_lines(tokens, PLAIN, unblocked))[0]


def test_alternatives_are_shown_whole_or_not_at_all():
    tokens = made.trace([b"one", b"two"])
    for width in range(30, 70):
        line = plain(table_lines(tokens, dataclasses.replace(PLAIN, width=width)))[2]
        assert re.fullmatch(r" +2  two +\.50 +−0\.69 +1 +2\.5( +one \.25( +two \.25)?)?", line) or width < 38


def test_a_difference_has_colours_of_its_own_and_none_at_zero():
    tokens = made.trace([b"a", b" b", b" c", b" d"])
    difference = np.array([math.nan, 0, 3 * math.log(2), -2 * math.log(2)], np.float32)
    layout = difference_lines(tokens, difference, Pen(40))
    backgrounds = [segment.ink.background for segment in layout.lines[0] if segment.text.strip()]
    assert backgrounds[:2] == [None, None]
    assert None not in backgrounds[2:]
    assert [segment.ink.underline for segment in layout.lines[0] if segment.text.strip()] == [False, False, False, True]
    assert plain(difference_lines(tokens, difference, PLAIN).lines) == ["a b c₊₃ d₋₂"]


def test_the_parts_of_a_character_change_together():
    tokens = made.trace([b"a", b"\xe4\xb8", b"\x96"])
    difference = np.array([math.nan, math.log(2), math.log(2)], np.float32)
    assert plain(difference_lines(tokens, difference, PLAIN).lines) == ["a世₊₂"]


def test_the_table_of_differences_has_both_sides():
    before = made.trace([b"a", b" b"], logprob=[0, math.log(0.25)])
    after = made.trace([b"a", b" b"], logprob=[0, math.log(0.5)])
    _, first, second = plain(difference_table(before, after, PLAIN))
    assert first.split() == ["1", "a", *"–––––"]
    assert second.split() == ["2", "␠b", ".25", ".50", "+1.00", "bit", "1", "1"]


@pytest.mark.parametrize(
    ("number", "text"), [(-1.234, "−1.23"), (0.5, "0.50"), (math.nan, "–"), (-math.inf, "−∞")]
)  # fmt: skip
def test_logarithms(number: float, text: str):
    assert signed(number) == text


@pytest.mark.parametrize(("share", "text"), [(0, "0 %"), (0.001, "<1 %"), (0.126, "13 %"), (math.nan, "–")])
def test_shares(share: float, text: str):
    assert percent(share) == text


def everything(generation: Generation, pen: Pen) -> list[Line]:
    """Every picture there is of a search."""
    one = generation.hypotheses[0]
    return [
        *text_lines(generation, pen), *family_lines(generation, pen), *tree_lines(generation, pen),
        *table_lines(one.trace, pen, one), *table_legend(True, pen.width), line_of_prompt(generation.prompt, pen.width),
        *difference_lines(one.trace, one.trace.logprob, pen).lines, *difference_table(one.trace, one.trace, pen),
    ]  # fmt: skip


@given(
    st.lists(st.one_of(st.sampled_from(made.HOSTILE), st.binary(max_size=4)), min_size=1, max_size=12),
    st.integers(20, 130),
    st.sampled_from(list(Depth)),
)
def test_no_line_is_wider_than_asked_for_or_holds_a_control_character(pieces, width, depth):
    for line in everything(made.hostile(pieces), Pen(width, depth=depth, ramp=CIVIDIS)):
        text = rich_text(line).plain
        assert cell_len(text) <= width
        assert not [c for c in text if c < " " or "\x7f" <= c < "\xa0" or c in "\u202e\u2066\u2028\u200d"]


@pytest.mark.parametrize("depth", list(Depth))
def test_legends_tell_what_is_shown(depth: Depth):
    styled = plain([legend_line(Pen(80, depth=depth))])[0]
    bare = plain([legend_line(Pen(80, depth=depth, styled=False))])[0]
    assert styled.endswith("prompt")
    assert not bare.endswith("prompt")
    assert "p<.1" in bare
