"""The write side for the rare, weighty facts: a run is created, an attempt begins or ends, a stage is done.

Each function is one transaction. What arrives by the thousand goes through `recorder` instead.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .database import now_us, storable, writing

Outcome = Literal["finished", "stopped", "failed", "killed"]


@dataclass(frozen=True)
class Identity:
    """Which machine, and which boot of it, a process belongs to."""

    host: str
    machine: str
    boot: str


@dataclass(frozen=True)
class StagePlan:
    """A stage as the recipe names it."""

    name: str
    kind: str


def create_run(
    connection: sqlite3.Connection,
    uid: str,
    name: str,
    recipe_toml: str,
    stages: Sequence[StagePlan],
    recipe_path: str | None = None,
    parent_id: int | None = None,
    member: str | None = None,
) -> int:
    """Enter a run and its stages; returns the run's row id.

    A member of another run names that run's row as `parent_id`, and says in `member` which one it is.
    """
    path = None if recipe_path is None else storable(recipe_path)
    label = None if member is None else storable(member)
    with writing(connection):
        run_id = connection.execute(
            "INSERT INTO run (uid, name, created_us, recipe_path, recipe_toml, recipe_hash, parent_id, member) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (uid, storable(name), now_us(), path, recipe_toml, _hash(recipe_toml), parent_id, label),
        ).lastrowid
        assert run_id is not None
        connection.executemany(
            "INSERT INTO stage (run_id, position, name, kind) VALUES (?, ?, ?, ?)",
            [(run_id, position, stage.name, stage.kind) for position, stage in enumerate(stages)],
        )
    return run_id


def begin_attempt(connection: sqlite3.Connection, run_id: int, identity: Identity) -> int:
    """Enter a new try at the run; returns the attempt's row id."""
    with writing(connection):
        attempt_id = connection.execute(
            "INSERT INTO attempt (run_id, sequence, host, machine, boot, started_us) "
            "SELECT ?, coalesce(max(sequence) + 1, 0), ?, ?, ?, ? FROM attempt WHERE run_id = ?",
            (run_id, identity.host, identity.machine, identity.boot, now_us(), run_id),
        ).lastrowid
    assert attempt_id is not None
    return attempt_id


def name_worker(connection: sqlite3.Connection, attempt_id: int, pid: int, pid_started: int | None) -> None:
    """Say which process does the work."""
    with writing(connection):
        connection.execute("UPDATE attempt SET pid = ?, pid_started = ? WHERE id = ?", (pid, pid_started, attempt_id))


def describe_environment(
    connection: sqlite3.Connection, attempt_id: int, facts: Mapping[str, Any], diff: bytes | None
) -> None:
    """Keep what the attempt runs on; equal environments are stored once."""
    text = json.dumps(facts, sort_keys=True)
    digest = hashlib.sha256(text.encode() + b"\0" + (diff or b"")).hexdigest()
    with writing(connection):
        connection.execute(
            "INSERT OR IGNORE INTO environment (hash, facts, diff) VALUES (?, ?, ?)", (digest, text, diff)
        )
        connection.execute(
            "UPDATE attempt SET environment_id = (SELECT id FROM environment WHERE hash = ?) WHERE id = ?",
            (digest, attempt_id),
        )


def begin_stage(
    connection: sqlite3.Connection, stage_id: int, total: int | None, attempt_id: int, resume_step: int
) -> None:
    """A stage's work starts, or goes on from `resume_step` (0: from its beginning)."""
    with writing(connection):
        connection.execute(
            "UPDATE stage SET started_us = coalesce(started_us, ?), total = ? WHERE id = ?",
            (now_us(), total, stage_id),
        )
        connection.execute(
            "UPDATE attempt SET resume_stage_id = ?, resume_step = ? WHERE id = ? AND resume_stage_id IS NULL",
            (stage_id, resume_step, attempt_id),
        )


def end_stage(connection: sqlite3.Connection, stage_id: int, summary: Mapping[str, Any]) -> None:
    """A stage is done; `summary` is what a reader wants to know of it."""
    with writing(connection):
        connection.execute(
            "UPDATE stage SET ended_us = ?, outcome = 'finished', summary = ? WHERE id = ?",
            (now_us(), json.dumps(summary), stage_id),
        )


def end_attempt(
    connection: sqlite3.Connection,
    attempt_id: int,
    outcome: Outcome,
    exit_code: int | None = None,
    signal: int | None = None,
    message: str | None = None,
) -> None:
    """An attempt is over. The first verdict stays; a later call only adds what was not known."""
    text = None if message is None else storable(message)
    with writing(connection):
        connection.execute(
            "UPDATE attempt SET ended_us = coalesce(ended_us, ?), outcome = coalesce(outcome, ?), "
            "exit_code = coalesce(exit_code, ?), signal = coalesce(signal, ?), message = coalesce(message, ?) "
            "WHERE id = ?",
            (now_us(), outcome, exit_code, signal, text, attempt_id),
        )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
