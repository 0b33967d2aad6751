"""Influence against its definitions: autograd's gradients, dense curvatures in float64, an exact Hessian."""

import lmwb.core.influence as influence
import numpy as np
import pytest
import small_influence as small
import torch
from lmwb.core.influence import FactorSettings, ScoreSettings, Side, fit_factors, self_scores, study
from lmwb.core.influence.labels import Sampled
from lmwb.core.training.objective import IGNORE
from scipy.stats import spearmanr

QUERIES = 3


@pytest.fixture(scope="module")
def world():
    """A model, rows to train on, rows that are asked about, labels that are injected, and the dense truth."""
    model, train, queries = small.gpt2(), small.texts(), small.texts(QUERIES, seed=1)
    subject = study(model, train)
    drawn = {row: torch.from_numpy(np.random.default_rng(row).integers(0, small.VOCABULARY, 13)) for row in range(40)}

    def given(rows, batch, _outputs):
        wide = torch.stack([drawn[row][: batch.targets.shape[1]] for row in rows])
        return torch.where(batch.targets == IGNORE, IGNORE, wide)

    dense = small.Dense(model, subject.layers, train, lambda row: drawn[row][: int(train.lengths[row]) - 1])
    of_queries = [small.gradients(model, subject.layers, small.loss(model, queries, q)) for q in range(QUERIES)]
    of_train = [small.gradients(model, subject.layers, small.loss(model, train, row)) for row in range(40)]
    return subject, train, queries, given, dense, of_queries, of_train


def ask(world, folder, strategy, settings=None, subject=None, **choice):
    own, train, queries, given = world[:4]
    subject = subject or own
    factors = fit_factors(subject, train, folder, FactorSettings(strategy, **choice), labels=given, label_key="given")
    settings = settings or ScoreSettings()
    return influence.answer(subject, factors, Side.all_of(train), Side.all_of(queries), folder, settings), factors


@pytest.mark.parametrize("strategy", influence.STRATEGIES)
def test_scores_are_those_of_the_dense_definition(world, tmp_path, strategy):
    found, _ = ask(world, tmp_path, strategy)
    dense, of_queries, of_train = world[4:]
    assert small.near(found.all_scores(), dense.scores(of_queries, of_train, strategy), 1e-6)  # kept in float32
    given, _ = ask(world, tmp_path, strategy, ScoreSettings(damping=0.3))
    assert small.near(given.all_scores(), dense.scores(of_queries, of_train, strategy, 0.3), 1e-6)


@pytest.mark.parametrize("strategy", influence.STRATEGIES)
def test_best_worst_self_and_tokens_agree_with_the_scores(world, tmp_path, strategy):
    subject, train, queries, _, dense, of_queries, of_train = world
    found, factors = ask(world, tmp_path, strategy, ScoreSettings(tokens="top", top=4))
    wanted = dense.scores(of_queries, of_train, strategy)
    assert small.near(found.best.scores, -np.sort(-wanted, axis=1)[:, :4])
    assert small.near(found.worst.scores, np.sort(wanted, axis=1)[:, :4])
    for q in range(QUERIES):
        for row in [*found.best.rows[q], *found.worst.rows[q]]:
            of_row, of_query = found.tokens.train[q, row], found.tokens.queries[q, row]
            assert of_row.shape == (int(train.lengths[row]) - 1,)
            assert of_query.shape == (int(queries.lengths[q]) - 1,)
            assert small.near([of_row.sum(), of_query.sum()], wanted[q, row], 1e-8)
    every, _ = ask(world, tmp_path, strategy, ScoreSettings(tokens="all"))
    for row, scores in every.all_token_scores().items():
        assert small.near(scores.sum(1), wanted[:, row], 1e-5)
    own = self_scores(subject, factors, Side.all_of(train), None, 2**30, influence.Watch())
    assert small.near(own, np.diag(dense.scores(of_train, of_train, strategy)))


def test_tokens_have_the_share_that_their_own_products_give(world, tmp_path):
    """g_tᵀ P(G_q) a_t with a and g from plain hooks."""
    subject, train, _, _, dense, of_queries, _ = world
    _, factors = ask(world, tmp_path, "ekfac")
    wanted = {layer.name: dense.preconditioned(layer, of_queries[0][layer.name], "ekfac") for layer in subject.layers}
    by_data = small.Dense(subject.model, subject.layers, train, lambda row: train.collate([row], 0).targets)
    sums = sum(
        ((by_data.outputs[layer.name][5] @ wanted[layer.name]) * by_data.inputs[layer.name][5]).sum(1)
        for layer in subject.layers
    )
    ready = influence.prepare(
        subject, factors, Side(world[2], [0]), influence.plan_queries(subject.layers, 1, 2**20), None, 2**20,
        influence.Watch(),
    )  # fmt: skip
    found = influence.token_scores(subject, ready, Side(train, [5]), influence.Watch())
    assert small.near(found[5][0], sums)


