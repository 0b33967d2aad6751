"""Finding runs by what people type, and what lists show of them."""

import contextlib
import time
from pathlib import Path

import pytest
from lmwb.core.errors import ExitCode, NotFoundError
from lmwb.core.history import queries
from lmwb.core.history.database import open_database
from lmwb.core.history.ledger import (
    begin_stage,
    create_run,
    describe_environment,
    end_attempt,
    end_stage,
    name_worker,
)
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from make_history import make_every_state, make_many
from small_history import begin, curve, reading, record, recording


@pytest.fixture
def history(tmp_path: Path):
    home = Home(tmp_path)
    for uid, name in (("tiny-abcde", "tiny"), ("tiny-abxyz", "tiny"), ("other-22222", "tiny-ab"), ("last-44444", "x")):
        begin(home, uid=uid, name=name)
    with reading(home) as open_history:
        yield open_history


@pytest.mark.parametrize(
    ("reference", "uid"),
    [
        ("tiny-abcde", "tiny-abcde"),  # its id
        ("tiny-abc", "tiny-abcde"),  # the start of it
        ("o", "other-22222"),
        ("tiny", "tiny-abxyz"),  # a name: the newest of that name
        ("tiny-ab", "other-22222"),  # a name before the start of an id
        ("last", "last-44444"),  # the newest
    ],
)
def test_a_run_is_found_by_what_people_type(history: History, reference, uid):
    assert history.find(reference).uid == uid


@pytest.mark.parametrize("reference", ["nothing", "TINY", "%", "tiny_abcd", "*", "\x1b[31m", "\udcff", "' OR 1 --"])
def test_a_run_that_is_not_there_gives_a_printable_sentence(history: History, reference):
    with pytest.raises(NotFoundError, match=r"there is no run '.+'; `lmwb runs` lists them") as caught:
        history.find(reference)
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == ExitCode.NOT_FOUND


@pytest.mark.parametrize(("reference", "several"), [("tiny-a", "tiny-abcde, tiny-abxyz"), ("", "tiny-abcde, ")])
def test_an_unclear_start_of_an_id_is_refused_with_the_choices(history: History, reference, several):
    with pytest.raises(NotFoundError, match=f"several runs start with '{reference}': {several}.*type more"):
        history.find(reference)


@pytest.mark.parametrize("asked", [History.run, History.recipe, History.recipe_path])
def test_a_row_id_that_is_not_there_gives_a_sentence(history: History, asked):
    with pytest.raises(NotFoundError, match="there is no run with the number 99"):
        asked(history, 99)
    with pytest.raises(NotFoundError, match="there is no sample 99"):
        history.sample(99)


def test_a_history_without_runs_has_none_to_find(tmp_path):
    with reading(Home(tmp_path)) as history:
        assert history.runs() == []
        with pytest.raises(NotFoundError):
            history.find("last")


def test_what_was_never_measured_is_empty(history: History):
    assert len(history.points(1, "loss")) == 0
    assert len(history.points(99, "loss")) == 0
    assert (history.metrics(1), history.samples(1), history.stages(99), history.environment(1)) == ({}, [], [], {})


def test_lists_show_the_newest_first_and_no_more_than_asked(history: History):
    assert [run.uid for run in history.runs()] == ["last-44444", "other-22222", "tiny-abxyz", "tiny-abcde"]
    assert [run.uid for run in history.runs(limit=2)] == ["last-44444", "other-22222"]


def test_every_state_is_told_apart(tmp_path):
    with make_every_state(Home(tmp_path)), reading(Home(tmp_path)) as history:
        found = {run.name: run.state for run in history.runs()}
        assert all(run.uid == history.find(run.uid).uid for run in history.runs())
    assert found == {
        "probe · seed 0": "died",
        "strategies": "finished",
        "lora · rank 4": "stopped",
        "full · seed 0": "finished",
        "glove baseline": "failed",
        "remote sweep": "elsewhere",
        "lora · seed 1": "running",
        "warming up": "starting",
        "quickstart": "running",
    }


