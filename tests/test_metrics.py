"""Figures of classes and scores are those of scikit-learn and SciPy, however the rows come in."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lmwb.core.evaluation.metrics import Confusion, Scores
from scipy import stats
from sklearn import metrics

classes = st.integers(2, 5).flatmap(
    lambda n: st.tuples(
        st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), min_size=1, max_size=60)
    )
)
numbers = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32))
pairs = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=60)


def counted(count, rows, batch=None):
    account = Confusion(count)
    true, predicted = np.array(rows).T
    for start in range(0, len(rows), batch or len(rows)):
        part = slice(start, start + (batch or len(rows)))
        account.add(predicted[part], true[part])
    return account, true, predicted


@given(classes)
def test_figures_of_classes_are_those_of_scikit_learn(drawn):
    account, true, predicted = counted(*drawn)
    assert account.accuracy() == pytest.approx(metrics.accuracy_score(true, predicted))
    assert account.macro_f1() == pytest.approx(metrics.f1_score(true, predicted, average="macro", zero_division=0))
    assert account.matthews() == pytest.approx(metrics.matthews_corrcoef(true, predicted), abs=1e-12)
    if drawn[0] == 2:
        assert account.f1() == pytest.approx(metrics.f1_score(true, predicted, zero_division=0))


@given(classes, st.integers(1, 7))
def test_figures_of_classes_do_not_depend_on_batches(drawn, batch):
    whole, _, _ = counted(*drawn)
    parts, _, _ = counted(*drawn, batch)
    assert (whole.counts == parts.counts).all()


@given(pairs, st.integers(1, 7))
def test_correlations_are_those_of_scipy(drawn, batch):
    predicted, true = np.array(drawn).T
    assume(np.ptp(predicted) > 1e-3)
    assume(np.ptp(true) > 1e-3)
    account = Scores()
    for start in range(0, len(true), batch):
        account.add(predicted[start : start + batch], true[start : start + batch])
    assert account.pearson() == pytest.approx(stats.pearsonr(predicted, true).statistic, abs=1e-6)
    assert account.spearman() == pytest.approx(stats.spearmanr(predicted, true).statistic, abs=1e-9)


def test_known_answers():
    """Worked out by hand: of 4 positives 3 are found, of 6 negatives 5."""
    account = Confusion(2)
    account.add(np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0]), np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0]))
    assert account.accuracy() == pytest.approx(0.8)
    assert account.f1() == pytest.approx(3 / 4)  # precision 3/4, recall 3/4
    assert account.matthews() == pytest.approx((3 * 5 - 1 * 1) / (4 * 4 * 6 * 6) ** 0.5)
    scores = Scores()
    scores.add(np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    assert scores.spearman() == pytest.approx(1.0)
    assert scores.pearson() == pytest.approx(3 / (2 * 14 / 3) ** 0.5)


def test_what_is_not_defined_is_zero():
    account = Confusion(3)
    assert (account.accuracy(), account.macro_f1(), account.matthews()) == (0, 0, 0)
    account.add(np.array([1, 1]), np.array([1, 1]))
    assert (account.accuracy(), account.macro_f1(), account.matthews()) == (1, 1, 0)
    scores = Scores()
    scores.add(np.array([2.0, 2.0]), np.array([1.0, 5.0]))
    assert (scores.pearson(), scores.spearman()) == (0, 0)
