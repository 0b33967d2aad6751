"""Runs with members as real processes: members fail, are killed, go on, and are left alone once they have finished."""

import contextlib
import json
import os
import signal
import time

import psutil
import pytest
import tiny
from lmwb.core import runs
from lmwb.core.errors import UsageError
from lmwb.core.history.queries import OPEN_STATES, History
from lmwb.core.home import Home
from lmwb.core.recipe import load

RECIPE = """
name = "several"
seeds = [1, 2, 3]
jobs = 2
model = { type = "gpt2", config = { n_layer = 1, n_head = 2, n_embd = 16, n_positions = 32 } }
tokenizer = { kind = "bpe", vocab_size = 300 }
data = { train = "corpus.txt", block_size = 16 }
train = { steps = STEPS, batch_size = 4, eval_every = 50, checkpoint_every = 20, result = "last" }
"""


@pytest.fixture
def home(tmp_path):
    """A home whose runs end with the test."""
    home = Home(tmp_path / "home")
    yield home
    with contextlib.closing(History(home)) as history:
        for run in history.runs():
            if run.state in OPEN_STATES and run.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(run.pid, signal.SIGKILL)


def recipe(tmp_path, *overrides, steps=40):
    (tmp_path / "corpus.txt").write_text("\n\n".join(tiny.texts(200)))
    path = tmp_path / "several.toml"
    path.write_text(RECIPE.replace("STEPS", str(steps)))
    return load(path, list(overrides))


def wait(home, run, until, seconds=200):
    """Look at the history until the run and its members are as wanted; returns both."""
    deadline = time.monotonic() + seconds
    with contextlib.closing(History(home)) as history:
        while time.monotonic() < deadline:
            now, members = history.run(run.id), history.members(run.id)
            if until(now, members):
                return now, members
            time.sleep(0.05)
    raise AssertionError(f"waited in vain for {now}\n{members}\n{runs.log_file(run).read_text()}")


def ended(run, _):
    return run.state not in OPEN_STATES


def compared(run, stage="compare"):
    return json.loads((run.folder / stage / "compare.json").read_text())


@pytest.mark.slow
def test_a_member_that_fails_stops_nobody_and_finished_ones_are_not_run_again(tmp_path, home):
    loaded = recipe(tmp_path, "seeds=", "data.block_size=16,64")  # the model takes 32 tokens
    run, members = wait(home, runs.launch(home, loaded), ended)
    assert [member.member for member in members] == ["block_size 16", "block_size 64"]
    assert [member.state for member in members] == ["finished", "failed"]
    assert (run.state, run.exit_code) == ("failed", 5)
    assert run.message.startswith(
        "1 of 2 members has not finished: block_size 64 has failed: --set data.block_size=16,64"
    )
    (row, without) = compared(run)["rows"]
    assert (row["label"], row["n"], row["missing"]) == ("block_size 16", 1, [])
    assert (without["n"], without["mean"], len(without["missing"])) == (0, None, 1)
    assert (run.folder / "compare" / "metric.png").stat().st_size > 1000

    again, members = wait(home, runs.resume(home, run), ended)
    assert (again.state, again.attempts) == ("failed", 2)
    assert [(member.state, member.attempts) for member in members] == [("finished", 1), ("failed", 2)]
    with contextlib.closing(History(home)) as history:
        assert any("2 members, 1 have finished" in event.text for event in history.events(run.id))


@pytest.mark.slow
def test_a_recipe_that_fits_no_member_is_told_as_such(tmp_path, home):
    run, _ = wait(home, runs.launch(home, recipe(tmp_path, "seeds=1,2", "data.block_size=64")), ended)
    assert (run.state, run.exit_code) == ("failed", 2)
    assert run.message.startswith("--set data.block_size=64: block_size 64 is more than the 32 tokens")


