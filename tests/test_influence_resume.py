"""Influence that was killed goes on where it was: the same scores, bit by bit, and nothing is done twice."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import influence_in_a_process as work
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import small_influence as small
import torch
from lmwb.core.data.rows import Rows
from lmwb.core.errors import MachineError
from lmwb.core.influence import (
    FactorSettings,
    ScoreSettings,
    Side,
    Top,
    Watch,
    answer,
    fit_factors,
    plan_queries,
    study,
)
from lmwb.core.training.objectives.causal import CausalLM

PHASES = ("covariance", "eigendecomposition", "eigenvalue correction", "query gradients", "training gradients",
          "scores of tokens")  # fmt: skip


class Killed(Exception):
    pass


class Count:
    """Counts batches by phase; raises at the n-th of one of them."""

    def __init__(self, phase=None, number=0):
        self.seen = dict.fromkeys(PHASES, 0)
        self._phase, self._number = phase, number

    def __call__(self, phase, _done, _all):
        self.seen[phase] += 1
        if phase == self._phase and self.seen[phase] == self._number:
            raise Killed


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    count = Count()
    return work.ask(tmp_path_factory.mktemp("whole"), count), count.seen


def same(found, wanted):
    assert (found.all_scores() == wanted.all_scores()).all()
    assert (found.best.rows == wanted.best.rows).all()
    for pair, scores in wanted.tokens.train.items():
        assert (found.tokens.train[pair] == scores).all()


@pytest.mark.parametrize("phase", PHASES)
def test_stopped_in_any_phase_it_goes_on_to_the_same_scores(whole, tmp_path, phase):
    wanted, batches = whole
    middle = max(1, batches[phase] * 2 // 3)
    with pytest.raises(Killed):
        work.ask(tmp_path, Count(phase, middle))
    rest = Count()
    same(work.ask(tmp_path, rest), wanted)
    for other in PHASES[: PHASES.index(phase)]:
        if other in ("covariance", "eigenvalue correction", "training gradients"):
            assert rest.seen[other] == 0
    if phase in ("covariance", "eigenvalue correction", "training gradients"):
        assert rest.seen[phase] < batches[phase]


def test_what_is_there_is_not_done_again(whole, tmp_path):
    first = work.ask(tmp_path, Count())
    again = Count()
    same(work.ask(tmp_path, again), first)
    assert not any(again.seen[phase] for phase in ("covariance", "eigenvalue correction", "training gradients"))


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_killed_outright_in_any_phase_it_goes_on_to_the_same_scores(whole, tmp_path, phase):
    command = [sys.executable, work.__file__, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(work.__file__).parent) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == phase:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    same(work.ask(tmp_path, Count()), whole[0])


@pytest.mark.slow
def test_two_processes_share_the_parts_and_come_to_the_same_scores(whole, tmp_path):
    wanted, batches = whole
    commands = [[sys.executable, work.__file__, str(tmp_path), str(rank), "2"] for rank in range(2)]
    team = [
        subprocess.Popen(each, stdout=subprocess.PIPE, text=True, cwd=Path(work.__file__).parent) for each in commands
    ]
    seen = [json.loads(process.communicate()[0].strip().splitlines()[-1]) for process in team]
    assert [process.returncode for process in team] == [0, 0]
    for phase in ("covariance", "eigendecomposition", "eigenvalue correction", "training gradients"):
        assert all(each[phase] for each in seen)
        assert sum(each[phase] for each in seen) == batches[phase]
    same(work.ask(tmp_path, Count()), wanted)


def test_a_damaged_file_is_named(tmp_path):
    work.ask(tmp_path, Count())
    file = next(tmp_path.rglob("basis-0000.safetensors"))
    file.write_bytes(file.read_bytes()[:100])
    for part in tmp_path.rglob("part-*.safetensors"):
        part.unlink()
    with pytest.raises(MachineError, match=r"cannot read .*basis-0000.safetensors.*delete it"):
        work.ask(tmp_path, Count())


def test_tables_hold_what_was_kept(whole):
    found = whole[0]
    table = pq.read_table(found.folder / "top.parquet").to_pylist()
    assert len(table) == 2 * 4 * 3
    first = next(row for row in table if row["query"] == 2 and row["side"] == "worst" and row["rank"] == 1)
    assert (first["row"], first["score"]) == (found.worst.rows[2, 0], found.worst.scores[2, 0])
    tokens = pq.read_table(found.folder / "tokens.parquet").to_pylist()
    assert {row["side"] for row in tokens} == {"train", "query"}
    assert "lowers the query's loss" in pq.read_table(found.folder / "top.parquet").schema.metadata[b"sign"].decode()


def test_the_top_of_a_stream_is_the_top_of_all():
    random = np.random.default_rng(0)
    scores = random.integers(0, 30, (3, 200)).astype(float)  # many are equal
    order = np.stack([np.lexsort((np.arange(200), -line)) for line in scores])
    for step in (1, 7, 200):
        top = Top.none(3)
        for start in range(0, 200, step):
            rows = range(start, min(start + step, 200))
            top = top.with_more(rows, scores[:, rows.start : rows.stop], 9)
        assert (top.scores == np.take_along_axis(scores, order[:, :9], 1)).all()
        assert (top.rows == order[:, :9]).all()


def test_plans_first_halve_numbers_then_take_low_rank_then_pass_more_than_once():
    layers = study(small.gpt2(width=200, layers=1), small.texts(3)).layers
    full = sum(layer.size for layer in layers) * 4
    plan = plan_queries(layers, 10, 10 * full)
    assert (plan.rank, plan.numbers, plan.passes, plan.bytes) == (None, "float32", 1, 10 * full)
    assert (plan_queries(layers, 10, 5 * full).rank, plan_queries(layers, 10, 5 * full).numbers) == (None, "bfloat16")
    low = plan_queries(layers, 10, 5 * full - 1)
    assert low.rank == 64
    assert plan_queries(layers, 10, 2 * full, "full", "float32").passes == 5
    assert all(plan_queries(layers, 10, memory).bytes <= memory for memory in range(full, 12 * full, full // 3))


@pytest.mark.slow
def test_two_hundred_thousand_rows_take_the_memory_of_a_part(tmp_path, record_property):
    """Only the best are kept; what the process holds does not grow after the first 20,000 rows."""
    texts = np.random.default_rng(0).integers(0, small.VOCABULARY, 200_000 * 5, dtype=np.int32)
    ends = np.arange(5, len(texts) + 1, 5)
    train = CausalLM(Rows(texts, np.stack([ends - 5, ends], 1)))
    subject = study(small.gpt2(width=4, layers=1, dtype=torch.float32), train, rows=2048, tokens=2**15)
    factors = fit_factors(subject, train, tmp_path, FactorSettings("ekfac", share=0.01))
    process, held = psutil.Process(), []

    def look(phase, _done, _all):
        if phase == "training gradients":
            held.append(process.memory_info().rss)

    sides = Side.all_of(train), Side.all_of(small.texts(32, seed=1))
    settings = ScoreSettings(keep_all=False, part=8192)
    found = answer(subject, factors, *sides, tmp_path, settings, Watch(look=look))
    assert found.best.rows.shape == (32, 10)
    assert found.scores is None
    early, late = max(held[: len(held) // 10]), max(held)
    record_property("MiB", (early / 2**20, late / 2**20))
    assert late < early + 16 * 2**20
