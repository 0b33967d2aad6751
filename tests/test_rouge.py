"""ROUGE in its definitions: known answers, a second way of counting, and what is not defined."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.evaluation.rouge import Overlap, pooled, rouge, standard

tokens = st.lists(st.integers(0, 3), max_size=9)


@pytest.mark.parametrize(
    ("predicted", "gold", "plain", "clipped"),
    [
        ("a b a b a b", "a b", 3.0, 1.0),
        ("the the the the", "the cat", 4 / 3, 1 / 3),
        ("a b c", "a b c", 1.0, 1.0),
        ("a", "a a b", 1 / 6, 1 / 6),  # a twice in gold is one kind: a, a, b, aa, ab, aab
        ("a a a", "a a b", 5 / 6, 3 / 6),  # a three times, aa twice
        ("x y", "a b", 0.0, 0.0),
        ("", "a b", 0.0, 0.0),
    ],
)
def test_known_answers(predicted, gold, plain, clipped):
    assert pooled(predicted.split(), gold.split()) == pytest.approx(plain)
    assert pooled(predicted.split(), gold.split(), clipped=True) == pytest.approx(clipped)


def test_the_order_bounds_the_n_grams():
    assert pooled("ab", "ab", order=1) == 1
    assert pooled("ba", "ab", order=1) == 1
    assert pooled("ba", "ab", order=2) == pytest.approx(2 / 3)


def slow(predicted, gold, order, clipped):
    """The same, counted by looking at every place again and again."""
    places = lambda units: [tuple(units[i : i + n]) for n in range(1, order + 1) for i in range(len(units) - n + 1)]  # noqa: E731
    there, wanted = places(predicted), places(gold)
    total = 0
    for kind in set(wanted):
        total += min(there.count(kind), wanted.count(kind)) if clipped else there.count(kind)
    return total / len(wanted) if wanted else None


@given(tokens, tokens, st.integers(1, 4))
def test_counting_another_way_gives_the_same(predicted, gold, order):
    assert pooled(predicted, gold, order) == slow(predicted, gold, order, clipped=False)
    assert pooled(predicted, gold, order, clipped=True) == slow(predicted, gold, order, clipped=True)


@given(tokens.filter(bool), tokens)
def test_clipped_is_at_most_one_and_at_most_unclipped(gold, predicted):
    clipped = pooled(predicted, gold, clipped=True)
    assert clipped <= min(1, pooled(predicted, gold))
    assert pooled(gold, gold, clipped=True) == 1


def test_empty_gold_has_no_figure():
    assert pooled(["a"], []) is None
    assert standard("a", "") is None
    assert standard("猫", "猫が いる。") is None


def test_the_standard_figures_by_hand():
    found = standard("The cat sat", "the cat sat on mats")
    assert found["rouge1"] == Overlap(1, 3 / 5, pytest.approx(0.75))
    assert found["rouge2"] == Overlap(1, 2 / 4, pytest.approx(2 / 3))
    assert found["rouge3"] == Overlap(1, pytest.approx(1 / 3), pytest.approx(0.5))
    assert standard("cat the sat", "the cat sat on")["rougeL"].recall == pytest.approx(2 / 4)


def test_means_leave_out_and_count_what_is_not_defined():
    found = rouge(["a b", "b", "日", "a"], ["a b", "a", "日 本", ""])
    assert (found.pairs, found.empty, found.wordless) == (4, 1, 2)
    assert found.pooled == pytest.approx((1 + 0 + 1 / 3) / 3)
    assert found.overlaps["rouge1"].f1 == pytest.approx(0.5)
    assert found.figures()["rouge_pooled_3"] == found.pooled
    nothing = rouge(["a"], [""])
    assert (nothing.pooled, nothing.overlaps) == (None, None)
    assert nothing.figures()["rougeL_f1"] is None


def test_definitions_and_what_was_left_out_are_told():
    told = "\n".join(rouge(["a", "b"], ["a", ""], [[1], [2]], [[1], []], order=2).notes())
    assert "rouge_pooled_2: n-grams of orders 1 to 2 together, over token ids" in told
    assert "repetition is rewarded" in told
    assert "rouge-score" in told
    assert "nothing in gold, left out of pooled ROUGE: 1" in told