def test_only_runs_that_have_not_ended_are_asked_whether_they_live(tmp_path, monkeypatch):
    asked: list[Path] = []
    monkeypatch.setattr(queries, "lock_is_held", lambda folder: bool(asked.append(folder)))
    make_many(Home(tmp_path), 50)
    begin(Home(tmp_path))
    with reading(Home(tmp_path)) as history:
        assert len(history.runs()) == 51
    assert [folder.name for folder in asked] == ["small-22222"]


def test_a_look_holds_up_no_writer_and_sees_what_it_wrote(tmp_path):
    run = begin(Home(tmp_path))
    with reading(run.home) as history, contextlib.closing(open_database(run.home)) as connection:
        versions = {history.version()}
        for number in range(5):
            history.runs()
            history.points(run.stage_id, "loss")
            name_worker(connection, run.attempt_id, 100 + number, None)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            assert history.run(run.run_id).pid == 100 + number
            versions.add(history.version())
    assert len(versions) == 6


def test_a_run_through_two_stages_and_two_attempts(tmp_path):
    run = begin(Home(tmp_path), stages=2)
    with contextlib.closing(open_database(run.home)) as connection:
        name_worker(connection, run.attempt_id, 77, 88)
        describe_environment(connection, run.attempt_id, {"torch": "2.9", "odd": "\udcff"}, b"diff")
        record(run, range(1, 5))
        end_stage(connection, run.stage_id, {"loss": 1.5})
        begin_stage(connection, run.stage_ids[1], 500, run.attempt_id, 0)
        end_attempt(connection, run.attempt_id, "stopped", 6)
        resumed = run.resumed(3, stage=1)
        describe_environment(connection, resumed.attempt_id, {"torch": "2.9", "odd": "\udcff"}, b"diff")
        with recording(resumed) as open_recorder:
            open_recorder.progress(run.stage_ids[1], 4, 500, "training", 2.0)
        with reading(run.home) as history:
            found = history.run(run.run_id)
            first, second = history.stages(run.run_id)
            assert (first.outcome, first.summary, second.outcome, second.total) == (
                "finished",
                {"loss": 1.5},
                None,
                1000,
            )
            assert (found.attempts, found.stage, found.step, found.total) == (2, "stage-1", 4, 500)
            assert history.environment(run.run_id)["torch"] == "2.9"
            assert found.created_us <= (found.started_us or 0) <= time.time() * 1e6
            assert found.seconds_left is None
        assert connection.execute("SELECT count(*) FROM environment").fetchone()[0] == 1
    assert len(curve(run.home, run.stage_id)) == 4


def test_members_belong_to_their_run_and_do_not_stand_in_for_it(tmp_path):
    home = Home(tmp_path)
    with contextlib.closing(open_database(home)) as connection:
        parent = create_run(connection, "sweep-aaaaa", "sweep", 'name = "sweep"', [])
        first = create_run(connection, "sweep-aaaaa-1", "sweep", 'name = "sweep"', [], None, parent, "seed 1")
        create_run(connection, "sweep-aaaaa-2", "sweep", 'name = "sweep"', [], None, parent, "seed 2")
    with reading(home) as history:
        assert [run.uid for run in history.runs()] == ["sweep-aaaaa-2", "sweep-aaaaa-1", "sweep-aaaaa"]
        assert [run.uid for run in history.runs(members=False)] == ["sweep-aaaaa"]
        assert [(run.uid, run.parent_id, run.member) for run in history.members(parent)] == [
            ("sweep-aaaaa-1", parent, "seed 1"),
            ("sweep-aaaaa-2", parent, "seed 2"),
        ]
        assert history.members(first) == []
        for reference in ("last", "sweep", "sweep-", "sweep-aaaaa"):
            assert history.find(reference).id == parent
        assert history.find("sweep-aaaaa-1").id == first
