"""Recorded tokens come back as they were; as clusters they cover the text, each of them printable."""

import dataclasses
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from lmwb.core.text import printable
from lmwb.core.tokens import Cluster, TokenTrace, clusters, piece_text

IDS = st.one_of(st.integers(0, 20), st.integers(0, 2**32 - 1))
FLOATS = st.floats(width=32)
PIECES = st.one_of(
    st.binary(max_size=5),
    st.text(max_size=4).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"", b"\n", b" \xe6", b"\xa8\xa1", b"\xf0\x9f", b"\x99\x82", b"\xff", b"\x1b[31m"]),
)


@st.composite
def traces(draw: st.DrawFn) -> TokenTrace:
    n, k = draw(st.integers(0, 12)), draw(st.integers(0, 4))
    ids = np.array(draw(st.lists(IDS, min_size=n, max_size=n)), np.uint32)
    alternatives = np.array(draw(st.lists(IDS, min_size=n * k, max_size=n * k)), np.uint32).reshape(n, k)
    known = sorted({*ids.tolist(), *alternatives.ravel().tolist()})
    return TokenTrace(
        ids=ids,
        prompt_length=draw(st.integers(0, n)),
        logprob=draw(arrays.arrays(np.float32, n, elements=FLOATS)),
        rank=draw(arrays.arrays(np.uint32, n)),
        entropy=draw(arrays.arrays(np.float32, n, elements=FLOATS)),
        alternative_ids=alternatives,
        alternative_logprob=draw(arrays.arrays(np.float32, (n, k), elements=FLOATS)),
        pieces=draw(st.fixed_dictionaries({}, optional=dict.fromkeys(known, PIECES))),
        special=frozenset(draw(st.sets(st.sampled_from(known), max_size=3))) if known else frozenset(),
    )


@given(traces())
@settings(max_examples=150)
def test_a_trace_comes_back_as_it_was(trace):
    back = TokenTrace.from_bytes(trace.to_bytes())
    with np.errstate(over="ignore"):
        for name in ("entropy", "alternative_logprob"):
            halves = getattr(trace, name).astype(np.float16).astype(np.float32)
            np.testing.assert_array_equal(getattr(back, name).ravel(), halves.ravel())
    for name in ("ids", "logprob", "rank"):
        np.testing.assert_array_equal(getattr(back, name), getattr(trace, name))
        assert getattr(back, name).dtype == getattr(trace, name).dtype
    np.testing.assert_array_equal(back.alternative_ids.ravel(), trace.alternative_ids.ravel())
    assert (back.prompt_length, back.pieces, back.special) == (trace.prompt_length, trace.pieces, trace.special)
    assert back.text() == trace.text()
    assert list(clusters(back)) == list(clusters(trace))


