"""Score processors: pure, exact, blind to padding; a package can bring its own."""

from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.core.decoding import processors
from lmwb.core.decoding.processors import (
    block_ngrams,
    block_sequences,
    block_words,
    min_p,
    minimum_length,
    top_k,
    top_p,
)
from lmwb.core.errors import ValueInRecipeError
from lmwb.core.recipe.schema import Decoding
from small_searches import PROMPTS, found, tiny_model, words

V = 7
TEXTS = st.lists(st.integers(0, V - 1), min_size=1, max_size=14)


def scores(rows=1):
    return torch.randn(rows, V, generator=torch.Generator().manual_seed(0)).log_softmax(1)


def blocked(processor, *texts):
    """The ids that are blocked for each text (all of one length)."""
    before = scores(len(texts))
    kept = before.clone()
    after = processor(torch.tensor(texts), before)
    assert torch.equal(before, kept), "it changed what it was given"
    rest = ~torch.isneginf(after)
    assert torch.equal(after[rest], before[rest])
    return [torch.isneginf(row).nonzero().flatten().tolist() for row in after]


@given(TEXTS)
def test_words_are_the_tokens_of_the_text(ids):
    assert blocked(block_words, ids) == [sorted(set(ids))]


@given(TEXTS, st.integers(1, 5))
def test_ngrams_are_those_that_stand_in_the_text(ids, n):
    grams = {tuple(ids[at : at + n]) for at in range(len(ids) - n + 1)}
    end = tuple(ids[len(ids) - n + 1 :]) if len(ids) >= n - 1 else None
    expected = [token for token in range(V) if end is not None and (*end, token) in grams]
    assert blocked(block_ngrams(n), ids) == [expected]


@given(st.lists(TEXTS, min_size=2, max_size=4), st.integers(1, 4), st.booleans())
@settings(max_examples=50)
def test_padding_is_never_seen(texts, n, trigrams):
    kind = {"kind": "ngrams", "n": n} if trigrams else {"kind": "words"}
    (step,) = processors.make(Decoding.model_validate({"processors": [kind]}), None, ())
    longest = max(map(len, texts))
    before = scores(len(texts))
    together = step(torch.tensor([[V] * (longest - len(t)) + t for t in texts]), longest, before)
    for row, text in enumerate(texts):
        alone = step(torch.tensor([text]), len(text), before[row : row + 1])
        assert torch.equal(together[row : row + 1], alone)


def test_generated_tokens_only_if_wanted():
    for kind in ({"kind": "words"}, {"kind": "ngrams", "n": 1}):
        table = {"processors": [{**kind, "scope": "generated"}]}
        (step,) = processors.make(Decoding.model_validate(table), None, ())
        after = step(torch.tensor([[1, 2, 3, 4]]), 2, scores())
        assert torch.isneginf(after[0]).nonzero().flatten().tolist() == [3, 4]
        assert torch.equal(step(torch.tensor([[1, 2]]), 2, scores()), scores())


def test_sequences_are_blocked_at_their_last_token():
    assert blocked(block_sequences([(3,), (1, 2), (5, 1, 4)]), [5, 1], [1, 5], [0, 1]) == [[2, 3, 4], [3], [2, 3]]


def test_bad_words_with_and_without_a_space():
    text = "cat"
    table = {"processors": [{"kind": "bad-words", "words": [text]}]}
    own = words()
    (step,) = processors.make(Decoding.model_validate(table), own, ())
    for written in (text, f" {text}"):
        *before, last = own(written)["input_ids"]
        ids = torch.tensor([[0, *before]])
        after = step(ids, ids.shape[1], torch.zeros(1, len(own)))
        assert torch.isneginf(after[0, last])
    with pytest.raises(ValueInRecipeError, match="without a tokenizer"):
        processors.make(Decoding.model_validate(table), None, ())


