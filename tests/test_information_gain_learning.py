"""Secondary learners, and the choice of rows by what they say."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.core.data.crops import Crops
from lmwb.core.errors import TrainingError
from lmwb.core.methods.information_gain.choosing import Chosen
from lmwb.core.methods.information_gain.filtration import Schedule, threshold_of
from lmwb.core.methods.information_gain.learners import PublishedNet, new_learner
from lmwb.core.methods.information_gain.learning import Examples, learn, predict
from lmwb.core.methods.information_gain.stored import Facts, load_learner, read_facts, save_learners
from lmwb.core.recipe.schema import Train
from lmwb.core.recipe.schema.gain import (
    ConstantThreshold,
    ConvolutionLearner,
    PublishedLearner,
    PublishedThreshold,
    QuantileThreshold,
)
from lmwb.core.training.crops import CropPlan, Draws

VOCABULARY, LENGTH = 30, 8
EMBEDDINGS = torch.randn(VOCABULARY, 6, generator=torch.Generator().manual_seed(0))
KINDS = [PublishedLearner(epochs=3, batch_size=8, lr=1e-3), ConvolutionLearner(epochs=8, batch_size=16, lr=1e-2)]


def examples(pairs, share=0.25):
    """The gain is how often token 3 stands in the context: linear in tokens, not in positions."""
    contexts = torch.randint(0, 6, (pairs, LENGTH), generator=torch.Generator().manual_seed(1))
    counts = (contexts == 3).sum(1).double().numpy()
    return Examples.of(contexts, (counts - counts.mean()) / counts.std(), share, seed=2)


def test_the_published_network_is_the_published_formula():
    torch.manual_seed(0)
    net = PublishedNet(VOCABULARY, 6).eval()
    context = [4, 0, 7, 7, 1]
    weights = {name: value.numpy().astype(np.float64) for name, value in net.state_dict().items()}
    words = np.vstack([np.zeros(6), weights["embeddings.weight"][context], np.zeros(6)])  # padding 1 on both sides
    found = np.array(
        [
            [
                sum(weights["convolution.weight"][channel, :, k] @ words[at + k] for k in range(3))
                + weights["convolution.bias"][channel]
                for at in range(5)
            ]
            for channel in range(256)
        ]
    ).max(1)
    for layer in (0, 2, 3):
        found = weights[f"layers.{layer}.weight"] @ found + weights[f"layers.{layer}.bias"]
    assert predict(net, torch.tensor([context])).tolist() == pytest.approx(found.tolist(), rel=1e-5)


def test_the_published_layers_behind_the_maximum_are_one_linear_map_and_the_others_are_not():
    torch.manual_seed(0)
    nets = [new_learner(each, EMBEDDINGS).eval() for each in KINDS]
    wide = [256, 2 * KINDS[1].width]
    bent = []
    for net, width in zip(nets, wide, strict=True):
        a, b = torch.randn(2, 1, width)
        layers = net.get_submodule("layers")
        bent.append((layers(a + b) - layers(a) - layers(b) + layers(0 * a)).abs().max().item())
    assert bent[0] < 1e-5 < bent[1]


@pytest.mark.parametrize("kind", KINDS, ids=lambda each: each.kind)
def test_learners_work_on_a_copy_of_the_embeddings(kind):
    embeddings = torch.nn.Parameter(EMBEDDINGS.clone())
    learned = learn(kind, embeddings.detach(), examples(40), seed=0)
    assert torch.equal(embeddings, EMBEDDINGS)
    own = learned.net.get_parameter("embeddings.weight")
    assert own.data_ptr() != embeddings.data_ptr()
    assert torch.equal(own, EMBEDDINGS) == (kind.kind == "convolutions")  # published: trained; ours: as they are


@pytest.mark.parametrize("kind", KINDS, ids=lambda each: each.kind)
def test_the_best_weights_are_kept_not_the_last(kind):
    seen = []
    wild = kind.model_copy(update={"lr": 0.05, "epochs": 6})
    given = examples(80)
    learned = learn(wild, EMBEDDINGS, given, seed=1, after=lambda epoch, _, quality: seen.append((quality.mse, epoch)))
    assert min(seen) == (learned.quality.mse, learned.epoch)
    predicted = predict(learned.net, given.contexts[given.held_out])
    assert np.mean((predicted - given.gains[given.held_out].numpy()) ** 2) == pytest.approx(learned.quality.mse)
    assert predicted.tolist() == learned.predicted.tolist()


def test_a_learner_that_runs_wild_is_told_of():
    with pytest.raises(TrainingError, match="'published' says nothing finite after any epoch; lower its lr"):
        learn(KINDS[0], EMBEDDINGS * float("nan"), examples(20), seed=0)


def test_a_learner_finds_what_there_is_to_find():
    kind = ConvolutionLearner(epochs=30, batch_size=32, lr=1e-2, width=16, dropout=0.0)
    learned = learn(kind, EMBEDDINGS, examples(300), seed=0)
    assert learned.quality.mse < 0.2
    assert learned.quality.rank_correlation > 0.9


@pytest.mark.parametrize("pairs", [2, 16, 40])
def test_few_pairs_are_split_into_some_to_learn_from_and_some_held_out(pairs):
    given = examples(pairs)
    assert sorted([*given.learned, *given.held_out]) == list(range(pairs))
    assert len(given.held_out) == max(1, pairs // 4)
    learn(KINDS[0], EMBEDDINGS, given, seed=0)


def test_learners_are_stored_with_all_that_one_must_know(tmp_path):
    given = examples(40)
    learned = {each.kind: learn(each, EMBEDDINGS, given, seed=0) for each in KINDS}
    shapes = {
        "published": {"kind": "published", "vocabulary": VOCABULARY, "width": 6},
        "convolutions": {"kind": "convolutions", "vocabulary": VOCABULARY, "width": 6, "channels": 64, "dropout": 0.3},
    }
    facts = Facts("t", LENGTH, 0.5, 2.0, ["a"], {kind: each.quality.mse for kind, each in learned.items()}, shapes)
    assert read_facts(tmp_path) is None
    save_learners(tmp_path, learned, facts)
    found = read_facts(tmp_path)
    assert found == facts
    assert found.best == min(learned, key=lambda kind: learned[kind].quality.mse)
    for kind, each in learned.items():
        again = load_learner(tmp_path, found, kind, torch.device("cpu"))
        assert predict(again, given.contexts).tolist() == predict(each.net, given.contexts).tolist()


# -- choosing -------------------------------------------------------------------------------------

Q = np.random.default_rng(7).normal(size=4096).astype(np.float32)


def score(rows):
    return Q[np.array(rows) % len(Q)]


def planned(batch=4, accumulation=1, purpose="crops"):
    crops = Crops([np.arange(300, dtype=np.int32)] * 3, LENGTH)
    return CropPlan(crops, Train(batch_size=batch, gradient_accumulation=accumulation, steps=50), 3, purpose)


def chosen(threshold, batch=4, accumulation=1, decoys=False):
    lots = planned(batch, accumulation, "decoys") if decoys else None
    return Chosen(planned(batch, accumulation), score, threshold, batch, accumulation, lots)


def rows_of(steps, numbers):
    return [[row for micro in steps.micro_batches(step) for row in micro] for step in numbers]


def by_hand(thresholds, wanted, decoys=False):
    """Candidate by candidate, as one would with pencil and paper."""
    crops = Crops([np.arange(300, dtype=np.int32)] * 3, LENGTH)
    candidates, others = Draws(crops, 3).rows(0, 5000), Draws(crops, 3, "decoys").rows(0, 5000)
    at, found = 0, []
    for threshold in thresholds:
        step = []
        while len(step) < wanted:
            judge = others[at] if decoys else candidates[at]
            if Q[judge % len(Q)] >= threshold:
                step.append(candidates[at])
            at += 1
        found.append(step)
    return found, at


@settings(max_examples=25, deadline=None)
@given(
    batch=st.sampled_from([(8, 1), (2, 4), (1, 8)]),
    switch=st.integers(1, 12),
    first=st.floats(-1, 1.5),
    decoys=st.booleans(),
)
def test_the_sequence_of_rows_is_that_worked_out_by_hand(batch, switch, first, decoys):
    schedule = Schedule(first, switch, -1.0)
    thresholds = [first if step <= switch else -1.0 for step in range(1, 15)]
    expected, looked_at = by_hand(thresholds, 8, decoys)
    steps = chosen(schedule, *batch, decoys)
    assert rows_of(steps, range(1, 15)) == expected
    assert (steps.seen.looked_at, steps.seen.taken) == (looked_at, 14 * 8)
    taken = [Q[row % len(Q)] for step in expected for row in step]
    assert steps.seen.gained == pytest.approx(float(np.sum(taken)), abs=1e-4)


@pytest.mark.parametrize("stop", [1, 5, 9])
@pytest.mark.parametrize("decoys", [False, True])
def test_an_interruption_leaves_no_trace_in_the_sequence(stop, decoys):
    whole, first, second = (chosen(Schedule(1.0, 6, -1.0), decoys=decoys) for _ in range(3))
    expected = rows_of(whole, range(1, 13))
    before = rows_of(first, range(1, stop + 1))
    second.load_state(first.state())
    assert [*before, *rows_of(second, range(stop + 1, 13))] == expected
    assert second.state() == whole.state()


def test_the_published_threshold_falls_after_ten_steps_however_often_one_evaluates():
    schedule = threshold_of(PublishedThreshold(), score, None)
    assert [schedule(step) for step in (1, 10, 11, 60)] == [1.0, 1.0, -1.0, -1.0]
    assert [threshold_of(ConstantThreshold(value=0.2), score, None)(step) for step in (1, 99)] == [0.2, 0.2]


def test_a_quantile_keeps_its_share():
    draws = SimpleNamespace(rows=lambda first, end: list(range(first, end)))
    schedule = threshold_of(QuantileThreshold(keep=0.25, contexts=400), score, draws)
    assert (Q[:400] >= schedule(1)).mean() == 0.25


def test_random_choice_takes_as_many_but_not_the_better_ones():
    by_gain, by_lot = chosen(Schedule(0.7)), chosen(Schedule(0.7), decoys=True)
    for steps in (by_gain, by_lot):
        rows_of(steps, range(1, 101))
    rates = [steps.seen.taken / steps.seen.looked_at for steps in (by_gain, by_lot)]
    assert rates[0] == pytest.approx(rates[1], abs=0.04)
    assert by_gain.seen.gained / by_gain.seen.taken > 1.0
    assert abs(by_lot.seen.gained / by_lot.seen.taken) < 0.2


def test_a_threshold_out_of_reach_is_told_instead_of_waited_for():
    with pytest.raises(TrainingError, match=r"step 1: of 4,000 contexts 0 reach the threshold 9; the best comes to"):
        chosen(Schedule(9.0)).micro_batches(1)
