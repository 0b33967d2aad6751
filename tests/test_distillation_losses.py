"""Distillation's losses against references in float64, written from the formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.core.methods.distillation import losses
from lmwb.core.methods.distillation.losses import Few, cosine_loss, logit_losses

IGNORE = -100


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def reference(s, t, y, weights, tau):
    """The three sums and the gradient of their weighted sum, row by row, all in float64."""
    sums, gradient = np.zeros(3), np.zeros_like(s)
    for i in range(len(s)):
        p, q, q1 = softmax(t[i] / tau), softmax(s[i] / tau), softmax(s[i])
        sums[0] += tau**2 * sum(p[v] * (np.log(p[v]) - np.log(q[v])) for v in range(len(p)) if p[v] > 0)
        gradient[i] += weights[0] * tau * (q - p)
        if np.isfinite(t[i]).all():
            sums[1] += ((s[i] - t[i]) ** 2).sum()
            gradient[i] += weights[1] * 2 * (s[i] - t[i])
        if y[i] != IGNORE:
            sums[2] -= np.log(q1[y[i]])
            one = np.zeros_like(q1)
            one[y[i]] = 1
            gradient[i] += weights[2] * (q1 - one)
    return sums, gradient


def close(found, wanted, size=2e-5):
    np.testing.assert_allclose(np.asarray(found, np.float64), wanted, rtol=size, atol=size * max(1, abs(wanted).max()))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 7),
    st.integers(2, 30),
    st.sampled_from([0.5, 1.0, 2.0, 5.0]),
    st.tuples(*[st.sampled_from([0.0, 0.3, 5.0])] * 3),
)
def test_sums_and_gradients_are_those_of_the_formulas(seed, rows, labels, tau, weights):
    draw = np.random.default_rng(seed)
    s, t = (draw.normal(0, 3, (rows, labels)) for _ in range(2))
    y = np.where(draw.random(rows) < 0.3, IGNORE, draw.integers(0, labels, rows))
    student = torch.tensor(s, dtype=torch.float32, requires_grad=True)
    total, parts = logit_losses(student, torch.tensor(t, dtype=torch.float32), torch.tensor(y), weights, tau)
    total.backward()
    sums, gradient = reference(s, t, y, weights, tau)
    close(parts, np.where(np.asarray(weights) > 0, sums, 0))
    close(total.detach(), np.asarray(weights) @ sums)
    close(student.grad, gradient)


def test_a_few_rows_at_a_time_give_the_same(monkeypatch):
    torch.manual_seed(0)
    s, t, y = torch.randn(11, 5), torch.randn(11, 5), torch.randint(0, 5, (11,))

    def gradient():
        student = s.clone().requires_grad_()
        logit_losses(student, t.clone(), y, (0.5, 0.1, 0.5), 2.0)[0].backward()
        return student.grad

    whole = gradient()
    monkeypatch.setattr(losses, "_AT_ONCE", 15)
    torch.testing.assert_close(gradient(), whole, rtol=0, atol=0)


def test_the_gradient_takes_the_place_of_the_teachers_logits():
    student, teacher = torch.randn(4, 6, requires_grad=True), torch.randn(4, 6)
    total, _ = logit_losses(student, teacher, None, (1.0, 0.0, 0.0), 2.0)
    before = teacher.clone()
    (3 * total).backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, 3 * before)
    torch.testing.assert_close(student.grad, teacher, rtol=0, atol=0)


def test_of_the_largest_logits_the_teachers_probabilities_are_shared_among_them():
    draw = np.random.default_rng(1)
    s, t = (draw.normal(0, 2, (5, 9)) for _ in range(2))
    places = np.argsort(-t, axis=-1)[:, :3].copy()
    values = np.take_along_axis(t, places, -1)
    kept = np.full_like(t, -np.inf)
    np.put_along_axis(kept, places, values, -1)
    student = torch.tensor(s, dtype=torch.float32, requires_grad=True)
    few = Few(torch.tensor(values, dtype=torch.float32), torch.tensor(places, dtype=torch.int32))
    total, parts = logit_losses(student, few, None, (1.0, 0.0, 0.0), 2.0)
    total.backward()
    sums, gradient = reference(s, kept, [IGNORE] * 5, (1, 0, 0), 2.0)
    close(parts[0], sums[0])
    close(student.grad, gradient)


def test_in_fp16_small_gradients_survive_until_they_are_scaled():
    student = torch.zeros(1, 4, dtype=torch.float16, requires_grad=True)
    teacher = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float16)
    total, _ = logit_losses(student, teacher, None, (1e-7, 0.0, 0.0), 1.0)
    (total * 2**16).backward()
    p = softmax(np.array([[1.0, 0, 0, 0]]))
    close(student.grad.float(), 1e-7 * 2**16 * (0.25 - p), size=2e-3)


def test_a_gradient_is_taken_once():
    student = torch.randn(2, 3, requires_grad=True)
    total, _ = logit_losses(student, torch.randn(2, 3), None, (1.0, 0.0, 0.0), 1.0)
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="taken already"):
        total.backward()


def test_the_cosine_is_summed_over_rows():
    draw = np.random.default_rng(2)
    a, b = draw.normal(size=(6, 8)), draw.normal(size=(6, 8))
    cosines = (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    found = cosine_loss(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
    close(found, (1 - cosines).sum())