@pytest.mark.slow
def test_killed_members_are_tried_again_and_the_others_left_alone(tmp_path, home):
    run = runs.launch(home, recipe(tmp_path, steps=300))
    run, members = wait(home, run, lambda _, members: any(m.state == "running" and m.step > 20 for m in members))
    victim = next(member for member in members if member.state == "running" and member.step > 20)
    os.kill(victim.pid, signal.SIGKILL)
    run, members = wait(home, run, ended)
    assert run.state == "failed"
    assert "1 of 3 members has not finished" in run.message
    assert f"{victim.member} has died: killed by SIGKILL" in run.message
    assert [row["n"] for row in compared(run)["rows"]] == [2]

    run, members = wait(home, runs.resume(home, run), ended)
    assert run.state == "finished", run.message
    assert {member.uid: member.attempts for member in members} == {
        member.uid: 1 + (member.uid == victim.uid) for member in members
    }
    (row,) = compared(run)["rows"]
    assert (row["n"], row["seeds"]) == (3, [1, 2, 3])
    with pytest.raises(UsageError, match="has finished"):
        runs.resume(home, run)


@pytest.mark.slow
def test_members_outlive_the_death_of_their_parent_which_takes_them_up_again(tmp_path, home):
    run = runs.launch(home, recipe(tmp_path, steps=1500))
    run, members = wait(home, run, lambda _, members: sum(m.state == "running" and m.step > 0 for m in members) == 2)
    supervisor = psutil.Process(run.pid).parent()
    supervisor.kill()
    os.kill(run.pid, signal.SIGKILL)
    run, members = wait(home, run, ended)
    assert run.state == "died"
    assert [member.state for member in members] == ["running", "running"]

    run, members = wait(home, runs.resume(home, run), ended)
    assert run.state == "finished", run.message
    assert [(member.state, member.attempts) for member in members] == [("finished", 1)] * 3
    with contextlib.closing(History(home)) as history:
        assert any("3 members, 2 still run" in event.text for event in history.events(run.id))


@pytest.mark.slow
def test_a_stopped_run_stops_its_members_and_goes_on_where_they_were(tmp_path, home):
    run = runs.launch(home, recipe(tmp_path, steps=1500))
    run, _ = wait(home, run, lambda _, members: sum(m.state == "running" and m.step > 0 for m in members) == 2)
    runs.stop(run)
    run, members = wait(home, run, ended)
    assert (run.state, run.exit_code) == ("stopped", 6)
    assert [member.state for member in members] == ["stopped", "stopped"]
    before = [member.step for member in members]

    run, members = wait(home, runs.resume(home, run), ended)
    assert run.state == "finished", run.message
    assert [member.attempts for member in members] == [2, 2, 1]
    with contextlib.closing(History(home)) as history:
        for member, step in zip(members, before, strict=False):
            assert f"going on from checkpoint step-{step:06d}" in [event.text for event in history.events(member.id)]


@pytest.mark.slow
def test_a_plain_run_compares_its_own_stages(tmp_path, home):
    text = RECIPE.replace("STEPS", "20").replace("seeds = [1, 2, 3]\njobs = 2\n", "")
    name, *lines = text.strip().splitlines()
    (tmp_path / "corpus.txt").write_text("\n\n".join(tiny.texts(200)))
    stage = "\n".join(lines)
    path = tmp_path / "two.toml"
    faster = stage.replace("steps", "lr = 1e-2, steps")
    path.write_text(
        f'{name}\nlog = {{ tensorboard = true }}\n[[stage]]\nname = "a"\n{stage}\n[[stage]]\nname = "b"\n{faster}\n'
        '[[stage]]\nkind = "compare"\nfigures = ["pdf"]\nbaseline = "b"\n'
    )
    run, members = wait(home, runs.launch(home, load(path)), ended)
    assert (run.state, members) == ("finished", []), run.message
    table = compared(run)
    assert [(row["label"], row["n"]) for row in table["rows"]] == [("a", 1), ("b", 1)]
    assert table["baseline"] == "b"
    assert "one seed each" in (run.folder / "compare" / "compare.md").read_text()
    assert (run.folder / "compare" / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert [len(list((run.folder / stage / "tensorboard").iterdir())) for stage in ("a", "b")] == [1, 1]
