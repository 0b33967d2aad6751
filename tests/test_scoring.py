"""Scoring given texts: the numbers of the sampler for the same tokens, whatever shares a batch; two models."""

import numpy as np
import pytest
import tiny
import torch
from lmwb.core.data.tokenizer_training import train_bpe
from lmwb.core.decoding.loading import Loaded
from lmwb.core.decoding.sampling import complete
from lmwb.core.decoding.scoring import score_difference, score_ids, score_texts
from lmwb.core.errors import UsageError
from lmwb.core.recipe.schema import BpeTokenizer, Sample

TOKENIZER = tiny.tokenizer()


def loaded(seed=0, of=TOKENIZER, **fields):
    model = tiny.model(of, **fields).eval()
    if seed:
        torch.manual_seed(seed)
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    return Loaded(model, of, f"model {seed}", torch.device("cpu"))


TEXTS = [
    "The cat sat on the mat.",
    "A dog ran",
    "日本語 and a tab\t",
    "If the object is a list, its items are compared." * 3,
]


def test_numbers_are_those_of_the_sampler_for_the_same_tokens():
    model = loaded()
    for text, found in zip(TEXTS, score_texts(model, TEXTS), strict=True):
        expected = complete(model.model, TOKENIZER, text, Sample(tokens=1), 0)
        n = len(found)
        assert n == len(expected) - 1
        assert found.ids.tolist() == expected.ids[:n].tolist()
        assert found.prompt_length == n
        np.testing.assert_allclose(found.logprob, expected.logprob[:n], atol=1e-5)
        np.testing.assert_allclose(found.entropy, expected.entropy[:n], atol=1e-4)
        np.testing.assert_array_equal(found.rank, expected.rank[:n])
        np.testing.assert_array_equal(found.alternative_ids, expected.alternative_ids[:n])
        np.testing.assert_allclose(found.alternative_logprob, expected.alternative_logprob[:n], atol=1e-5)
        assert found.text() == text


def test_the_first_token_has_no_numbers_and_an_empty_text_no_tokens():
    first, empty = score_texts(loaded(), ["The cat", ""])
    assert np.isnan(first.logprob[0])
    assert np.isnan(first.entropy[0])
    assert first.rank[0] == 0
    assert not np.isnan(first.logprob[1:]).any()
    assert len(empty) == 0
    assert score_texts(loaded(), []) == []


def test_a_text_beyond_the_longest_context_has_a_number_for_every_token_but_the_first():
    model = loaded(n_positions=16)
    (found,) = score_texts(model, ["The cat sat on the mat and looked at the dog. " * 5])
    assert len(found) > 32
    assert np.isnan(found.logprob).tolist() == [True] + [False] * (len(found) - 1)
    (start,) = score_ids(model, [found.ids[:16].tolist()])
    np.testing.assert_allclose(found.logprob[:16], start.logprob, atol=1e-5)


def test_ids_beyond_the_tokenizer_are_shown_by_their_number():
    model = loaded(vocab_size=len(TOKENIZER) + 5)
    (found,) = score_ids(model, [[1, len(TOKENIZER) + 2, 3]], alternatives=3)
    assert found.piece(len(TOKENIZER) + 2) == f"<id {len(TOKENIZER) + 2}>"


def test_two_models_differ_by_what_each_says_alone():
    before, after = loaded(), loaded(seed=1)
    for text, found in zip(TEXTS, score_difference(before, after, TEXTS), strict=True):
        one, other = score_texts(before, [text])[0], score_texts(after, [text])[0]
        np.testing.assert_allclose(found.difference, other.logprob - one.logprob, atol=2e-5)
        assert np.isnan(found.difference[0])
        assert found.mean == pytest.approx(np.nanmean(found.difference), abs=1e-6)
        assert abs(found.mean) > 1e-3


def test_models_of_different_vocabularies_are_refused():
    other = train_bpe(["quite other words, and many of them"] * 9, BpeTokenizer(vocab_size=320, min_frequency=1))
    with pytest.raises(UsageError, match="'model 0' and 'model 0' have different vocabularies"):
        score_difference(loaded(), loaded(of=other), TEXTS)
