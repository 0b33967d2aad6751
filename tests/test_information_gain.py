"""Information gain: exact and to first order beside references in float64, and the pairs that are made of it."""

import copy
import math

import numpy as np
import pytest
import torch
from lmwb.core.data.crops import Crops
from lmwb.core.errors import TrainingError, ValueInRecipeError
from lmwb.core.methods.information_gain import objective_set
from lmwb.core.methods.information_gain.calibration import calibrate
from lmwb.core.methods.information_gain.collecting import Collecting
from lmwb.core.methods.information_gain.gains import Gains, Measured
from lmwb.core.methods.information_gain.objective_set import ObjectiveSet, draw_objective
from lmwb.core.methods.information_gain.pairs import read_pairs, standardised
from lmwb.core.recipe.schema.gain import Estimate, GainStep
from lmwb.core.training.crops import Draws
from transformers import GPT2Config, GPT2LMHeadModel

VOCABULARY, LENGTH = 61, 9
STEPS = {
    "published": GainStep(lr=1e-3),
    "decayed": GainStep(lr=1e-3, weight_decay=0.5, eps=3.16e-7, clip=0.1),
    "sgd": GainStep(optimizer="sgd", lr=0.1, momentum=0.9, weight_decay=0.01, clip=0.0),
}


def make_model(dropout=0.1, seed=0):
    torch.manual_seed(seed)
    shape = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "initializer_range": 0.2}
    drop = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, **shape, **drop, **ends))


def contexts(number, seed=1):
    return torch.randint(0, VOCABULARY, (number, LENGTH), generator=torch.Generator().manual_seed(seed))


def gains_of(model, step=STEPS["published"], objective=None):
    return Gains(model, ObjectiveSet(contexts(7, 2) if objective is None else objective, VOCABULARY), step, seed=0)


# -- references, as the method was published: a copy for each context, one context at a time, here in float64 ----------


def loss_of(model, context):
    log_p = torch.log_softmax(model(input_ids=context[None]).logits[0, :-1].double(), -1)
    return -log_p[range(len(context) - 1), context[1:]].mean()


def perplexity_of(model, objective):
    return math.exp(sum(float(loss_of(model, context).detach()) for context in objective) / len(objective))


