"""Who is alive: the lock and the boot tell, whatever the record says."""

import contextlib
import dataclasses
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lmwb.core.history import queries
from lmwb.core.history.database import open_database
from lmwb.core.history.ledger import Identity, Outcome, end_attempt, name_worker
from lmwb.core.history.liveness import (
    keep_from_children,
    lock_is_held,
    process_started,
    take_lock,
    this_machine,
)
from lmwb.core.history.queries import State
from lmwb.core.home import Home
from small_history import FORKED, SmallRun, begin, in_process, reading


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    return begin(Home(tmp_path))


@pytest.fixture
def folder(run: SmallRun) -> Path:
    return run.home.run_folder("small-22222")


def state(run: SmallRun) -> State:
    with reading(run.home) as history:
        return history.run(run.run_id).state


def pretend(run: SmallRun, **identity: str) -> None:
    """The attempt was begun by a machine that differs from this one like this."""
    here = dataclasses.replace(this_machine(), **identity)
    with contextlib.closing(open_database(run.home)) as connection:
        connection.execute("UPDATE attempt SET host = ?, machine = ?, boot = ?", dataclasses.astuple(here))


def in_time(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_a_run_lives_as_long_as_its_lock_is_held(run, folder):
    lock = take_lock(folder)
    assert lock is not None
    assert state(run) == "starting"
    assert take_lock(folder) is None
    with contextlib.closing(run.recorder()) as open_recorder:
        open_recorder.flush()
    assert state(run) == "running"
    os.close(lock)
    assert state(run) == "died"
    again = take_lock(folder)
    assert again is not None
    os.close(again)


def test_a_run_that_was_entered_but_never_begun_has_died(run):
    with contextlib.closing(open_database(run.home)) as connection:
        connection.execute("DELETE FROM beat")
        connection.execute("DELETE FROM attempt")
    assert state(run) == "died"


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("finished", "finished"), ("stopped", "stopped"), ("failed", "failed"), ("killed", "died")],
)
def test_what_ended_has_ended_even_if_the_lock_is_still_held(run, folder, outcome: Outcome, expected):
    lock = take_lock(folder)
    with contextlib.closing(open_database(run.home)) as connection:
        end_attempt(connection, run.attempt_id, outcome)
    assert state(run) == expected
    assert lock is not None
    os.close(lock)


def test_the_first_verdict_stays_and_later_ones_add_what_was_not_known(run):
    with contextlib.closing(open_database(run.home)) as connection:
        end_attempt(connection, run.attempt_id, "failed", message="out of memory")
        end_attempt(connection, run.attempt_id, "killed", signal=9, message="killed by SIGKILL")
    with reading(run.home) as history:
        found = history.run(run.run_id)
    assert (found.state, found.signal, found.message) == ("failed", 9, "out of memory")


def test_a_reboot_ends_a_run(run, folder):
    lock = take_lock(folder)
    pretend(run, boot="an earlier boot")
    assert state(run) == "died"
    assert lock is not None
    os.close(lock)


@pytest.mark.parametrize(
    "identity",
    [
        {"boot": "another", "host": "another", "machine": "another"},
        {"boot": "another", "machine": "another"},  # of the same name
        {"boot": "another", "host": "another"},  # made from the same disk image
    ],
)
def test_of_a_run_on_another_machine_nothing_is_claimed(run, identity, monkeypatch):
    monkeypatch.setattr(queries, "this_machine", lambda: Identity("here", "1234", "this boot"))
    pretend(run, **{"boot": "another", "host": "here", "machine": "1234"} | identity)
    assert state(run) == "elsewhere"


def test_in_another_container_of_the_same_boot_the_lock_tells(run, folder):
    pretend(run, host="3f1c0a", machine="another")
    assert state(run) == "died"
    lock = take_lock(folder)
    assert state(run) == "starting"
    assert lock is not None
    os.close(lock)


def test_a_pid_that_is_used_again_proves_nothing(run, folder):
    with contextlib.closing(open_database(run.home)) as connection:
        name_worker(connection, run.attempt_id, os.getpid(), process_started(os.getpid()))
    assert state(run) == "died"