@given(traces(), st.data())
@settings(max_examples=100)
def test_a_damaged_record_is_noticed(trace, data):
    record = bytearray(trace.to_bytes())
    record[data.draw(st.integers(2, len(record) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        back = TokenTrace.from_bytes(bytes(record))
    except ValueError as error:
        assert "a recorded sample is damaged" in str(error)  # noqa: PT017
    else:  # a bit that fills the last byte of the stream means nothing
        assert back.to_bytes() == TokenTrace.from_bytes(trace.to_bytes()).to_bytes()


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_bytes_that_are_no_record_raise_nothing_else(head, body):
    text = b'{"n":%d,"k":1,"prompt":0,"special":[],"known":%d}' % (len(head) % 5 - 1, len(body) % 4 - 1)
    for content in (head, zlib.compress(head), zlib.compress(len(text).to_bytes(4, "little") + text + body)):
        with pytest.raises(ValueError, match="a recorded sample is damaged"):
            TokenTrace.from_bytes(content)


def trace_of(*pieces: bytes, special: tuple[int, ...] = ()) -> TokenTrace:
    n = len(pieces)
    nothing = np.zeros((n, 0))
    return TokenTrace(
        np.arange(n, dtype=np.uint32),
        0,
        np.zeros(n, np.float32),
        np.ones(n, np.uint32),
        np.zeros(n, np.float32),
        nothing.astype(np.uint32),
        nothing.astype(np.float32),
        dict(enumerate(pieces)),
        frozenset(special),
    )


def shown(*pieces: bytes, special: tuple[int, ...] = ()) -> list[tuple[int, str]]:
    """For each cluster: how many tokens, and what is shown."""
    return [(c.last - c.first, c.text) for c in clusters(trace_of(*pieces, special=special))]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ((b"The", b" with"), [(1, "The"), (1, " with")]),
        ((" é".encode(), b"\n"), [(1, " é"), (1, "␊")]),
        ((b"\xe6\xa8", b"\xa1", b" x"), [(2, "模"), (1, " x")]),  # a character in two tokens
        ((b"a\xf0", b"\x9f", b"\x99", b"\x82b"), [(4, "a🙂b")]),  # in four
        (tuple(bytes([byte]) for byte in "模型".encode()), [(3, "模"), (3, "型")]),  # byte by byte
        ((b"\xe6", b"hello"), [(1, "<E6>"), (1, "hello")]),  # begun and never ended
        ((b"\xe6\xa8", b"\xe5\x9e\x8b"), [(1, "<E6><A8>"), (1, "型")]),
        ((b"\xff\xe6", b"\xa8\xa1"), [(2, "<FF>模")]),
        ((b"\x80", b"\xff"), [(1, "<80>"), (1, "<FF>")]),
        ((b"end\xf0\x9f",), [(1, "end<F0><9F>")]),  # cut off
        ((b"", b"a"), [(1, "<id 0>"), (1, "a")]),  # a token that stands for nothing
        ((b"\xe6", b"", b"\xa8\xa1"), [(3, "模")]),
        ((b"\x1b[31m", "\u202e".encode()), [(1, "␛[31m"), (1, "<U+202E>")]),
        ((b"e", "\u0301".encode()), [(1, "e"), (1, "◌́")]),
    ],
)
def test_tokens_are_joined_to_whole_characters_and_no_further(pieces, expected):
    assert shown(*pieces) == expected


def test_special_tokens_stand_alone_by_their_names():
    assert shown(b"\xe6", b"<|end|>", b"\xa8\xa1", special=(1,)) == [(1, "<E6>"), (1, "<|end|>"), (1, "<A8><A1>")]
    assert shown(b"", special=(0,)) == [(1, "<id 0>")]
    assert trace_of(b"a", b"<s>", b"b", special=(1,)).text() == "ab"


def test_line_breaks_are_counted():
    (cluster,) = clusters(trace_of(b"a\n\n"))
    assert cluster == Cluster(0, 1, "a␊␊", 2, False)


@given(st.lists(PIECES, max_size=12), st.sets(st.integers(0, 11), max_size=2))
@settings(max_examples=300)
def test_clusters_cover_all_tokens_once_and_are_printable(pieces, special):
    trace = trace_of(*pieces, special=tuple(special))
    found = list(clusters(trace))
    assert [position for c in found for position in range(c.first, c.last)] == list(range(len(pieces)))
    for cluster in found:
        assert cluster.text
        assert printable(cluster.text) == cluster.text
        assert cluster.special == (cluster.first in special)
        assert not cluster.special or cluster.last == cluster.first + 1


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.data())
def test_text_cut_anywhere_is_shown_whole(text, data):
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(raw) - 1)), max_size=8)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True) if a < b]
    trace = trace_of(*pieces)
    found = list(clusters(trace))
    assert trace.text() == text
    assert sum(c.newlines for c in found) == text.count("\n")
    decoded = [b"".join(pieces[c.first : c.last]).decode() for c in found]  # whole characters
    assert "".join(decoded) == text
    for cluster in found:
        for last in range(cluster.first + 1, cluster.last):
            with pytest.raises(UnicodeDecodeError):  # no fewer tokens would do
                b"".join(pieces[cluster.first : last]).decode()


@given(PIECES, IDS)
def test_a_single_piece_is_printable(piece, token_id):
    text = piece_text(piece, token_id)
    assert text
    assert printable(text) == text


def test_a_sample_takes_few_bytes():
    """256 tokens with 8 alternatives each, of a vocabulary of 30,000, every word with numbers of its own."""
    chance = np.random.default_rng(0)
    # how often words follow one another in real text: few do most of the time
    ids = np.minimum(chance.zipf(1.3, (256, 9)), 30_000).astype(np.uint32)
    syllables = np.array(["tion", "ing", "con", "ment", "er", "al", "de", "ble", "pro", "ly", "com", "st", "un"])
    words = {int(i): " " + "".join(chance.choice(syllables, 1 + int(i).bit_length() // 5)) for i in ids.flat}
    alternatives = -np.sort(chance.exponential(2.5, (256, 8)), axis=1).astype(np.float32)
    trace = dataclasses.replace(
        trace_of(*[b""] * 256),
        ids=ids[:, 0],
        logprob=chance.normal(-2, 1, 256).astype(np.float32),
        rank=np.minimum(chance.zipf(1.5, 256), 30_000).astype(np.uint32),
        entropy=chance.exponential(3, 256).astype(np.float32),
        alternative_ids=ids[:, 1:],
        alternative_logprob=alternatives,
        pieces={token_id: word.encode() for token_id, word in words.items()},
    )
    assert len(words) > 250
    assert len(trace.to_bytes()) < 10_000
