"""What a search leaves behind survives JSON exactly, whatever its tokens hold."""

import dataclasses
import json
import math

import made_generations as made
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from lmwb.core.decoding import as_json
from lmwb.core.decoding.records import Fate, Generation
from lmwb.core.text import json_text
from lmwb.core.tokens import TokenTrace

FLOATS = st.one_of(
    st.floats(width=32), st.just(math.nan), st.just(-math.inf), st.sampled_from([-0.0, 1e-45, 16777217.0])
)


def there_and_back(generation: Generation) -> Generation:
    return as_json.generation_from_dict(json.loads(json_text(as_json.generation_as_dict(generation))))


def differences(a: object, b: object, where: str = "") -> list[str]:
    """The fields in which two records differ, types and shapes of arrays included."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        same = a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        return [] if same and (a.dtype.kind != "f" or (np.signbit(a) == np.signbit(b))[~np.isnan(a)].all()) else [where]
    if dataclasses.is_dataclass(a) and type(a) is type(b):
        names = [field.name for field in dataclasses.fields(a)]
        return [found for name in names for found in differences(getattr(a, name), getattr(b, name), f"{where}.{name}")]
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return [found for i, pair in enumerate(zip(a, b, strict=True)) for found in differences(*pair, f"{where}.{i}")]
    return [] if a == b else [where]


def test_hostile_tokens_come_back_and_no_control_character_is_written() -> None:
    generation = made.hostile()
    text = json_text(as_json.generation_as_dict(generation), indent=2)
    assert not [c for c in text if not (" " <= c <= "~" or c == "\n")]
    assert differences(generation, there_and_back(generation)) == []


def test_bytes_that_are_no_text_are_written_as_hex() -> None:
    document = as_json.trace_as_dict(made.trace([b"a", b"\xe6\x97", b"\x00", "é".encode()]))
    assert document["pieces"] == {"0": "a", "1": {"hex": "e697"}, "2": "\x00", "3": "é"}
    assert [token["token"] for token in document["tokens"]] == ["a", "<E6><97>", "␀", "é"]


def test_numbers_have_their_names_and_no_more_digits_than_needed() -> None:
    tokens = made.trace([b"a", b"b"], prompt=1, logprob=[math.nan, -0.1])
    generation = Generation("a", (made.hypothesis(tokens, [1], score=[0, -math.inf]),), (), tokens.pieces, frozenset())
    first, second = as_json.generation_as_dict(generation)["hypotheses"][0]["tokens"]
    assert (first["logprob"], first["score"], first["rank"]) == (None, None, 0)
    assert (second["logprob"], second["score"], second["renormalised"]) == (-0.1, "-Infinity", 0.0)
    assert second["alternatives"] == [[0, -1.3862944], [1, -1.3862944]]


def test_a_step_names_what_became_of_its_candidates() -> None:
    step = made.step([(0, 1, -1.0, Fate.KEPT), (1, 0, -1.5, Fate.FINISHED), (0, 0, -1.500001, Fate.DROPPED)], 2, 0.25)
    tokens = made.trace([b"a", b"b"])
    document = as_json.generation_as_dict(Generation("", (), (step,), tokens.pieces, frozenset()))["steps"][0]
    assert document["near_tie"]
    assert [c["fate"] for c in document["candidates"]] == ["kept", "finished", "dropped"]
    assert document["candidates"][1] == {
        "token": "a", "id": 0, "logprob": -0.75, "score": -0.75, "renormalised": 0.47236654, "rank": 2, "total": -1.5,
        "parent": 1, "fate": "finished",
    }  # fmt: skip
    assert [row["blocked"] for row in document["rows"]] == [0.25, 0.25]


@st.composite
def generations(draw: st.DrawFn) -> Generation:
    pieces = draw(st.lists(st.one_of(st.binary(max_size=5), st.sampled_from(made.HOSTILE)), min_size=1, max_size=6))
    n = len(pieces)
    column = arrays.arrays(np.float32, n, elements=FLOATS)
    tokens = dataclasses.replace(
        made.trace(pieces, draw(st.integers(0, n)), special=draw(st.sets(st.integers(0, n - 1)))),
        logprob=draw(column), entropy=draw(column),
        alternative_logprob=draw(arrays.arrays(np.float32, (n, min(2, n)), elements=FLOATS)),
    )  # fmt: skip
    one = dataclasses.replace(
        made.hypothesis(tokens, draw(st.lists(st.integers(0, 9), max_size=3))),
        score=draw(column), renormalised=draw(column), blocked=draw(column), total=draw(st.floats()),
        final=draw(st.floats()), finished=draw(st.booleans()),
    )  # fmt: skip
    if math.isnan(one.total) or math.isnan(one.final):
        one = dataclasses.replace(one, total=0.0, final=0.0)
    rows = draw(st.integers(1, 3))
    candidate = st.tuples(st.integers(0, rows - 1), st.integers(0, n - 1), st.floats(-1e30, 0), st.sampled_from(Fate))
    steps = draw(st.lists(st.lists(candidate, min_size=1, max_size=4), max_size=3))
    return Generation(
        prompt=draw(st.text(st.characters())),
        hypotheses=(one,) * draw(st.integers(0, 2)),
        steps=tuple(made.step(step, rows) for step in steps),
        pieces=tokens.pieces,
        special=tokens.special,
        notes=tuple(draw(st.lists(st.text(max_size=5), max_size=2))),
    )


@given(generations())
@settings(deadline=None)
def test_every_generation_comes_back(generation: Generation) -> None:
    assert differences(generation, there_and_back(generation)) == []


@given(arrays.arrays(np.float32, st.integers(0, 50), elements=FLOATS))
@settings(deadline=None)
def test_every_number_of_32_bits_comes_back(logprob: np.ndarray) -> None:
    tokens = dataclasses.replace(made.trace([b"x"] * len(logprob), alternatives=0), logprob=logprob)
    document = json.loads(json_text(as_json.trace_as_dict(tokens)))
    assert differences(tokens, as_json.trace_from_dict(document)) == []


def test_an_empty_trace_comes_back() -> None:
    empty = made.trace([])
    assert differences(empty, as_json.trace_from_dict(as_json.trace_as_dict(empty))) == []


@pytest.mark.parametrize("document", [{}, [], {"pieces": {}, "special": []}, {"pieces": [], "special": 3}, None])
def test_what_is_no_such_document_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="no generation"):
        as_json.generation_from_dict(document)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no trace"):
        as_json.trace_from_dict(document)  # type: ignore[arg-type]


def test_traces_share_the_table_of_pieces() -> None:
    one, other = made.trace([b"a", b"b"]), made.trace([b"a", b"b", b"c"])
    generation = Generation("", (made.hypothesis(one), made.hypothesis(other)), (), {}, frozenset())
    back = there_and_back(generation)
    assert {*back.pieces.items()} == {(0, b"a"), (1, b"b"), (2, b"c")}
    assert all(isinstance(h.trace, TokenTrace) and h.trace.pieces is back.pieces for h in back.hypotheses)