def test_a_text_may_not_end_too_soon():
    assert blocked(minimum_length(3, (2, 6)), [0, 1]) == [[2, 6]]
    assert blocked(minimum_length(2, (2, 6)), [0, 1]) == [[]]
    model = tiny_model("gpt2")
    end = max((ids[1] for ids, *_ in found(model, [PROMPTS[0]], {"beams": 3, "tokens": 2})[0]))
    table = {"beams": 3, "tokens": 9, "end": "stop", "processors": [{"kind": "minimum-length", "tokens": 5}]}
    texts = found(model, PROMPTS, table, ends=(end,))
    assert all(end not in ids[:5] for beams in texts for ids, *_ in beams)


def test_filters_are_those_of_transformers():
    from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    given_scores = torch.randn(20, 50, generator=torch.Generator().manual_seed(3)).mul(3).log_softmax(1)
    for mine, theirs in (
        *((top_k(k), TopKLogitsWarper(k)) for k in (1, 3, 49, 60)),
        *((top_p(p), TopPLogitsWarper(p)) for p in (0.1, 0.5, 0.9, 0.999)),
        *((min_p(p), MinPLogitsWarper(p)) for p in (0.01, 0.2, 0.9)),
    ):
        assert torch.equal(mine(None, given_scores), theirs(None, given_scores.clone()))


def test_sampling_draws_after_its_own_filters_as_transformers_would():
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    table = {"search": "sample", "temperature": 0.7, "top_k": 20, "top_p": 0.8}
    before = after = torch.randn(4, 50, generator=torch.Generator().manual_seed(3)).mul(3).log_softmax(1)
    for step in processors.make(Decoding.model_validate(table), None, ()):
        after = step(torch.zeros(4, 1, dtype=torch.long), 1, after)
    expected = before
    for warper in (TemperatureLogitsWarper(0.7), TopKLogitsWarper(20), TopPLogitsWarper(0.8)):
        expected = warper(None, expected)
    np.testing.assert_allclose(after.softmax(1), expected.softmax(1), atol=1e-6)


class OnlyAbove:
    """A processor of somebody else's: no token below a bound, and a note of what it saw."""

    def __init__(self, bound: int):
        self.bound = bound
        self.seen: list[list[int]] = []

    def __call__(self, ids, scores):
        self.seen += ids.tolist()
        keep = torch.arange(scores.shape[1]) >= self.bound
        return scores.masked_fill(~keep, -torch.inf)


MADE: list[OnlyAbove] = []


def make_only_above(bound: int) -> OnlyAbove:
    MADE.append(OnlyAbove(bound))
    return MADE[-1]


@pytest.fixture
def package(monkeypatch):
    """A package that offers a processor."""
    monkeypatch.setattr(EntryPoint, "load", lambda _: make_only_above)
    points = [EntryPoint("only-above", "somewhere:make", processors.ENTRY_POINTS)]
    monkeypatch.setattr(processors, "entry_points", lambda group: points if group == processors.ENTRY_POINTS else [])


def test_a_package_brings_its_own(package):
    table = {"kind": "plugin", "name": "only-above", "options": {"bound": 50}}
    texts = found(tiny_model("gpt2"), PROMPTS, {"beams": 2, "tokens": 3, "processors": [table]})
    assert all(min(ids) >= 50 for beams in texts for ids, *_ in beams)
    starts = {tuple(ids[: len(prompt)]) for ids in MADE[-1].seen for prompt in PROMPTS if ids[0] == prompt[0]}
    assert starts >= {tuple(prompt) for prompt in PROMPTS}, "it saw texts without padding"


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"name": "only-abov"}, "no installed package offers 'only-abov'; did you mean 'only-above'"),
        ({"name": "only-above", "options": {"bund": 1}}, "the processor 'only-above' cannot be made: TypeError"),
    ],
)
def test_a_package_that_cannot_help_is_told_of(package, table, why):
    wanted = Decoding.model_validate({"processors": [{"kind": "words"}, {"kind": "plugin", **table}]})
    with pytest.raises(ValueInRecipeError, match=why) as refused:
        processors.make(wanted, None, ())
    assert refused.value.key.startswith("processors.1")
