"""The arithmetic of movement pruning against the published formulas, worked out again in plain Python and float64."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.methods.pruning.gates import gate_in_evaluation, gate_in_training, masked
from lmwb.core.methods.pruning.masks import first_scores
from lmwb.core.methods.pruning.regularisers import regularised
from lmwb.core.methods.pruning.schedule import Schedule
from lmwb.core.methods.pruning.selection import (
    count_of,
    floor_of,
    keep_above,
    keep_largest,
    keep_share,
    keep_share_of_all,
)
from lmwb.core.methods.pruning.shapes import EachWeight
from torch import nn

EACH = EachWeight()

# -- schedule -------------------------------------------------------------------------------------


def published_threshold(step, total, warmup, initial, final, initial_warmup, final_warmup):
    """As the original has it: step counts the optimiser steps made before."""
    if step <= initial_warmup * warmup:
        return initial
    if step > total - final_warmup * warmup:
        return final
    spars_warmup = initial_warmup * warmup
    spars_schedu = final_warmup * warmup + spars_warmup
    coefficient = 1 - (step - spars_warmup) / (total - spars_schedu)
    return final + (initial - final) * coefficient**3


@pytest.mark.parametrize(("initial", "final"), [(1.0, 0.15), (0.0, 0.1), (1.0, 1.0), (-2.0, 3.0), (1.0, 0.0)])
@pytest.mark.parametrize(("total", "warmup", "first", "last"), [(100, 10, 1, 2), (60, 0, 1, 2), (55_000, 5400, 1, 2)])
def test_the_threshold_is_a_cubic_between_two_flat_ends(initial, final, total, warmup, first, last):
    schedule = Schedule(initial, final, first * warmup, last * warmup, total)
    for step in [*range(min(total, 120)), total // 2, total - 2 * warmup, total - 2 * warmup + 1, total]:
        expected = published_threshold(step, total, warmup, initial, final, first, last)
        assert schedule.threshold(step) == pytest.approx(expected, abs=1e-12, rel=1e-12)
        if final:
            expected = 400 * expected / final
            assert schedule.penalty_weight(step, 400.0) == pytest.approx(expected, abs=1e-9, rel=1e-12)


def test_a_final_threshold_of_zero_divides_nothing():
    schedule = Schedule(1.0, 0.0, 10, 20, 100)
    assert schedule.penalty_weight(5, 8.0) == 0
    assert schedule.penalty_weight(99, 8.0) == 8
    middle = 10 + 70 / 2
    assert schedule.penalty_weight(middle, 8.0) == pytest.approx(8 * (1 - 0.5**3), abs=1e-12)
    assert Schedule(0.0, 0.0, 0, 0, 10).penalty_weight(3, 8.0) == 8


# -- selection ------------------------------------------------------------------------------------


def published_top_k(scores, share):
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = set(order[: int(share * len(scores))])
    return [i in kept for i in range(len(scores))]


@given(
    st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 0.5, 1.0, 3.0]) | st.floats(-5, 5, width=32), min_size=1),
    st.floats(0, 1),
)
def test_a_share_is_kept_exactly_and_ties_go_to_the_first(scores, share):
    assert keep_share(torch.tensor(scores), share).tolist() == published_top_k(scores, share)


def test_constant_scores_keep_their_share_too():
    kept = keep_share(torch.zeros(30, 40), 0.15)
    assert kept.flatten().nonzero().squeeze(1).tolist() == list(range(int(0.15 * 1200)))


def test_scores_that_do_not_lie_in_a_row_are_selected_like_any():
    scores = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    stored = scores.T.contiguous().T
    assert not stored.is_contiguous()
    assert torch.equal(keep_share(stored, 0.4), keep_share(scores, 0.4))
    assert torch.equal(keep_above(stored, 0.3), scores > 0.3)
    assert torch.equal(keep_share_of_all([stored, scores], 0.3)[0], keep_share_of_all([scores, stored], 0.3)[0])


@pytest.mark.parametrize("size", [1, 7, 199, 200, 1000])
def test_a_threshold_leaves_a_floor_even_of_equal_scores(size):
    least = int(0.005 * size) + 1
    assert floor_of(size) == least
    kept = keep_above(torch.zeros(size), 0.0)
    assert kept.tolist() == [True] * least + [False] * (size - least)


def test_a_threshold_above_its_floor_is_just_a_threshold():
    scores = torch.linspace(-1, 1, 401).view(1, 401)
    assert torch.equal(keep_above(scores, 0.25), scores > 0.25)
    assert count_of(keep_above(scores, 0.999)) == 3
    assert keep_above(scores, 0.999)[0, -3:].all()


def test_a_share_of_the_model_is_one_cut_over_all_matrices():
    matrices = [torch.arange(0.0, 600).view(20, 30), torch.arange(400.0, 1000).view(30, 20)]
    first, second = keep_share_of_all(matrices, 0.25)
    # 300 of 1200: 700 … 999 are the largest, all in the second; the first has its floor of ⌊600/200⌋ + 1
    assert torch.equal(second, matrices[1] >= 700)
    assert first.flatten().nonzero().squeeze(1).tolist() == [596, 597, 598, 599]
    assert all(mask.all() for mask in keep_share_of_all(matrices, 1.0))


def test_all_or_nothing():
    assert not keep_largest(torch.ones(3), 0).any()
    assert keep_largest(torch.ones(3), 5).all()


# -- gradients ------------------------------------------------------------------------------------


def layer(seed=0):
    generator = torch.Generator().manual_seed(seed)
    weight, scores = (torch.randn(5, 4, generator=generator) for _ in range(2))
    inputs, wanted = torch.randn(3, 4, generator=generator), torch.randn(3, 5, generator=generator)
    return weight, scores, inputs, wanted


def test_gradients_go_straight_through():
    weight, scores, inputs, wanted = layer()
    kept = scores > 0
    weight, scores = weight.requires_grad_(), scores.requires_grad_()
    (((inputs @ masked(weight, kept, scores, EACH).T) - wanted) ** 2).sum().backward()
    pruned = (weight.detach().double() * kept).requires_grad_()
    (((inputs.double() @ pruned.T) - wanted.double()) ** 2).sum().backward()
    torch.testing.assert_close(scores.grad.double(), pruned.grad * weight.detach().double(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weight.grad.double(), pruned.grad * kept, rtol=1e-5, atol=1e-5)
    assert (scores.grad[~kept] != 0).all()  # what is pruned can come back


def test_without_scores_only_what_is_kept_moves():
    weight, _, inputs, _ = layer()
    kept = weight.abs() > 0.5
    weight.requires_grad_()
    (inputs @ masked(weight, kept, None, EACH).T).square().sum().backward()
    assert torch.equal(weight.grad != 0, kept)


def published_gate(scores, u=None):
    """Louizos et al. 2018, in float64: l = -0.1, r = 1.1, β = 2/3; evaluation without β."""
    if u is None:
        s = torch.sigmoid(scores)
    else:
        s = torch.sigmoid((torch.log(u) - torch.log(1 - u) + scores) / (2 / 3))
    return (s * 1.2 - 0.1).clamp(0, 1)


@pytest.mark.parametrize("training", [True, False])
def test_hard_concrete_gates_have_true_gradients(training):
    scores = torch.linspace(-6, 6, 61).requires_grad_()
    torch.manual_seed(3)
    gate = gate_in_training(scores) if training else gate_in_evaluation(scores)
    (gate * torch.arange(61)).sum().backward()
    torch.manual_seed(3)
    u = torch.rand(61).clamp(1e-4, 1 - 1e-4).double() if training else None
    reference = scores.detach().double().requires_grad_()
    expected = published_gate(reference, u)
    (expected * torch.arange(61)).sum().backward()
    torch.testing.assert_close(gate.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(scores.grad.double(), reference.grad, rtol=1e-5, atol=1e-5)
    assert {0.0, 1.0} < set(gate.tolist())


# -- regularisers and first scores ----------------------------------------------------------------


@pytest.mark.parametrize(("kind", "shift"), [("l1", 0.0), ("l0", 2 / 3 * math.log(0.1 / 1.1))])
def test_every_matrix_counts_alike_in_a_penalty(kind, shift):
    matrices = [torch.randn(3, 4), torch.randn(50, 2)]
    reference = [matrix.double().requires_grad_() for matrix in matrices]
    expected = sum((1 / (1 + torch.exp(-(each - shift)))).sum() / each.numel() for each in reference) / 2
    expected.backward()
    ours = [matrix.requires_grad_() for matrix in matrices]
    cost = regularised(ours, kind)
    cost.backward()
    assert cost.item() == pytest.approx(expected.item(), rel=1e-6)
    for one, other in zip(ours, reference, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-5, atol=1e-8)


def test_first_scores():
    weight = nn.Parameter(torch.zeros(64, 16))
    assert (first_scores(weight, EACH, "constant", 2.197, False) == 2.197).all()
    torch.manual_seed(0)
    uniform = first_scores(weight, EACH, "uniform", 0.3, False)
    assert 0.28 < float(uniform.abs().max()) <= 0.3
    kaiming, transposed = (first_scores(weight, EACH, "kaiming", 9.0, turned) for turned in (False, True))
    assert 0.24 < float(kaiming.abs().max()) <= 0.25  # 1/√16 inputs
    assert 0.12 < float(transposed.abs().max()) <= 0.125  # 1/√64
    torch.manual_seed(1)
    expected = nn.init.kaiming_uniform_(torch.empty(64, 16), a=math.sqrt(5))
    torch.manual_seed(1)
    torch.testing.assert_close(first_scores(weight, EACH, "kaiming", 0.0, False), expected)
