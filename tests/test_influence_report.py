"""The report of a stage of influence: written whole, read as it was, drawn so that nothing hangs on colour alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.errors import UsageError
from lmwb.core.influence_report import FILE, Answers, Found, Report, ReportedText, read_report, write_report
from lmwb.tui.pictures.generations import Pen
from lmwb.tui.pictures.influence import answer_lines, influence_legend, influence_lines, score_text, seen_text, window
from lmwb.tui.pictures.ink import Depth
from make_influence import make_report
from rich.cells import cell_len

TRAPS = ("[/red]", "\x1b[31m", "\x9b2J", "\u202e", "a\nb", "\r", "\u0301")
WORDS = ("The", " cat", " sat", " on", " the", " mat", ".")


def row(count=7, **more):
    return ReportedText(tuple(i % len(WORDS) for i in range(count)), "The cat sat", 0, count, **more)


def report(*texts, pieces=WORDS, found=()):
    rows = dict(enumerate(texts))
    known = {i: piece.encode() for i, piece in enumerate(pieces)}
    return Report("said/train", "+", (), {"ekfac": (Answers(tuple(found), ()),)}, rows, {}, 10, known)


def shown(lines):
    return ["".join(segment.text for segment in line) for line in lines]


PLAIN = Pen(40, depth=Depth.NONE, styled=False)


# -- the file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hostile", ["", *TRAPS[:4]])
def test_what_is_written_is_read_again(tmp_path, hostile):
    made = make_report("said/train", hostile)
    write_report(made, tmp_path)
    read = read_report(tmp_path)
    assert (read.queries, dict(read.answers), dict(read.rows)) == (made.queries, made.answers, made.rows)
    assert (read.batches, read.pieces, read.notes) == (made.batches, made.pieces, made.notes)
    assert read.self_scores == {}


def test_a_damaged_or_missing_report_is_told_in_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="there is no report of influence in"):
        read_report(tmp_path)
    whole = write_report(make_report("said/train"), tmp_path).read_text()
    for broken in (whole[: len(whole) // 2], "[]", "{}", whole.replace('"rows"', '"lines"')):
        (tmp_path / FILE).write_text(broken)
        with pytest.raises(UsageError, match="is damaged"):
            read_report(tmp_path)
    (tmp_path / FILE).write_text(json.dumps({**json.loads(whole), "version": 99}))
    with pytest.raises(UsageError, match="written by another version"):
        read_report(tmp_path)


# -- the picture --------------------------------------------------------------------------------------


def test_without_colours_digits_tell_each_tokens_share_of_the_strongest():
    text = row()
    (line, strongest) = shown(influence_lines(report(text), text, (0, 2.0, -1.0, 0.1, 0.5, 0), PLAIN))
    assert line == "The cat₊₉ sat₋₅ on the₊₂ mat."
    assert strongest.startswith("strongest  “␠cat” +2  “␠sat” −1")


def test_colours_have_two_sides_and_what_lowers_much_is_underlined():
    text = row()
    (line, _) = influence_lines(report(text), text, (0, 2.0, -1.9, 0.01), Pen(40))
    inks = {segment.text.strip(): segment.ink for segment in line}
    assert inks["cat"].background != inks["sat"].background
    assert inks["sat"].underline
    assert not inks["cat"].underline
    assert inks["on"].background is inks["mat"].background is None  # too little, and none


@given(st.integers(1, 40), st.integers(1, 50), st.lists(st.floats(-5, 5), max_size=40))
def test_a_window_is_as_long_as_asked_and_holds_the_most_influence(count, most, scores):
    scores = scores[:count]
    found = window(row(count), scores, most)
    assert len(found) == min(most, count)
    assert 0 <= found.start < found.stop <= count
    padded = [abs(score) for score in scores] + [0.0] * (count - len(scores))
    best = max(sum(padded[first : first + len(found)]) for first in range(count - len(found) + 1))
    assert sum(padded[found.start : found.stop]) == pytest.approx(best, abs=1e-6)


def test_what_is_cut_is_told():
    text = row(70)
    scores = [0.0] * 70
    scores[40] = 1.0
    lines = shown(influence_lines(report(text), text, scores, PLAIN, most=7))
    assert lines[0] == "… 34 tokens before are left out"
    assert lines[-2] == "… 29 tokens behind are left out"
    assert "₊₉" in lines[1] + lines[2]


def test_what_is_asked_about_stands_in_brackets():
    text = ReportedText((0, 1, 2, 3), "The cat sat on", 1, 3)
    assert shown(influence_lines(report(text), text, (), PLAIN)) == ["The ⟦cat sat⟧ on"]
    whole = ReportedText((0, 1, 2, 3), "The cat sat on", 0, 4)
    assert shown(influence_lines(report(whole), whole, (), PLAIN)) == ["The cat sat on"]


@pytest.mark.parametrize("width", [2, 10, 33, 80])
@pytest.mark.parametrize("depth", [Depth.NONE, Depth.BASIC, Depth.TRUE])
def test_no_line_is_wider_than_asked_nor_steers_the_terminal(width, depth):
    pieces = (*TRAPS, "漢字", " and")
    text = ReportedText(tuple(range(len(pieces))), TRAPS[0], 0, len(pieces), ((3, 1),))
    found = Found(0, -1.5, tuple((-1.0) ** i * i for i in range(len(pieces) - 1)))
    of = report(text, pieces=pieces, found=[found])
    pen = Pen(max(width, 10), depth=depth)
    lines = shown([*answer_lines(of, [found], pen), influence_legend(pen)])
    assert max(map(cell_len, lines)) <= pen.width
    assert all(character.isprintable() for line in lines for character in line)


def test_images_are_told_in_words():
    text = ReportedText((), "row 3 → \x1b[31mseven")
    assert shown(influence_lines(report(text), text, (), PLAIN)) == ["row 3 → ␛[31mseven"]


def test_steps_and_scores_in_words():
    assert seen_text(((4, 0), (9, 1))) == "seen in steps 4, 9"
    assert seen_text(((4, 0),)) == "seen in step 4"
    assert seen_text(tuple((step, 0) for step in range(1, 8))) == "seen in steps 1, 2, 3, 4 and 3 more"
    assert (seen_text(()), seen_text((), known=True)) == ("", "never seen in the training")
    assert (score_text(3.14159), score_text(-0.002), score_text(float("nan"))) == ("+3.14", "−0.002", "–")
