"""The linear datamodeling score and its neighbours beside figures worked out independently."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from lmwb.core.data.rows import Rows
from lmwb.core.errors import UsageError
from lmwb.core.influence import Side
from lmwb.core.influence.baselines import embedded, tf_idf
from lmwb.core.influence.correlation import pearson, spearman, weighted_spearman
from lmwb.core.influence.counterfactual import drawn_out, left_out, order_of
from lmwb.core.influence.datamodel import ceiling, datamodel_scores, draw_subsets
from lmwb.core.influence.half_precision import agreement
from lmwb.core.training.objectives.causal import CausalLM
from scipy import stats


def made_up(seed=0, subsets=40, rows=60, queries=12, noise=0.3):
    """A world in which losses are −Σ of true effects of rows, and noise: masks, losses, effects (queries, rows)."""
    random = np.random.default_rng(seed)
    effects = random.normal(size=(queries, rows))
    masks = draw_subsets(rows, 0.5, subsets, seed)
    clean = -(masks @ effects.T)
    return masks, clean + noise * clean.std() * random.normal(size=clean.shape), effects


def rough(effects, share, seed=7):
    return effects + share * np.random.default_rng(seed).normal(size=effects.shape)


# -- correlations ---------------------------------------------------------------------------------

few_values = arrays(np.float64, (7,), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5]))


@given(few_values, few_values, st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_drawn_rank_correlation_is_that_of_the_values_written_out(left, right, seed):
    drawn = np.random.default_rng(seed).integers(0, 7, 7)
    weights = np.bincount(drawn, minlength=7)[None].astype(float)
    found = weighted_spearman(left, right, weights)[0]
    if len(set(left[drawn])) == 1 or len(set(right[drawn])) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(left[drawn], right[drawn]).statistic, abs=1e-9)


def test_lines_are_correlated_as_scipy_does_it_and_a_flat_line_with_nothing():
    random = np.random.default_rng(1)
    a, b = random.normal(size=(5, 30)), random.normal(size=(5, 30)).round(1)
    for line in range(5):
        assert pearson(a, b)[line] == pytest.approx(stats.pearsonr(a[line], b[line]).statistic)
        assert spearman(a, b)[line] == pytest.approx(stats.spearmanr(a[line], b[line]).statistic)
    assert np.isnan(spearman(np.zeros((1, 4)), b[:1, :4]))


# -- linear datamodeling score --------------------------------------------------------------------


def test_the_score_is_the_mean_rank_correlation_of_predicted_and_true_losses():
    masks, losses, effects = made_up()
    scores = {"ekfac": rough(effects, 0.5), "identity": rough(effects, 3.0)}
    found = datamodel_scores(masks, losses, scores, "ekfac")
    for name, of_rows in scores.items():
        each = [
            stats.spearmanr([-of_rows[q][mask].sum() for mask in masks], losses[:, q]).statistic
            for q in range(losses.shape[1])
        ]
        assert found[name].lds.value == pytest.approx(np.mean(each), abs=1e-12)
        np.testing.assert_allclose(found[name].queries, each, atol=1e-12)
    assert found["ekfac"].difference is None
    gap = found["identity"].difference
    assert gap.value == pytest.approx(found["identity"].lds.value - found["ekfac"].lds.value)
    assert gap.low < gap.value < gap.high < 0


def test_scores_of_the_wrong_sign_have_a_negative_score_and_flat_ones_count_as_zero():
    masks, losses, effects = made_up()
    flat = effects.copy()
    flat[3] = 0.25  # every subset has as many rows, so its sums are all the same
    found = datamodel_scores(masks, losses, {"right": effects, "wrong": -effects, "flat": flat}, "right")
    assert found["wrong"].lds.value == pytest.approx(-found["right"].lds.value)
    assert found["flat"].undefined == 1
    missing = found["right"].queries[3] / len(effects)
    assert found["flat"].lds.value == pytest.approx(found["right"].lds.value - missing)


def test_paired_differences_are_narrower_than_the_scores_themselves():
    masks, losses, effects = made_up(noise=1.0)
    scores = {"ekfac": rough(effects, 0.5), "quarter": rough(effects, 0.5) + 0.01 * rough(effects, 1.0)}
    found = datamodel_scores(masks, losses, scores, "ekfac")
    gap, own = found["quarter"].difference, found["quarter"].lds
    assert gap.high - gap.low < (own.high - own.low) / 5


@pytest.mark.slow
def test_the_bootstrap_covers_what_many_subsets_and_queries_would_say():
    rows, noise = 60, 1.0
    many = made_up(seed=999, subsets=400, rows=rows, queries=150, noise=noise)
    truth = datamodel_scores(many[0], many[1], {"it": rough(many[2], 1.0)}, "it")["it"].queries.mean()
    covered = 0
    for seed in range(25):
        masks, losses, effects = made_up(seed=seed, subsets=40, rows=rows, queries=10, noise=noise)
        told = datamodel_scores(masks, losses, {"it": rough(effects, 1.0, 1000 + seed)}, "it", seed)["it"].lds
        covered += told.low <= truth <= told.high
    assert covered >= 21


def test_subsets_are_of_one_size_differ_and_come_again_with_their_seed():
    masks = draw_subsets(41, 0.5, 20, 3)
    assert masks.sum(1).tolist() == [20] * 20
    assert len({mask.tobytes() for mask in masks}) == 20
    np.testing.assert_array_equal(masks, draw_subsets(41, 0.5, 20, 3))
    assert draw_subsets(3, 0.99, 1, 0).sum() == 2


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_the_ceiling_is_what_a_perfect_prediction_reaches(seeds):
    random = np.random.default_rng(seeds)
    truth = random.normal(size=(300, 30))
    losses = truth[:, None] + 1.2 * random.normal(size=(300, seeds, 30))
    reached = spearman(truth.T, losses.mean(1).T).mean()
    found = ceiling(losses)
    assert found.attainable == pytest.approx(reached, abs=0.03)
    assert found.halves < found.attainable


def test_one_seed_tells_nothing_of_the_ceiling():
    assert ceiling(np.zeros((9, 1, 4))) is None


# -- what is left out -----------------------------------------------------------------------------


def test_rows_that_matter_most_to_all_queries_together_are_left_out_first():
    scores = np.array([[5.0, 0.0, -1.0, 3.0], [0.0, 4.0, 9.0, 3.0]])  # sums 5, 4, 8, 6
    assert left_out(scores, 0.5) == [2, 3]
    assert left_out(scores, 0.01) == [2]
    assert sorted(left_out(scores, 0.99)) == [0, 2, 3]


def test_rows_drawn_for_a_small_share_are_among_those_of_a_larger_one_and_differ_by_seed():
    small, large = drawn_out(100, 0.1, 4), drawn_out(100, 0.3, 4)
    assert (len(small), len(large)) == (10, 30)
    assert set(small) < set(large)
    assert set(small) != set(drawn_out(100, 0.1, 5))


def test_strategies_are_ordered_by_how_much_the_loss_rises():
    assert order_of({"random": 0.1, "ekfac": 0.9, "identity": 0.4}) == ["ekfac", "identity", "random"]


# -- baselines and half precision -----------------------------------------------------------------

TEXTS = [[1, 2, 3, 3, 9], [4, 5, 6, 9], [1, 1, 7, 9], [8, 8, 9]]
"""The last token of each is predicted, and not read."""


def objective(texts):
    ends = np.cumsum([len(text) for text in texts])
    bounds = np.stack([ends - [len(text) for text in texts], ends], 1)
    return CausalLM(Rows(np.concatenate(texts).astype(np.int32), bounds))


def test_tf_idf_is_that_of_scikit_learn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    asked = [[1, 3, 9], [8, 6, 6, 11]]
    vectorizer = TfidfVectorizer(token_pattern=r"\S+")
    train = vectorizer.fit_transform([" ".join(map(str, text[:-1])) for text in TEXTS])
    # a token that no training row has is unknown to scikit-learn and counts for nothing; here it is in no row either
    wanted = vectorizer.transform(["1 3", "8 6 6"]) @ train.T
    found = tf_idf(Side.all_of(objective(TEXTS)), Side.all_of(objective(asked)))
    np.testing.assert_allclose(found, wanted.toarray(), atol=1e-12)


def test_embeddings_are_compared_by_the_cosine_of_their_means():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(12, 3)

        def get_input_embeddings(self):
            return self.table

    model = Model()
    found = embedded(model, Side.all_of(objective(TEXTS)), Side(objective(TEXTS), [1]))
    means = [model.table.weight[torch.tensor(text[:-1])].mean(0) for text in TEXTS]
    wanted = [torch.cosine_similarity(means[1], mean, dim=0).item() for mean in means]
    np.testing.assert_allclose(found[0], wanted, atol=1e-6)


def test_rows_without_tokens_have_no_similarity():
    class Images:
        def collate(self, rows, seed):
            return type("Batch", (), {"inputs": {"pixel_values": torch.zeros(1, 4)}})

    with pytest.raises(UsageError, match="no tokens"):
        tf_idf(Side(Images(), [0]), Side(Images(), [0]))


def test_agreement_is_told_for_each_query_and_the_worst_the_median_and_the_best_are_named():
    random = np.random.default_rng(0)
    exact = random.normal(size=(3, 200))
    found = agreement(exact, exact + np.array([[0.1], [2.0], [0.5]]) * random.normal(size=exact.shape))
    assert found.typical == (1, 2, 0)
    assert found.spearman.shape == found.pearson.shape == (3,)
    assert agreement(exact, exact).spearman == pytest.approx([1, 1, 1])