def own_step(model, context, step):
    """A copy of the model in float64, after the first step of torch's own optimiser, and how far each weight moved."""
    moved = copy.deepcopy(model).double().eval()
    before = [weight.detach().clone() for weight in moved.parameters()]
    matrices = [weight for weight in moved.parameters() if weight.ndim > 1]
    others = [weight for weight in moved.parameters() if weight.ndim < 2]
    parts = [{"params": matrices, "weight_decay": step.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if step.optimizer == "sgd":
        optimizer = torch.optim.SGD(parts, lr=step.lr, momentum=step.momentum)
    else:
        optimizer = torch.optim.AdamW(parts, lr=step.lr, betas=step.betas, eps=step.eps)
    loss_of(moved, context).backward()
    if step.clip:
        torch.nn.utils.clip_grad_norm_(moved.parameters(), step.clip)
    optimizer.step()
    return moved, [w.detach() - b for w, b in zip(moved.parameters(), before, strict=True)]


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_the_gain_is_that_of_a_copy_that_makes_the_step(step):
    model, objective, drawn = make_model().eval(), contexts(7, 2), contexts(12)
    base = copy.deepcopy(model).double()
    expected = [
        perplexity_of(base, objective) - perplexity_of(own_step(model, each, step)[0], objective) for each in drawn
    ]
    gains = gains_of(model, step)
    found = [gains.measure(each, number).exact for number, each in enumerate(drawn)]
    assert np.abs(np.array(found) - expected).max() < 2e-4 * np.std(expected)
    assert gains.measure(drawn[0], 0).perplexity == pytest.approx(math.exp(loss_of(base, drawn[0]).item()), rel=1e-5)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_the_estimate_is_the_slope_of_the_objective_along_the_step(step):
    model, objective = make_model().eval(), contexts(7, 2)
    base = copy.deepcopy(model).double()
    total = sum(loss_of(base, each) for each in objective) / len(objective)
    slope = torch.autograd.grad(total, list(base.parameters()))
    gains = gains_of(model, step)
    for number, context in enumerate(contexts(4)):
        _, moves = own_step(model, context, step)
        along = sum(float((s * m).sum()) for s, m in zip(slope, moves, strict=True))
        found = gains.measure(context, number, exact=False, estimate=True)
        assert found.estimate == pytest.approx(-math.exp(float(total.detach())) * along, rel=1e-3)
        assert found.exact is None


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_the_model_is_bit_for_bit_what_it_was(step):
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    gains = gains_of(model, step.model_copy(update={"dropout": True}))
    first = [gains.measure(each, number, estimate=True) for number, each in enumerate(contexts(3))]
    assert [gains.measure(each, number, estimate=True) for number, each in enumerate(contexts(3))] == first
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.lm_head.weight is model.transformer.wte.weight
    assert all(weight.grad is None for weight in model.parameters())


def test_a_measurement_that_breaks_off_leaves_the_model_as_it_was(monkeypatch):
    model = make_model()
    gains, before = gains_of(model), copy.deepcopy(model.state_dict())
    monkeypatch.setattr(ObjectiveSet, "perplexity", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gains.measure(contexts(1)[0], 0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_no_model_is_copied_and_evaluation_keeps_no_graph(monkeypatch):
    gains = gains_of(make_model())
    monkeypatch.setattr(copy, "deepcopy", lambda *_: pytest.fail("a copy was made"))
    seen = []
    real = objective_set.token_losses
    monkeypatch.setattr(objective_set, "token_losses", lambda *a: seen.append(real(*a)) or seen[-1])
    gains.measure(contexts(1)[0], 0)
    assert seen
    assert not any(losses.requires_grad for losses in seen)


def test_dropout_is_off_unless_it_is_asked_for():
    """It is noise: the same context, drawn differently, has another gain."""
    context = contexts(1)[0]
    still, noisy = gains_of(make_model()), gains_of(make_model(), GainStep(lr=1e-3, dropout=True))
    assert still.measure(context, 0) == still.measure(context, 1)
    assert noisy.measure(context, 0) == noisy.measure(context, 0)
    assert noisy.measure(context, 0).exact != noisy.measure(context, 1).exact
    assert noisy.measure(context, 0).perplexity == still.measure(context, 0).perplexity


def test_the_perplexity_does_not_depend_on_chunks(monkeypatch):
    model, objective = make_model().eval(), contexts(7, 2)
    whole = ObjectiveSet(objective, VOCABULARY)
    monkeypatch.setattr(objective_set, "_CHUNK", 2 * LENGTH * VOCABULARY)
    parts = ObjectiveSet(objective, VOCABULARY)
    assert parts.perplexity(model) == pytest.approx(whole.perplexity(model), rel=1e-6)
    assert whole.perplexity(model) == pytest.approx(perplexity_of(copy.deepcopy(model).double(), objective), rel=1e-6)
    weights = list(model.parameters())
    for a, b in zip(parts.gradient(model, weights), whole.gradient(model, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_objective_contexts_come_from_one_article_each_and_then_again():
    crops = Crops([np.arange(20, dtype=np.int32)] * 5, LENGTH)
    drawn = [crops.place(row)[0] for row in draw_objective(crops, 12, seed=4)]
    assert sorted(drawn[:5]) == sorted(drawn[5:10]) == [0, 1, 2, 3, 4]
    assert drawn[10:] == drawn[:2]
    assert draw_objective(crops, 12, 4) == draw_objective(crops, 12, 4) != draw_objective(crops, 12, 5)


# -- believing the estimate -----------------------------------------------------------------------


def test_an_estimate_is_believed_from_the_asked_rank_correlation_on():
    exact = np.arange(40.0)
    assert calibrate(exact, exact**3, 0.95).rank_correlation == pytest.approx(1)
    swapped = exact.copy()
    swapped[:14] = swapped[:14][::-1]
    distances = exact - swapped
    expected = 1 - 6 * (distances**2).sum() / (40 * (40**2 - 1))  # the definition for ranks without ties
    verdict = calibrate(exact, swapped, 0.95)
    assert verdict.rank_correlation == pytest.approx(expected)
    assert not verdict.holds
    assert "less than 0.95, so it is not believed" in verdict.sentence
    assert not calibrate(exact, np.zeros(40), 0.95).holds
    assert not calibrate(exact, [math.nan] * 40, 0.95).holds


class Made:
    """Gains made up from a context's first token; `agree` says whether estimates go with them."""

    def __init__(self, agree=True):
        self.agree = agree
        self.asked = []

    def measure(self, context, number, exact=True, estimate=False):
        self.asked.append((number, exact, estimate))
        gain = float(context[0]) + number / 1000
        guess = gain + 0.25 if self.agree else -gain
        return Measured(3.0, gain if exact else None, guess if estimate else None)


CROPS = Crops([np.random.default_rng(0).integers(0, VOCABULARY, 40).astype(np.int32) for _ in range(4)], LENGTH)


def collecting(tmp_path, pairs, estimate=None, after=lambda _pair: None, told=None):
    tell = print if told is None else told.append
    return Collecting(CROPS, 5, pairs, estimate, torch.device("cpu"), tmp_path / "pairs.parquet", after, tell)


def test_pairs_hold_all_that_is_known(tmp_path):
    collected = collecting(tmp_path, 20).run(Made)
    read = read_pairs(tmp_path / "pairs.parquet")
    assert [vars(pair) | {"tokens": None} for pair in read] == [
        vars(pair) | {"tokens": None} for pair in collected.pairs
    ]
    rows = Draws(CROPS, 5, "pairs").rows(0, 20)
    assert [(pair.article, pair.start) for pair in read] == [CROPS.place(row) for row in rows]
    assert all(np.array_equal(pair.tokens, CROPS.tokens(row)) for pair, row in zip(read, rows, strict=True))
    assert [pair.exact for pair in read] == collected.gains.tolist()
    assert {pair.perplexity for pair in read} == {3.0}


@pytest.mark.parametrize("killed", [1, 7, 19])
def test_what_was_measured_is_never_measured_again(tmp_path, killed):
    whole = collecting(tmp_path / "whole", 20).run(Made)

    def kill(pair):
        if pair.number == killed:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collecting(tmp_path, 20, after=kill).run(Made)
    made = Made()
    again = collecting(tmp_path, 20).run(lambda: made)
    assert [number for number, *_ in made.asked] == list(range(killed + 1, 20))
    assert again.gains.tolist() == whole.gains.tolist()


def test_more_pairs_are_added_to_those_there_are(tmp_path):
    collecting(tmp_path, 20).run(Made)
    made = Made()
    more = collecting(tmp_path, 30).run(lambda: made)
    assert len(made.asked) == 10
    assert more.gains.tolist() == collecting(tmp_path / "whole", 30).run(Made).gains.tolist()
    fewer = collecting(tmp_path, 16).run(lambda: pytest.fail("nothing is to be measured"))
    assert fewer.gains.tolist() == more.gains.tolist()[:16]
    assert len(read_pairs(tmp_path / "pairs.parquet")) == 30


def test_a_damaged_file_is_measured_anew(tmp_path):
    collecting(tmp_path, 16).run(Made)
    file = tmp_path / "pairs.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    made = Made()
    collecting(tmp_path, 16).run(lambda: made)
    assert len(made.asked) == 16


def test_estimates_are_used_once_they_have_proved_themselves(tmp_path):
    made, told = Made(), []
    collected = collecting(tmp_path, 40, Estimate(calibration=32), told=told).run(lambda: made)
    assert made.asked == [(n, True, True) for n in range(32)] + [(n, False, True) for n in range(32, 40)]
    assert collected.gains.tolist() == [pair.estimate for pair in collected.pairs]
    assert "agrees in rank with the exact gain of 32 contexts at 1.0000: it is used" in told[-1]


def test_estimates_that_fail_are_told_of_and_all_pairs_measured_exactly(tmp_path):
    made, told = Made(agree=False), []
    collected = collecting(tmp_path, 40, Estimate(calibration=32), told=told).run(lambda: made)
    assert made.asked[32:] == [(n, True, False) for n in range(32, 40)]
    assert collected.gains.tolist() == [pair.exact for pair in collected.pairs]
    assert "so it is not believed; all pairs are measured exactly" in told[-1]
    collecting(tmp_path, 40, Estimate(calibration=32), told=told).run(lambda: pytest.fail("all are known"))
    assert "not believed" in told[-1]


def test_estimates_that_fail_may_end_the_run(tmp_path):
    with pytest.raises(ValueInRecipeError, match="not believed; leave 'estimate' out") as caught:
        collecting(tmp_path, 40, Estimate(calibration=32, otherwise="error")).run(lambda: Made(agree=False))
    assert caught.value.key == "estimate"


def test_a_gain_that_is_not_finite_ends_the_run(tmp_path):
    class Broken(Made):
        def measure(self, context, number, exact=True, estimate=False):
            return Measured(3.0, math.inf)

    with pytest.raises(TrainingError, match="the gain of context 1 is not finite"):
        collecting(tmp_path, 16).run(Broken)


def test_gains_are_standardised_by_the_populations_deviation():
    assert standardised(np.array([1.0, 3.0])).tolist() == [-1.0, 1.0]
    assert standardised(np.array([2.0])).tolist() == [0.0]
    assert standardised(np.array([2.0, 2.0])).tolist() == [0.0, 0.0]
