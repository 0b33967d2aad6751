"""What a search notes is the same whichever way it is worked out: few tokens or whole rows, at once or later."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.decoding.picking import best_tokens
from lmwb.core.decoding.processors import make
from lmwb.core.decoding.recording import Recorder
from lmwb.core.decoding.search import search
from lmwb.core.decoding.taking import what_was_taken
from lmwb.core.recipe.schema import Decoding
from small_searches import PROMPTS, tiny_model


def expected(logprob, scores, m):
    """Row by row, in float64."""
    logprob, scores = logprob.double().numpy(), scores.double().numpy()
    with np.errstate(divide="ignore"):
        left = np.log(np.exp(scores).sum(1))
    blocked = np.where(scores == -np.inf, np.exp(logprob), 0).sum(1)
    return left, blocked, -np.sort(-logprob, axis=1)[:, :m]


@given(st.data())
def test_what_processors_took_away_is_what_counting_every_token_says(data):
    rows, vocabulary = data.draw(st.integers(1, 5)), data.draw(st.integers(2, 60))
    m = data.draw(st.integers(1, vocabulary))
    seed = data.draw(st.integers(0, 2**16))
    random = torch.Generator().manual_seed(seed)
    logprob = (torch.randn(rows, vocabulary, generator=random) * 4).log_softmax(1)
    cells = st.tuples(st.integers(0, rows - 1), st.integers(0, vocabulary - 1))
    scores = logprob.clone()
    for row, token in data.draw(st.lists(cells, max_size=rows * vocabulary)):
        scores[row, token] = -torch.inf
    for row in range(rows):  # processors leave something
        scores[row, seed % vocabulary] = logprob[row, seed % vocabulary]
    if data.draw(st.booleans()):
        scores[0] = scores[0] / 2
    values, ids = best_tokens(scores, m)
    best = values[:, :m], ids[:, :m]
    found = what_was_taken(logprob, scores, best)
    left, blocked, values = expected(logprob, scores, m)
    np.testing.assert_allclose(found.left, left, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.blocked, blocked, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.best[0], values.astype(np.float32))
    np.testing.assert_array_equal(found.best[0], np.take_along_axis(logprob.numpy(), found.best[1], 1))
    assert all(len(set(row)) == m for row in found.best[1].tolist())


def test_no_token_is_among_the_best_twice_where_all_are_asked_for():
    logprob = torch.arange(9.0).log_softmax(0)[None]
    scores = logprob.clone()
    scores[0, 7] = -torch.inf
    found = what_was_taken(logprob, scores, best_tokens(scores, 9))
    assert found.best[1].tolist() == [[8, 7, 6, 5, 4, 3, 2, 1, 0]]


def test_the_best_of_the_scores_stay_as_they_are():
    logprob = torch.tensor([[0.5, 0.3, 0.2]]).log()
    scores = torch.tensor([[0.0, 0.3, 0.2]]).log()
    values, ids = best_tokens(scores, 1)
    before = values.copy(), ids.copy()
    assert what_was_taken(logprob, scores, (values, ids)).best[1].tolist() == [[0, 1]]
    np.testing.assert_array_equal(values, before[0])
    np.testing.assert_array_equal(ids, before[1])


@pytest.mark.parametrize("processors", [[], [{"kind": "words"}], [{"kind": "temperature", "value": 0.7}]])
@pytest.mark.parametrize("choice", [{"beams": 3}, {"search": "sample", "samples": 2}])
def test_steps_have_the_same_numbers_whether_each_is_measured_at_once_or_many_together(processors, choice):
    model = tiny_model("gpt2")
    settings = Decoding.model_validate({"tokens": 12, "processors": processors, **choice})

    def steps(on_step):
        recorder = Recorder(4, prompts_too=False)
        search(model, PROMPTS, settings, (), make(settings, None, ()), recorder, on_step)
        return recorder.steps

    together, one_by_one = steps(None), steps(lambda *_: None)
    assert len(together) == len(one_by_one) == 12
    for one, other in zip(together, one_by_one, strict=True):
        for name, column in vars(one).items():
            np.testing.assert_allclose(column, getattr(other, name), atol=1e-6, err_msg=name)