def test_neither_batches_nor_parts_nor_memory_change_scores(world, tmp_path):
    (subject, train), strategy = world[:2], "ekfac"
    whole, _ = ask(world, tmp_path / "whole", strategy)
    for number, (rows, tokens, parts, memory) in enumerate(
        [(1, 4096, 1, 2**30), (7, 50, 3, 2**30), (40, 10**6, 4, 6000)]
    ):
        other = study(subject.model, train, rows=rows, tokens=tokens)
        settings = ScoreSettings(part=9, memory=memory, rank="full", numbers="float32")
        choice = {"parts": parts, "memory": memory}
        found, _ = ask(world, tmp_path / str(number), strategy, settings, other, **choice)
        assert small.near(found.all_scores(), whole.all_scores(), 1e-6)
        assert (found.best.rows == whole.best.rows).all()


def test_a_sum_of_queries_is_the_sum_of_their_scores(world, tmp_path):
    apart, _ = ask(world, tmp_path, "ekfac")
    together, _ = ask(world, tmp_path, "ekfac", ScoreSettings(aggregated=True))
    assert small.near(together.all_scores()[0], apart.all_scores().sum(0), 1e-6)


def test_several_checkpoints_give_their_mean(world, tmp_path):
    subject, train, queries, given = world[:4]
    other = study(small.gpt2(seed=3), train)
    sides = Side.all_of(train), Side.all_of(queries), tmp_path
    load = [lambda s=s: (s, fit_factors(s, train, tmp_path, labels=given, label_key="given")) for s in (subject, other)]
    settings = ScoreSettings(tokens="top", top=2)
    each = [influence.answer(*one(), *sides).all_scores() for one in load]
    both = influence.answer_over(load, *sides, settings)
    assert small.near(both.all_scores(), (each[0] + each[1]) / 2, 1e-6)
    row = both.best.rows[0, 0]
    assert small.near(both.tokens.train[0, row].sum(), both.best.scores[0, 0], 1e-6)
    assert small.near(both.tokens.queries[0, row].sum(), both.best.scores[0, 0], 1e-6)


def test_sampled_labels_follow_the_models_predictions_and_no_batch(world):
    subject, train = world[:2]
    batch = train.collate(range(8), 0)
    with torch.no_grad():
        outputs = train.forward(subject.model, batch)
    shares = torch.softmax(outputs, -1)
    counts = torch.zeros_like(shares)
    for seed in range(400):
        drawn = Sampled(train, seed)(range(8), batch, outputs)
        assert ((drawn == IGNORE) == (batch.targets == IGNORE)).all()
        counts.scatter_add_(-1, drawn.clamp(min=0)[..., None], torch.ones_like(shares[..., :1]))
    real = batch.targets != IGNORE
    assert (counts[real] / 400 - shares[real]).abs().mean() < 0.02
    alone = train.collate([3], 0)
    length = alone.targets.shape[1]
    with torch.no_grad():
        found = Sampled(train, 9)([3], alone, train.forward(subject.model, alone))
    assert (found[0] == Sampled(train, 9)(range(8), batch, outputs)[3, :length]).all()


def test_low_rank_and_bfloat16_come_near(world, tmp_path):
    exact, _ = ask(world, tmp_path, "ekfac")
    for settings in (ScoreSettings(rank=5), ScoreSettings(numbers="bfloat16", rank="full")):
        found, _ = ask(world, tmp_path, "ekfac", settings)
        for mine, other in zip(found.all_scores(), exact.all_scores(), strict=True):
            assert spearmanr(mine, other)[0] > 0.99
    half = study(world[0].model, world[1], numbers="bfloat16")
    assert small.near(ask(world, tmp_path, "ekfac", subject=half)[0].all_scores(), exact.all_scores(), 1e-6)  # float64


@pytest.mark.parametrize("strategy", ["diagonal", "kfac"])
def test_half_precision_loses_nothing_with_the_number_of_batches(tmp_path, strategy):
    model, train = small.gpt2().float(), small.texts(300)

    def curvature(numbers, rows):
        subject = study(model, train, numbers=numbers, rows=rows)
        factors = fit_factors(subject, train, tmp_path / f"{numbers}{rows}", FactorSettings(strategy, labels="data"))
        known = {layer: factors.preconditioner(layer, 1e-3, subject.device).inverse for layer in subject.layers}
        return {layer.name: 1 / inverse.double() - 1e-3 for layer, inverse in known.items()}

    few, many, exact = curvature("bfloat16", 64), curvature("bfloat16", 1), curvature("float32", 64)
    for layer, wanted in exact.items():
        largest = float(wanted.max())
        assert largest > 1e-2
        assert (many[layer] - few[layer]).abs().max() < 1e-4 * largest
        assert 1e-6 * largest < (many[layer] - wanted).abs().max() < 2e-2 * largest
