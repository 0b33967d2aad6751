"""Data order and learning rates are functions of the step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.recipe.schema import Train
from lmwb.core.training.plan import Plan
from lmwb.core.training.randomness import derived_seed
from lmwb.core.training.schedules import learning_rate


@given(rows=st.integers(1, 200), batch=st.integers(1, 16), accumulation=st.integers(1, 4), seed=st.integers(0, 2**62))
def test_an_epoch_shows_every_row_once(rows, batch, accumulation, seed):
    settings = Train(batch_size=batch, gradient_accumulation=accumulation, epochs=2.0)
    plan = Plan.of(settings, rows, seed)
    for epoch in range(2):
        steps = range(epoch * plan.steps_per_epoch + 1, (epoch + 1) * plan.steps_per_epoch + 1)
        micro = [rows for step in steps for rows in plan.micro_batches(step)]
        assert sorted(row for rows in micro for row in rows) == list(range(rows))
        assert all(len(part) <= batch for part in micro)
    assert plan.total == 2 * plan.steps_per_epoch


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=200),
    batch=st.integers(1, 8),
    accumulation=st.integers(1, 3),
    seed=st.integers(0, 2**62),
)
def test_an_epoch_shows_every_row_once_with_bucketing_too(lengths, batch, accumulation, seed):
    settings = Train(batch_size=batch, gradient_accumulation=accumulation, epochs=2.0)
    plan = Plan.of(settings, len(lengths), seed, np.array(lengths))
    for epoch in range(2):
        steps = range(epoch * plan.steps_per_epoch + 1, (epoch + 1) * plan.steps_per_epoch + 1)
        micro = [rows for step in steps for rows in plan.micro_batches(step)]
        assert sorted(row for rows in micro for row in rows) == list(range(len(lengths)))
        assert all(len(part) <= batch for part in micro)


def test_bucketing_pads_little_and_still_changes_order_and_batches_every_epoch():
    lengths = np.arange(400) % 37 + 1
    plan = Plan.of(Train(batch_size=8, epochs=3.0), 400, 1, lengths)
    plain = Plan.of(Train(batch_size=8, epochs=3.0, bucketing=False), 400, 1, lengths)

    def padding(of):
        batches = [rows for step in range(1, 51) for rows in of.micro_batches(step)]
        return sum(len(rows) * lengths[rows].max() - lengths[rows].sum() for rows in batches)

    assert padding(plan) < padding(plain) / 5
    first, second = ([sorted(plan.micro_batches(start + i)[0]) for i in range(50)] for start in (1, 51))
    assert first != second
    assert {*map(tuple, first)} != {*map(tuple, second)}
    mean = [lengths[rows].mean() for rows in first]
    assert mean != sorted(mean), "short rows do not come first"


def test_with_bucketing_the_rows_of_a_step_do_not_depend_on_their_split():
    lengths = np.arange(100) % 17 + 1
    together, apart = Plan(100, 8, 1, 10, 1, lengths), Plan(100, 2, 4, 10, 1, lengths)
    for step in range(1, 11):
        assert together.micro_batches(step)[0] == [row for part in apart.micro_batches(step) for row in part]


@given(rows=st.integers(1, 100), accumulation=st.integers(1, 4))
def test_the_rows_of_a_step_do_not_depend_on_their_split(rows, accumulation):
    together = Plan(rows, 4 * accumulation, 1, 10, seed=1)
    apart = Plan(rows, 4, accumulation, 10, seed=1)
    for step in range(1, 11):
        assert [r for part in together.micro_batches(step) for r in part] == [
            r for part in apart.micro_batches(step) for r in part
        ]


def test_seeds_are_the_same_in_every_process():
    assert derived_seed(0, "order", 3) == 8244215730568551301
    assert derived_seed(0, "order", 3) != derived_seed(0, "order", 4) != derived_seed(1, "order", 4)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"schedule": "constant"}, [1.0, 1.0, 1.0, 1.0]),
        ({"schedule": "linear"}, [1.0, 0.75, 0.5, 0.25]),
        ({"schedule": "linear", "warmup": 2.0}, [0.5, 1.0, 1.0, 0.5]),
        ({"schedule": "linear", "warmup": 0.5}, [0.5, 1.0, 1.0, 0.5]),
        ({"schedule": "linear", "final_lr": 0.5}, [1.0, 0.875, 0.75, 0.625]),
        ({"schedule": "cosine"}, [1.0, 0.8535533905932737, 0.5, 0.14644660940672627]),
        ({"schedule": "step", "step_every": 2, "step_factor": 0.1}, [1.0, 1.0, 0.1, 0.1]),
    ],
)
def test_schedules_give_known_rates(settings, expected):
    train = Train(lr=1.0, **settings)
    assert [learning_rate(train, step, 4) for step in range(1, 5)] == pytest.approx(expected)


@given(
    schedule=st.sampled_from(["constant", "linear", "cosine", "step"]),
    warmup=st.floats(0, 50),
    total=st.integers(1, 300),
)
def test_rates_stay_between_zero_and_the_peak(schedule, warmup, total):
    train = Train(lr=0.5, schedule=schedule, warmup=warmup)
    rates = [learning_rate(train, step, total) for step in range(1, total + 1)]
    assert all(0 < rate <= 0.5 for rate in rates)
