"""What a recorder was told is what a reader finds: values, repeats, resumed attempts, damage, curves that grow."""

import math
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmwb.core.history import curves, recorder, series
from lmwb.core.history.blocks import BLOCK_POINTS
from lmwb.core.history.database import open_database
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from make_history import make_trace
from small_history import SmallRun, begin, curve, reading, record, recording

VALUES = st.one_of(st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324]))
STEPS = st.one_of(st.integers(0, 50), st.sampled_from([-1, 0, 2**53 + 1, 2**62, -(2**63), 2**63 - 1]))


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    return begin(Home(tmp_path))


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorders flush when told to, and only then."""
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 3600.0)


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return begin(Home(tmp_path_factory.mktemp("home")))


@given(
    measured=st.lists(st.tuples(STEPS, st.dictionaries(st.text(max_size=8), VALUES, max_size=4)), max_size=40),
    flush_after=st.sets(st.integers(0, 40), max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_all_that_was_measured_is_found(shared_run, measured, flush_after):
    run = begin(shared_run.home, uid=f"run-{threading.get_ident()}-{np.random.default_rng().integers(2**60)}")
    expected: dict[str, list[tuple[int, float]]] = {}
    with recording(run) as open_recorder:
        for i, (step, values) in enumerate(measured):
            open_recorder.metrics(run.stage_id, step, values)
            if i in flush_after:
                assert open_recorder.flush()
            for name, value in values.items():
                expected.setdefault(name, []).append((step, value))
    with reading(run.home) as history:
        latest = history.metrics(run.stage_id)
        assert set(latest) == set(expected)
        for name, rows in expected.items():
            points = history.points(run.stage_id, name)
            rows_by_step = sorted(rows, key=lambda row: row[0])
            assert points.steps.tolist() == [step for step, _ in rows_by_step]
            assert points.values.tobytes() == np.array([value for _, value in rows_by_step], np.float64).tobytes()
            assert (latest[name].step, latest[name].n) == (rows[-1][0], len(rows))
            assert repr(latest[name].value + 0.0) == repr(rows[-1][1] + 0.0)
            finite = [value for _, value in rows if math.isfinite(value)]
            extremes = (min(finite), max(finite)) if finite else (math.nan, math.nan)
            assert (latest[name].minimum, latest[name].maximum) == pytest.approx(extremes, nan_ok=True, rel=0)


def test_extremes_outlast_infinities_and_reopening(run):
    for values in ([math.nan, -math.inf], [3.0, math.inf], [1.0], [2.0, math.nan]):
        with recording(run) as open_recorder:
            for value in values:
                open_recorder.metrics(run.stage_id, int(value) if math.isfinite(value) else 0, {"loss": value})
    with reading(run.home) as history:
        latest = history.metrics(run.stage_id)["loss"]
    assert (latest.minimum, latest.minimum_step, latest.maximum, latest.n) == (1.0, 1, 3.0, 7)
    assert math.isnan(latest.value)


def test_values_are_taken_when_told_not_when_written(run, by_hand):
    values = {"loss": 1.0}
    with recording(run) as open_recorder:
        for step in range(3):
            values["loss"] = step / 2
            open_recorder.metrics(run.stage_id, step, values)
    assert curve(run.home, run.stage_id) == {0: 0.0, 1: 0.5, 2: 1.0}


def test_ten_thousand_metrics_are_kept_apart(run):
    names = [f"layer/{i}/norm" for i in range(10_000)]
    with recording(run) as open_recorder:
        for step in range(2):
            open_recorder.metrics(run.stage_id, step, {name: i + step / 2 for i, name in enumerate(names)})
            assert open_recorder.flush()
    with reading(run.home) as history:
        latest = history.metrics(run.stage_id)
        assert {name: latest[name].value for name in names} == {name: i + 0.5 for i, name in enumerate(names)}
        assert history.points(run.stage_id, names[77]).values.tolist() == [77.0, 77.5]


# -- blocks: small ones, full ones, and a reader beside the writer ----------------------------------------


def block_sizes(run: SmallRun) -> list[int]:
    with reading(run.home) as history:
        return [row[0] for row in history._all("SELECT n FROM block ORDER BY id")]


@pytest.mark.parametrize("per_flush", [1, 100, 3000, 10_000])
def test_small_blocks_become_full_ones(run, by_hand, monkeypatch, per_flush):
    n = 300 if per_flush == 1 else 9000
    monkeypatch.setattr(series, "MERGE_AFTER", 50)
    with recording(run) as open_recorder:
        for step in range(n):
            open_recorder.metrics(run.stage_id, step, {"loss": -step})
            if step % per_flush == 0:
                assert open_recorder.flush()
                assert len([size for size in block_sizes(run) if size < BLOCK_POINTS]) <= 51
    full, rest = divmod(n, BLOCK_POINTS)
    assert block_sizes(run) == [BLOCK_POINTS] * full + [rest]
    assert curve(run.home, run.stage_id) == {step: -step for step in range(n)}


def test_a_reader_sees_a_growing_prefix_while_blocks_are_merged(run, monkeypatch):
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.001)
    monkeypatch.setattr(series, "MERGE_AFTER", 5)
    n = 3 * BLOCK_POINTS
    over = threading.Event()

    def measure() -> None:
        with recording(run) as open_recorder:
            for step in range(n):
                open_recorder.metrics(run.stage_id, step, {"loss": step / 2, "other": step})
                if step % 100 == 0:
                    over.wait(0.001)
        over.set()

    thread = threading.Thread(target=measure)
    thread.start()
    looks, last = 0, 0
    with reading(run.home) as history:
        while not over.is_set():
            points = history.points(run.stage_id, "loss")
            np.testing.assert_array_equal(points.steps, np.arange(len(points)))
            np.testing.assert_array_equal(points.values, points.steps / 2)
            assert len(points) >= last
            looks, last = looks + 1, len(points)
        thread.join()
        assert len(history.points(run.stage_id, "loss")) == n
    assert looks > 5


class CountedBlocks(curves.Curves):
    """Counts the blocks that are fetched from the file."""

    fetched = 0

    def read(self, connection, *key):
        counted = CountedBlocks

        class Connection:
            def execute(self, *arguments):
                rows = connection.execute(*arguments).fetchall()
                counted.fetched += len(rows)
                return type("Rows", (), {"fetchall": lambda _: rows})()

        return super().read(Connection(), *key)


def test_a_curve_that_has_grown_costs_its_tail_only(run, by_hand, monkeypatch):
    monkeypatch.setattr(curves, "Curves", CountedBlocks)
    with recording(run) as open_recorder, reading(run.home) as history:
        for step in range(5 * BLOCK_POINTS):
            open_recorder.metrics(run.stage_id, step, {"loss": step})
        open_recorder.flush()
        first = history.points(run.stage_id, "loss")
        assert (len(first), CountedBlocks.fetched) == (5 * BLOCK_POINTS, 5)
        for step in range(5 * BLOCK_POINTS, 5 * BLOCK_POINTS + 10):
            open_recorder.metrics(run.stage_id, step, {"loss": step})
            open_recorder.flush()
        again = history.points(run.stage_id, "loss")
        assert CountedBlocks.fetched == 5 + 10
    np.testing.assert_array_equal(again.steps, np.arange(5 * BLOCK_POINTS + 10))
    np.testing.assert_array_equal(first.values, np.arange(5 * BLOCK_POINTS))  # as it was when it was asked for
    with pytest.raises(ValueError, match="read-only"):
        again.values[0] = 7


def test_curves_that_are_not_looked_at_are_let_go(run, monkeypatch):
    monkeypatch.setattr(curves, "KEEP_POINTS", 250)
    with recording(run) as open_recorder:
        for step in range(100):
            open_recorder.metrics(run.stage_id, step, dict.fromkeys("abcde", step))
    with reading(run.home) as history:
        for name in "abcdeabcde":
            assert len(history.points(run.stage_id, name)) == 100
        assert history._curves is not None
        assert len(history._curves._known) == 2


# -- damage -----------------------------------------------------------------------------------------------


def damage(run: SmallRun, block: int) -> int:
    """Flip a bit in the n-th block; returns how many points it holds."""
    connection = open_database(run.home)
    row = connection.execute("SELECT id, n, data FROM block ORDER BY id LIMIT 1 OFFSET ?", (block,)).fetchone()
    data = bytearray(row["data"])
    data[len(data) // 2] ^= 4
    connection.execute("UPDATE block SET data = ? WHERE id = ?", (bytes(data), row["id"]))
    connection.close()
    return row["n"]


@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_damaged_block_is_counted_and_the_rest_is_read(run, by_hand, block):
    n = 2 * BLOCK_POINTS + 100
    record(run, range(n))
    lost = damage(run, block)
    with reading(run.home) as history:
        for _ in range(2):
            points = history.points(run.stage_id, "loss")
            assert (len(points), points.damaged) == (n - lost, lost)
            assert not set(range(block * BLOCK_POINTS, min(n, (block + 1) * BLOCK_POINTS))) & set(points.steps.tolist())
            np.testing.assert_array_equal(points.values, points.steps)


def test_damage_to_a_small_block_is_still_counted_after_merging(run, by_hand):
    with recording(run) as open_recorder:
        for step in range(30):
            open_recorder.metrics(run.stage_id, step, {"loss": step})
            open_recorder.flush()
        assert damage(run, 10) == 1
    with reading(run.home) as history:
        points = history.points(run.stage_id, "loss")
    assert (len(points), points.damaged) == (29, 1)
    assert block_sizes(run) == [1, 29]


# -- resumed attempts -------------------------------------------------------------------------------------


def test_a_resumed_attempt_supersedes_the_steps_it_repeats(run):
    record(run, range(1, 201))
    resumed = run.resumed(100)
    record(resumed, range(101, 151), sign=-1)
    expected = {step: float(step) for step in range(1, 101)} | {step: -float(step) for step in range(101, 151)}
    assert curve(run.home, run.stage_id) == expected


def test_a_resumed_attempt_that_has_not_begun_hides_nothing(run):
    record(run, range(1, 11))
    run.resumed(None)
    assert len(curve(run.home, run.stage_id)) == 10


def test_a_stage_begun_anew_replaces_its_curve(run):
    record(run, range(1, 11))
    record(run.resumed(0), range(1, 4), sign=-1)
    assert curve(run.home, run.stage_id) == {1: -1.0, 2: -2.0, 3: -3.0}


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(0, 60)), st.integers(0, 60)), min_size=1, max_size=6))
@settings(max_examples=20, deadline=None)
def test_attempts_resumed_in_any_order_leave_one_value_per_step(shared_run, attempts):
    uid = f"run-{np.random.default_rng().integers(2**60)}"
    run = begin(shared_run.home, uid=uid)
    expected: dict[int, float] = {}
    for number, (resume_step, length) in enumerate([(0, 20), *attempts], 1):
        if number > 1:
            run = run.resumed(resume_step)
        if resume_step is None:
            continue
        expected = {step: value for step, value in expected.items() if 0 < step <= resume_step}
        steps = range(resume_step + 1, resume_step + 1 + length)
        with recording(run) as open_recorder:
            for step in steps:
                open_recorder.metrics(run.stage_id, step, {"loss": number})
        expected |= dict.fromkeys(steps, float(number))
    assert curve(run.home, run.stage_id) == expected


def test_each_stage_has_its_own_curve_through_resumed_attempts(tmp_path):
    run = begin(Home(tmp_path), stages=3)
    record(run, range(1, 11), stage=0)
    record(run, range(1, 8), stage=1)
    resumed = run.resumed(4, stage=1)
    record(resumed, range(5, 9), stage=1, sign=-1)
    record(resumed, range(1, 4), stage=2, sign=-1)
    assert curve(run.home, run.stage_ids[0]) == {step: float(step) for step in range(1, 11)}
    assert curve(run.home, run.stage_ids[1]) == {1: 1, 2: 2, 3: 3, 4: 4, 5: -5, 6: -6, 7: -7, 8: -8}
    assert curve(run.home, run.stage_ids[2]) == {1: -1, 2: -2, 3: -3}


# -- samples ----------------------------------------------------------------------------------------------


def sample_texts(history: History, stage_id: int) -> dict[tuple[int, int], str]:
    return {(entry.step, entry.prompt_index): entry.prompt for entry in history.samples(stage_id)}


def test_samples_of_repeated_steps_are_superseded(run):
    def sample(run: SmallRun, steps: tuple[int, ...], prompt: str) -> None:
        with recording(run) as open_recorder:
            for step in steps:
                for index in range(2):
                    open_recorder.sample(run.stage_id, step, index, prompt, make_trace("a b", 0.5, step))

    sample(run, (50, 100, 100, 150), "first")
    with reading(run.home) as history:
        resumed = run.resumed(None)
        assert set(sample_texts(history, run.stage_id)) == {(s, i) for s in (50, 100, 150) for i in range(2)}
        resumed = run.resumed(100)
        assert set(sample_texts(history, run.stage_id)) == {(s, i) for s in (50, 100) for i in range(2)}
        sample(resumed, (150,), "second")
        assert sample_texts(history, run.stage_id)[100, 0] == "first"
        assert sample_texts(history, run.stage_id)[150, 1] == "second"
        entry = history.samples(run.stage_id)[-1]
        np.testing.assert_array_equal(history.sample(entry.id).ids, make_trace("a b", 0.5, 150).ids)
