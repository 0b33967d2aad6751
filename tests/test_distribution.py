"""Training shared by several processes is the training of one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.errors import UsageError
from lmwb.core.experiment import make_slots
from lmwb.core.recipe.schema import Recipe
from lmwb.core.training.distribution import ALONE, Team, team_size
from lmwb.core.training.gradients import GradientSum
from lmwb.core.training.objective import Tally
from lmwb.core.training.objectives.choices import ChoiceTally
from lmwb.core.training.objectives.labels import ClassTally, ScoreTally

sizes = st.integers(1, 9)


# -- shares ---------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 9), max_size=6), sizes)
def test_every_row_of_a_step_is_taken_by_one_process_in_batches_no_larger_than_planned(lengths, size):
    numbers = iter(range(100))
    step = [[next(numbers) for _ in range(length)] for length in lengths]
    rows = [row for micro_batch in step for row in micro_batch]
    shares = [Team(rank, size).share(step) for rank in range(size)]
    taken = [[row for micro_batch in share for row in micro_batch] for share in shares]
    assert sorted(row for share in taken for row in share) == rows
    assert max(map(len, taken)) - min(map(len, taken)) <= 1
    for share in shares:
        assert all(0 < len(micro_batch) <= max(lengths) for micro_batch in share if size > 1)
        assert size == 1 or len(share) <= len(step)


def test_one_process_takes_the_step_as_it_is():
    step = [[3, 1], [2], []]
    assert ALONE.share(step) is step


def test_two_processes_get_neighbours_and_equal_micro_batches():
    step = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    assert Team(0, 2).share(step) == [[1, 3, 5], [7, 9, 11]]
    assert Team(1, 2).share(step) == [[2, 4, 6], [8, 10, 12]]


# -- gradients ------------------------------------------------------------------------------------


class Twin(Team):
    """A team of two whose other process has gradients of our choice."""

    def __init__(self):
        super().__init__(0, 2)
        self.begun = []
        self.theirs = lambda _: 0.0

    def add_up(self, values):
        self.begun.append(values.numel())
        values += self.theirs(values)
        return self

    def wait(self):
        """The sum is there at once."""


def layers():
    torch.manual_seed(0)
    return [torch.nn.Parameter(torch.randn(4, 3)) for _ in range(3)]


def test_sums_begin_within_the_last_backward_pass_and_from_the_end():
    weights, team = layers(), Twin()
    gradients = GradientSum(weights, team, bucket_bytes=48)
    loss = sum(weight.sum() for weight in weights)
    loss.backward(retain_graph=True)
    assert team.begun == []
    gradients.last_pass()
    loss.backward()
    assert team.begun == [13, 13, 13]
    total = torch.tensor(1.0)
    gradients.finish(total)
    assert team.begun == [13, 13, 13, 1]
    assert all((weight.grad == 2).all() for weight in weights)


def test_a_bucket_waits_for_those_before_it_so_that_the_order_is_the_same_everywhere():
    weights, team = layers(), Twin()
    gradients = GradientSum(weights, team, bucket_bytes=48)
    gradients.last_pass()
    (weights[0].sum() + weights[1].sum()).backward()  # the last weight's, which would be first, never comes
    assert team.begun == []
    gradients.finish(torch.zeros(()))
    assert team.begun == [13, 13, 13, 1]


@pytest.mark.parametrize("there", [False, True])
def test_a_weight_without_a_gradient_here_has_the_others_or_none(there):
    weights, team = layers(), Twin()
    gradients = GradientSum(weights, team)
    team.theirs = lambda values: torch.full_like(values, 1.0 if there else 0.0)
    (weights[0].sum() * 3).backward()
    gradients.finish(torch.zeros(()))
    assert (weights[0].grad == (4 if there else 3)).all()
    assert (weights[2].grad == 1).all() if there else weights[2].grad is None


def test_small_buckets_hold_what_large_ones_do():
    for bucket_bytes in (1, 60, 100, 10**6):
        weights, team = layers(), Twin()
        gradients = GradientSum(weights, team, bucket_bytes)
        team.theirs = torch.clone
        for number, weight in enumerate(weights):
            weight.grad = torch.full_like(weight, number + 1.0)
        gradients.finish(torch.zeros(()))
        assert [float(weight.grad.mean()) for weight in weights] == [2.0, 4.0, 6.0]


# -- accounts -------------------------------------------------------------------------------------


def kinds(of=Tally):
    return [of, *(kind for each in of.__subclasses__() for kind in kinds(each))]


def test_every_account_that_counts_more_merges_more():
    for kind in kinds():
        assert ("add" in vars(kind)) == ("merge" in vars(kind)), f"{kind.__name__} would lose what it counts"


@pytest.mark.parametrize(
    ("make", "targets"),
    [
        (lambda: ClassTally(3, ("accuracy", "macro_f1")), torch.tensor([0, 1, 2, 0, 1, 2, 0])),
        (ScoreTally, torch.tensor([0.5, 1.0, 2.0, 1.5, -1.0, 0.0, 3.0])),
        (ChoiceTally, torch.tensor([0, 1, 2, 0, 1, 2, 0])),
    ],
)
def test_merged_accounts_are_the_account_of_all(make, targets):
    from lmwb.core.training.objective import Batch

    torch.manual_seed(0)
    outputs = torch.randn(7, 1 if targets.is_floating_point() else 3)
    whole, first, second = make(), make(), make()
    for tally, part in ((whole, slice(0, 7)), (first, slice(0, 4)), (second, slice(4, 7))):
        some = targets[part]
        tally.add(float(outputs[part].sum()), outputs[part], Batch({}, some, len(some), 0))
    first.merge(second)
    assert first.figures() == pytest.approx(whole.figures(), rel=1e-6)


# -- devices --------------------------------------------------------------------------------------


def test_the_number_of_processes_fits_the_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (team_size(1, "auto"), team_size(3, "cpu"), team_size("gpus", "auto")) == (1, 3, 1)
    with pytest.raises(UsageError, match=r"processes = 2: each needs a GPU of its own, and this machine has 0"):
        team_size(2, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert (team_size("gpus", "auto"), team_size("gpus", "cuda"), team_size(3, "auto")) == (4, 4, 3)
    assert (team_size("gpus", "cpu"), team_size("gpus", "cuda:1"), team_size(8, "cpu")) == (1, 1, 8)
    with pytest.raises(UsageError, match="this machine has 4; lower 'processes'"):
        team_size(5, "auto")
    with pytest.raises(UsageError, match="device 'cuda:1' is one device"):
        team_size(2, "cuda:1")


def seeds(**keys):
    stage = {"model": {"from": "x"}, "data": {"train": "x.txt"}}
    return Recipe.model_validate({"name": "x", "seeds": [1, 2, 3], "stage": [stage], **keys})


@pytest.mark.parametrize(
    ("keys", "taken"),
    [
        ({}, ["0", "1", "2", "3"]),
        ({"processes": 2}, ["0,1", "2,3"]),
        ({"processes": "gpus"}, ["0,1,2,3"]),
        ({"processes": "gpus", "jobs": 2}, ["0,1", "2,3"]),
        ({"processes": 3}, ["0,1,2"]),
        ({"jobs": 2}, ["0", "1"]),
    ],
)
def test_members_get_as_many_gpus_as_they_have_processes(keys, taken, monkeypatch):
    monkeypatch.setattr("lmwb.core.experiment._gpus", lambda: ["0", "1", "2", "3"])
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in make_slots(seeds(**keys))] == taken


# -- real processes -------------------------------------------------------------------------------


def trained(size, folder):
    """What each of some processes has found."""
    folder.mkdir()
    script = Path(__file__).with_name("in_a_team.py")
    environment = {**os.environ, "PYTHONPATH": str(script.parent)}
    started = [
        subprocess.Popen([sys.executable, script, str(rank), str(size), folder], env=environment)
        for rank in range(size)
    ]
    assert [process.wait(300) for process in started] == [0] * size
    return [torch.load(folder / f"{rank}.pt") for rank in range(size)]


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_several_processes_train_as_one_does(size, tmp_path):
    (alone,) = trained(1, tmp_path / "alone")
    first, *others = trained(size, tmp_path / "team")
    for name, expected in alone.items():
        found = first[name]
        for other in others:
            assert all(torch.equal(other[name]["weights"][key], found["weights"][key]) for key in found["weights"])
            assert torch.equal(other[name]["losses"].nan_to_num(), found["losses"].nan_to_num())
            assert other[name]["figures"] == found["figures"]
        assert found["tokens"] == expected["tokens"]
        assert found["bad"].tolist() == expected["bad"].tolist() == [name == "bad" and step == 2 for step in range(5)]
        assert found["moments"] == expected["moments"]  # a weight that no process uses has none
        torch.testing.assert_close(found["losses"], expected["losses"], rtol=1e-5, atol=1e-5, equal_nan=True)
        torch.testing.assert_close(found["norms"], expected["norms"], rtol=1e-4, atol=1e-5, equal_nan=True)
        torch.testing.assert_close(found["weights"], expected["weights"], rtol=1e-4, atol=1e-5)
        assert found["figures"] == pytest.approx(expected["figures"], rel=1e-4)
