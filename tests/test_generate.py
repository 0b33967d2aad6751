"""What is recorded of a search is what the model says, and everything that is left out or odd is told."""

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from lmwb.core.decoding.generate import end_ids, generate
from lmwb.core.decoding.records import Fate
from lmwb.core.errors import TrainingError, UsageError, ValueInRecipeError
from lmwb.core.recipe.schema import Decoding
from pydantic import ValidationError
from small_searches import speaker

PROMPTS = ["The cat sat on the", "If the object is a list, its items are compared", "Names refer to"]
SETTINGS = {"beams": 3, "tokens": 8, "alternatives": 4}


def generated(settings=None, prompts=PROMPTS, **more):
    return generate(speaker(), prompts, Decoding.model_validate({**SETTINGS, **(settings or {})}), **more)


def distribution(ids):
    """(n, vocabulary) float64 log-probabilities of what follows each of the first n tokens."""
    with torch.no_grad():
        return speaker().model(torch.tensor([[int(i) for i in ids]])).logits[0].double().log_softmax(1).numpy()


@pytest.mark.parametrize(
    "processors", [[], [{"kind": "words"}], [{"kind": "temperature", "value": 0.5}, {"kind": "ngrams", "n": 2}]]
)
def test_every_number_is_what_the_model_says(processors):
    for generation in generated({"processors": processors}):
        assert len(generation.hypotheses) == 3
        for one in generation.hypotheses:
            trace = one.trace
            logprob = distribution(trace.ids)[:-1]
            chosen = logprob[np.arange(len(trace) - 1), trace.ids[1:]]
            assert np.isnan(trace.logprob[0])
            assert trace.rank[0] == 0
            np.testing.assert_allclose(trace.logprob[1:], chosen, atol=2e-5)
            np.testing.assert_array_equal(trace.rank[1:], (logprob > chosen[:, None]).sum(1) + 1)
            entropy = -(np.exp(logprob) * logprob).sum(1) / np.log(2)
            np.testing.assert_allclose(trace.entropy[1:], entropy, atol=1e-4)
            order = np.argsort(-logprob, axis=1)[:, :4]
            np.testing.assert_array_equal(trace.alternative_ids[1:], order)
            expected = np.take_along_axis(logprob, order, 1)
            np.testing.assert_allclose(trace.alternative_logprob[1:], expected, atol=2e-5)
            assert np.isnan(one.score[: trace.prompt_length]).all()
            assert one.total == pytest.approx(float(one.score[trace.prompt_length :].sum()), abs=1e-4)
            assert len(one.path) == 8


def test_without_processors_the_three_numbers_agree():
    for generation in generated():
        for one in generation.hypotheses:
            start = one.trace.prompt_length
            np.testing.assert_array_equal(one.score[start:], one.trace.logprob[start:])
            np.testing.assert_allclose(one.renormalised[start:], one.trace.probability[start:], rtol=1e-6)
            assert (one.blocked[start:] == 0).all()


def test_what_processors_take_away_is_recorded():
    for generation in generated({"processors": [{"kind": "words"}]}):
        for one in generation.hypotheses:
            ids, start = one.trace.ids, one.trace.prompt_length
            chances = np.exp(distribution(ids))
            for place in range(start, len(ids)):
                mass = chances[place - 1, np.unique(ids[:place])].sum()
                assert one.blocked[place] == pytest.approx(mass, abs=1e-5)
                left = chances[place - 1, ids[place]] / (1 - mass)
                assert one.renormalised[place] == pytest.approx(left, rel=1e-3)
            assert len(set(ids[start:].tolist())) == len(ids) - start


def test_the_tree_leads_to_the_texts():
    for settings in ({}, {"end": "stop", "processors": [{"kind": "words"}]}, {"search": "sample", "samples": 3}):
        for generation in generated(settings):
            steps = generation.steps
            for before, after in pairwise(steps):
                assert (before.fate == Fate.KEPT).sum() == len(after.entropy)
                assert after.parents.max() < len(after.entropy)
            for one in generation.hypotheses:
                generated_ids = one.trace.ids[one.trace.prompt_length :]
                assert [int(steps[t].ids[c]) for t, c in enumerate(one.path)] == generated_ids.tolist()
                assert steps[len(one.path) - 1].total[one.path[-1]] == pytest.approx(one.total)
                for t in range(len(one.path) - 1, 0, -1):
                    row = steps[t].parents[one.path[t]]
                    assert np.flatnonzero(steps[t - 1].fate == Fate.KEPT)[row] == one.path[t - 1]


