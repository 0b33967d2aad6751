"""Foreign text that has passed `printable` can neither steer a terminal nor be wider than it looks."""

import unicodedata

import pyte
import pytest
import wcwidth
from hypothesis import example, given
from hypothesis import strategies as st
from lmwb.core.text import printable, shorten
from rich.cells import cell_len

NASTY = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u061c\u200b\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff",
    *"\ufe0e\ufe0f\u0301\u0488\u07a6\u093e\u094d\u20e3\u1100\u1161\u11a8\u1160\u3164",
    *map(chr, range(0xD800, 0xE000, 0x155)),
    *"\U0001f3fb\U0001f3ff\U0001f1e9\U0001f1ea\U000e0001\U000e0041\U000e007f\U000e0100\U0001fb00\U0001cd00",
    *"a 世é👩❤[]/\\",
]
TEXT = st.text(st.one_of(st.characters(), st.sampled_from(NASTY)), max_size=30)

ATTACKS = [
    "\x1b]52;c;aGk=\x07",  # writes the clipboard
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "\x1bPtmux;\x1b\x1b]0;x\x07\x1b\\",
    "\u202etxt.exe",
    "\ud83d\ude00",  # two halves of a character
]


@given(TEXT)
@example("".join(ATTACKS))
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    shown = printable(text)
    shown.encode()  # fails for half surrogates
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@given(TEXT)
def test_it_is_done_once_and_for_all(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(TEXT)
@example("\u0488")
@example("\u1161")
@example("क्षि")
@example("a\u0301\u0301")
def test_everyone_agrees_on_the_width(text: str) -> None:
    shown = printable(text)
    assert cell_len(shown) == sum(map(wcwidth.wcwidth, shown)) == sum(map(cell_len, shown))
    screen = pyte.Screen(cell_len(shown) + 2, 2)
    for character in shown:  # pyte forgets the rest of a piece after a mark that has no combining class
        pyte.Stream(screen).feed(character)
    assert (screen.cursor.y, screen.cursor.x) == (0, cell_len(shown))


@given(TEXT, TEXT)
def test_pieces_side_by_side_are_as_wide_as_each_for_itself(left: str, right: str) -> None:
    assert cell_len(printable(left) + printable(right)) == cell_len(printable(left)) + cell_len(printable(right))


@given(TEXT)
def test_whatever_was_there_is_shown(text: str) -> None:
    shown = printable(text)
    assert bool(text) == bool(shown)
    assert cell_len(shown) > 0 or not text


@given(TEXT)
def test_lines_may_be_kept(text: str) -> None:
    assert printable(text, keep_newlines=True).split("\n") == [printable(line) for line in text.split("\n")]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_leaves_the_screen_alone(attack: str) -> None:
    screen = pyte.Screen(60, 3)
    screen.set_title("mine")
    stream = pyte.Stream(screen)
    stream.feed("before ")
    stream.feed(printable(attack))
    assert screen.title == "mine"
    assert screen.display[0].startswith("before ")
    assert all(cell.fg == "default" and not cell.bold for cell in screen.buffer[0].values())
    assert screen.display[1:] == [" " * 60] * 2


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\x1b", "␛"),
        ("\n", "␊"),
        ("\t", "␉"),
        ("\x7f", "␡"),
        ("\x9b", "<U+009B>"),
        ("\u202e", "<U+202E>"),
        ("\ufe0f", "<U+FE0F>"),
        ("\u200d", "<U+200D>"),
        ("\U0001f3fd", "<U+1F3FD>"),
        ("\ud800", "<U+D800>"),
        ("\u0301", "\u25cc\u0301"),
        ("\U000e0041", "<U+E0041>"),
        ("é", "é"),
        ("世", "世"),
    ],
)
def test_how_things_are_shown(character: str, shown: str) -> None:
    assert printable(character) == shown


@given(TEXT, st.integers(1, 20))
def test_shortened_text_is_short_and_says_so(text: str, length: int) -> None:
    short = shorten(text, length)
    assert len(short) <= length
    assert short == text or short.endswith("…")
