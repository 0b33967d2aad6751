"""Coloured tokens: nothing is lost, nothing is split, and the cursor reaches everything."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.core.tokens import TokenTrace, clusters
from lmwb.tui.pictures.ink import Depth, rich_text
from lmwb.tui.pictures.tokens import PROMPT, Layout, header_line, inspect_lines, short_probability, token_lines
from lmwb.tui.widgets.tokens import TokenView
from rich.cells import cell_len
from textual.app import App, ComposeResult


def make(pieces: list[bytes], prompt: int = 0, special: frozenset[int] = frozenset(), p: float = 0.5) -> TokenTrace:
    """A trace of these tokens; token i has id i, the alternatives of each are ids 0 and 1."""
    n = len(pieces)
    logprob = np.full(n, math.log(p), np.float32)
    logprob[:1] = math.nan
    rank = np.ones(n, np.uint32)
    rank[:1] = 0
    return TokenTrace(
        ids=np.arange(n, dtype=np.uint32),
        prompt_length=prompt,
        logprob=logprob,
        rank=rank,
        entropy=np.full(n, 2.4, np.float32),
        alternative_ids=np.tile(np.arange(min(n, 2), dtype=np.uint32), (n, 1)),
        alternative_logprob=np.full((n, min(n, 2)), math.log(0.25), np.float32),
        pieces=dict(enumerate(pieces)),
        special=special,
    )


def words(text: str, **options: int) -> TokenTrace:
    first, *rest = text.split(" ")
    return make([first.encode(), *(b" " + word.encode() for word in rest)], **options)


def plain(layout: Layout) -> list[str]:
    return ["".join(segment.text for segment in line) for line in layout.lines]


PIECES = st.lists(
    st.one_of(
        st.text(max_size=8).map(lambda text: text.encode()),
        st.binary(max_size=4),
        st.sampled_from(["世界".encode(), b"\xe4\xb8", b"\x96", b"\n", b" \n\n", b"   ", b"\x1b[2J", b" word", b""]),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(PIECES, st.integers(2, 40), st.booleans())
def test_all_is_shown_in_order_within_the_width(pieces: list[bytes], width: int, colours: bool) -> None:
    trace = make(pieces)
    layout = token_lines(trace, width, depth=Depth.TRUE if colours else Depth.NONE)
    assert all(cell_len(line) <= width for line in plain(layout))
    shown: dict[int, str] = {}
    for line in layout.lines:
        for segment in line:
            shown[segment.cluster] = shown.get(segment.cluster, "") + segment.text
    for index, cluster in enumerate(layout.clusters):
        assert shown.get(index, "").rstrip("₀₁₂₃₄₅₆₇₈₉") == cluster.text.rstrip("₀₁₂₃₄₅₆₇₈₉")
        assert cluster.text
    order = [segment.cluster for line in layout.lines for segment in line]
    assert order == sorted(order)
    assert layout.clusters == tuple(clusters(trace))


@settings(deadline=None)
@given(PIECES, st.integers(2, 40), st.integers(-50, 50), st.integers(-9, 9), st.integers(0, 60))
def test_the_cursor_never_leaves_the_text(pieces: list[bytes], width: int, dx: int, dy: int, start: int) -> None:
    layout = token_lines(make(pieces), width)
    if layout.clusters:
        start = min(start, len(layout.clusters) - 1)
        assert 0 <= layout.step(start, dx, dy) < len(layout.clusters)
        assert layout.step(0, 10**6, 0) == len(layout.clusters) - 1


def test_words_stay_whole_and_the_space_stays_behind() -> None:
    assert plain(token_lines(words("the quick brown fox"), 10)) == ["the quick ", "brown fox"]


def test_a_newline_is_shown_and_breaks_the_line() -> None:
    layout = token_lines(make([b"a", b"\n", b"\n    b"]), 20)
    assert plain(layout) == ["a␊", "␊", "    b"]


def test_wide_characters_are_not_split() -> None:
    assert plain(token_lines(make(["世界世界".encode()]), 5)) == ["世界", "世界"]


def test_tokens_that_share_a_character_are_one_thing_with_the_worse_colour() -> None:
    trace = make([b"a", b"\xe4\xb8", b"\x96"])
    trace.logprob[2] = math.log(0.01)
    layout = token_lines(trace, 20)
    assert plain(layout) == ["a世"]
    assert layout.lines[0][1].ink.underline
    inspected = [rich_text(line).plain for line in inspect_lines(trace, layout.clusters[1], 60)]
    assert sum("<E4><B8>" in line for line in inspected) >= 1
    assert any("rank 1" in line and ".01" in line for line in inspected)


def test_the_prompt_has_no_colours_and_special_tokens_their_own_look() -> None:
    layout = token_lines(make([b"a", b" b", b" c", b"<|end|>"], prompt=2, special=frozenset([3])), 40)
    inks = [segment.ink for segment in layout.lines[0] if segment.text.strip()]
    assert inks[:2] == [PROMPT, PROMPT]
    assert inks[2].background is not None
    assert inks[3].italic


def test_a_token_without_text_is_shown_by_its_number() -> None:
    assert plain(token_lines(make([b"a", b"", b"\xe4", b"b"]), 40)) == ["a<id 1><E4>b"]


def test_a_very_long_token_is_broken_into_lines() -> None:
    assert len(token_lines(make([b"x" * 20_000]), 2).lines) == 10_000


def test_escape_sequences_and_markup_are_shown_as_text() -> None:
    layout = token_lines(make([b"\x1b]52;c;aGk=\x07", b"[/red]", b"[@click=app.quit]"]), 80)
    assert plain(layout) == ["␛]52;c;aGk=␇[/red][@click=app.quit]"]


def test_a_text_begins_without_a_probability() -> None:
    trace = words("one two")
    first, *_ = inspect_lines(trace, next(clusters(trace)), 80)
    assert "no probability" in rich_text(first).plain


def test_the_inspector_tells_the_numbers_and_the_alternatives() -> None:
    trace = words("one two")
    lines = [rich_text(line).plain for line in inspect_lines(trace, list(clusters(trace))[1], 60)]
    assert lines[0] == "“␠two”  p .50  rank 1  entropy 2.4 bit  id 1"
    assert lines[1].split()[:2] == ["one", ".25"]
    assert lines[2].startswith("▸ ␠two")
    assert "█" in lines[1]


@given(PIECES, st.integers(1, 60))
@settings(deadline=None)
def test_the_inspector_keeps_to_the_width(pieces: list[bytes], width: int) -> None:
    trace = make(pieces)
    for cluster in clusters(trace):
        for line in inspect_lines(trace, cluster, width):
            assert cell_len(rich_text(line).plain) <= width


@pytest.mark.parametrize(
    ("p", "text"),
    [(1, "1"), (0.9996, "1"), (0.998, ".998"), (0.994, ".99"), (0.31, ".31"), (0.042, ".042"), (0.0004, "4e-4"),
     (0, "0"), (math.nan, "–")],
)  # fmt: skip
def test_short_probabilities(p: float, text: str) -> None:
    assert short_probability(p) == text


def test_the_header_fits_a_small_pane() -> None:
    assert cell_len(rich_text(header_line("surprisal", Depth.TRUE)).plain) <= 44


class Viewer(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.moved: list[TokenView.Moved] = []
        self.painted: list[int] = []

    def compose(self) -> ComposeResult:
        yield TokenView()

    def on_token_view_moved(self, message: TokenView.Moved) -> None:
        self.moved.append(message)


async def test_the_view_tells_where_the_cursor_is() -> None:
    app = Viewer()
    async with app.run_test(size=(12, 6)) as pilot:
        view = app.query_one(TokenView)
        view.show(words("one two three four five six", prompt=2))
        await pilot.pause()
        assert view.cluster is not None
        assert view.cluster.text == " three"  # the first that was generated
        view.move(1, 0)
        view.move(0, 1)
        await pilot.pause()
        assert [message.cluster.text for message in app.moved] == [" three", " four", " six"]
        assert app.moved[-1].trace is view.trace


async def test_the_cursor_stays_in_sight_in_a_long_text() -> None:
    app = Viewer()
    async with app.run_test(size=(20, 8)) as pilot:
        view = app.query_one(TokenView)
        view.show(make([b"\n"] * 500))
        for _ in range(3):
            view.move(0, 90)
            await pilot.pause()
            place = view.cluster
            assert place is not None
            assert 0 <= place.first - view.scroll_offset.y < 8
        assert view.scroll_offset.y > 100


async def test_moving_the_cursor_paints_two_lines_only(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Viewer()
    async with app.run_test(size=(20, 10)) as pilot:
        view = app.query_one(TokenView)
        view.show(make([b"\n"] * 9))
        await pilot.pause()
        view.move(0, 2)
        await pilot.pause()
        painted: list[int] = []
        strip = view._strip
        monkeypatch.setattr(view, "_strip", lambda line: painted.append(1) or strip(line))
        view.move(0, 3)
        await pilot.pause()
        assert len(painted) == 2


async def test_another_width_gives_other_lines() -> None:
    app = Viewer()
    async with app.run_test(size=(40, 10)) as pilot:
        view = app.query_one(TokenView)
        view.show(words("the quick brown fox jumps over the lazy dog"))
        await pilot.resize_terminal(12, 10)
        await pilot.pause()
        assert view.virtual_size.height >= 4
        assert all(strip.cell_length == view.size.width for strip in (view.render_line(y) for y in range(4)))


async def test_an_empty_view_says_so() -> None:
    app = Viewer()
    async with app.run_test(size=(40, 5)):
        view = app.query_one(TokenView)
        view.move(1, 1)
        assert view.cluster is None
        assert "no tokens yet" in "".join(view.render_line(y).text for y in range(5))