def test_less_is_recorded_if_nobody_wants_it():
    full, short = generated(), generated(record=False)
    for one, other in zip(full, short, strict=True):
        assert other.steps == ()
        for a, b in zip(one.hypotheses, other.hypotheses, strict=True):
            start = a.trace.prompt_length
            np.testing.assert_array_equal(a.trace.ids, b.trace.ids)
            np.testing.assert_allclose(a.trace.logprob[start:], b.trace.logprob[start:], atol=1e-6)
            assert a.total == pytest.approx(b.total, abs=1e-5)
            assert np.isnan(b.trace.entropy).all()
            assert b.trace.alternative_ids.shape[1] == 0
    some = generated(measure_prompts=False)[0].hypotheses[0].trace
    assert np.isnan(some.logprob[: some.prompt_length]).all()
    np.testing.assert_array_equal(
        some.rank[some.prompt_length :], full[0].hypotheses[0].trace.rank[some.prompt_length :]
    )


def test_prompts_may_be_ids_and_go_on_from_a_place_in_the_tree():
    first = generated()[0]
    ids = first.hypotheses[0].trace.ids[:-3].tolist()
    again = generated({"tokens": 3}, [ids])[0]
    assert first.hypotheses[0].trace.ids.tolist() in [one.trace.ids.tolist() for one in again.hypotheses]
    assert again.prompt == first.hypotheses[0].trace.text()[: len(again.prompt)]


def test_each_step_is_told_and_an_exception_ends_the_search():
    heard = []
    found = generated(on_step=heard.append)
    assert [progress.step for progress in heard] == list(range(1, 9))
    for progress in heard:
        assert set(progress.tree) == {0, 1, 2}
        for place, step in progress.tree.items():
            np.testing.assert_array_equal(step.ids, found[place].steps[progress.step - 1].ids)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generated(on_step=stop)


def test_too_long_is_refused_with_the_numbers():
    with pytest.raises(UsageError, match="prompt 2 has 60 tokens and 8 are to follow, but 'speaker' takes 64 in all; "):
        generated(prompts=[PROMPTS[0], list(range(60))])
    assert len(generated(prompts=[list(range(56))])[0].steps) == 8


def test_a_broken_model_is_told_of_with_the_prompt_as_it_was_given():
    broken = replace(speaker(), model=copy.deepcopy(speaker().model))
    rare = 40
    broken.model.transformer.wte.weight.data[rare] = torch.nan
    broken.model.lm_head.weight = torch.nn.Parameter(speaker().model.lm_head.weight.data.clone())
    assert not any(rare in broken.tokenizer(prompt)["input_ids"] for prompt in PROMPTS)
    prompts = [*PROMPTS, [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, rare], [3]]
    with pytest.raises(TrainingError, match=r"not finite: step 1, prompt 4, row 1$"):
        generate(broken, prompts, Decoding(beams=2, tokens=3))


def test_fewer_texts_and_near_ties_are_told():
    (one, *_) = generated({"beams": 5, "tokens": 1, "processors": [{"kind": "top-k", "k": 2}]})
    assert one.notes == ("2 of 5 texts: there were not enough tokens left to go on with",)
    flat = replace(speaker(), model=copy.deepcopy(speaker().model))
    flat.model.lm_head.weight.data.zero_()
    (tied,) = generate(flat, ["a"], Decoding(beams=2, tokens=2))
    assert tied.notes == ("near ties at step 1, 2: other hardware may choose otherwise",)
    assert [one.trace.ids[-2:].tolist() for one in tied.hypotheses] == [[0, 0], [0, 1]]


def test_an_end_is_needed_to_stop_at():
    assert end_ids(speaker()) == (speaker().tokenizer.eos_token_id,)
    found = generated({"end": "stop", "search": "greedy", "tokens": 3})
    assert all(len(one.hypotheses) == 1 for one in found)


@pytest.mark.parametrize(
    "table",
    [
        {"temperature": 0.5},
        {"search": "greedy", "top_k": 3},
        {"samples": 2},
        {"early_stopping": True},
        {"search": "sample", "early_stopping": True, "end": "stop"},
        {"processors": [{"kind": "ngrams", "n": 0}]},
    ],
)
def test_settings_that_do_not_go_together_are_refused(table):
    with pytest.raises(ValidationError):
        Decoding.model_validate(table)


def test_more_alternatives_than_tokens_are_no_trouble():
    for alternatives in (0, 100):
        (one, *_) = generated({"alternatives": alternatives, "search": "greedy", "beams": 1})
        assert one.hypotheses[0].trace.alternative_ids.shape[1] == alternatives


def test_an_empty_prompt_is_the_token_that_texts_begin_with():
    (one,) = generated(prompts=[""])
    assert one.hypotheses[0].trace.ids[0] == speaker().tokenizer.eos_token_id
    with pytest.raises(ValueInRecipeError):
        generated({"processors": [{"kind": "plugin", "name": "nobody"}]})