def test_who_may_not_look_declares_nobody_dead(run, folder, monkeypatch):
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    assert not lock_is_held(folder / "nowhere")
    monkeypatch.setattr(os, "open", refused)
    assert lock_is_held(folder)


def test_looking_does_not_stand_in_the_way_of_beginning(run, folder):
    """Whoever looks holds a shared lock for an instant."""
    lock = take_lock(folder)
    assert lock is not None
    os.close(lock)
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            lock_is_held(folder)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            lock = take_lock(folder)
            assert lock is not None
            os.close(lock)
    finally:
        over.set()
        for looker in lookers:
            looker.join()


# -- processes --------------------------------------------------------------------------------------------


def hold(folder: Path, begun, forks: bool) -> None:
    lock = take_lock(folder)
    assert lock is not None
    os.set_inheritable(lock, True)  # as it is for the supervisor, which got it from its parent
    keep_from_children(lock)
    if forks:  # a data loader's worker, and a program that a library starts
        in_process(time.sleep, 60)
        os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "60")
    begun.set()
    time.sleep(60)


@pytest.mark.parametrize("forks", [False, True])
def test_kill_9_frees_the_lock_whatever_children_live_on(run, folder, forks):
    begun = FORKED.Event()
    process = FORKED.Process(target=hold, args=(folder, begun, forks))
    process.start()
    assert begun.wait(20)
    assert state(run) == "starting"
    children = process_children(process.pid)
    assert len(children) == 2 * forks
    process.kill()
    process.join()
    try:
        assert in_time(lambda: state(run) == "died", 2)
        assert all(Path(f"/proc/{child}").exists() for child in children)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


def fork_twice(folder: Path) -> None:
    lock = take_lock(folder)
    assert lock is not None
    keep_from_children(lock)
    child = FORKED.Process(target=open_and_fork, args=(folder, lock))
    child.start()
    child.join()
    assert child.exitcode == 0


def open_and_fork(folder: Path, lock: int) -> None:
    """A descriptor of the same number is another file by now, and stays open in a child."""
    os.dup2(os.open(folder / "other", os.O_RDWR | os.O_CREAT), lock)
    child = in_process(expect_file, lock, folder / "other")
    child.join()
    assert child.exitcode == 0


def expect_file(descriptor: int, path: Path) -> None:
    assert os.path.samestat(os.fstat(descriptor), path.stat())


def test_in_a_childs_child_no_other_file_is_closed(folder):
    process = FORKED.Process(target=fork_twice, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == 0


def process_children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


WORKER = "import time, sys; print('begun', flush=True); time.sleep(60)"


def test_a_run_whose_supervisor_and_worker_are_killed_is_shown_as_died(run, folder):
    """Both hold the lock; that one of them is left keeps the run alive."""
    lock = take_lock(folder)
    assert lock is not None
    holders = [
        subprocess.Popen([sys.executable, "-c", WORKER], pass_fds=(lock,), stdout=subprocess.PIPE) for _ in range(2)
    ]
    os.close(lock)
    assert state(run) == "starting"
    holders[0].kill()
    holders[0].wait()
    assert state(run) == "starting"
    holders[1].kill()
    assert in_time(lambda: state(run) == "died", 2)
    for holder in holders:
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()


def test_a_stopped_process_is_alive(run, folder):
    lock = take_lock(folder)
    assert lock is not None
    holder = subprocess.Popen(["sleep", "60"], pass_fds=(lock,))
    os.close(lock)
    holder.send_signal(signal.SIGSTOP)
    assert state(run) == "starting"
    holder.kill()
    holder.wait()


def test_a_process_is_told_apart_from_a_later_one_of_the_same_number():
    first = subprocess.Popen(["sleep", "60"])
    started = process_started(first.pid)
    assert started is not None
    assert started == process_started(first.pid)
    assert started >= (process_started(os.getpid()) or 0)
    first.kill()
    first.wait()
    assert process_started(first.pid) is None


def test_the_lock_of_this_process_is_no_riddle_to_itself(folder):
    lock = take_lock(folder)
    assert lock is not None
    assert lock_is_held(folder)
    assert not os.get_inheritable(lock)
    fcntl.flock(lock, fcntl.LOCK_UN)
    assert not lock_is_held(folder)
    os.close(lock)
