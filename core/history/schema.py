"""The tables of the history, as migrations.

Each step of `MIGRATIONS` is applied once, in order, and is never changed afterwards: a new wish is a new
step. Times are whole microseconds since 1970 (UTC). A metric's points live in rows of `block`: small ones as
they arrive, which are merged into compressed ones of `BLOCK_POINTS` points.
"""

from typing import Any

from sqlite_utils.migrations import Migrations

MIGRATIONS = Migrations("lmwb")


@MIGRATIONS()
def first_light(db: Any) -> None:
    """Runs, their attempts and stages, and what a stage leaves behind."""
    db["environment"].create(
        {"id": int, "hash": str, "facts": str, "diff": bytes}, pk="id", not_null={"hash", "facts"}, strict=True
    )
    db["environment"].create_index(["hash"], unique=True)
    db["run"].create(
        {
            "id": int,
            "uid": str,
            "name": str,
            "created_us": int,
            "recipe_path": str,  # where the user's file was
            "recipe_toml": str,  # frozen, complete
            "recipe_hash": str,
            "parent_id": int,
        },
        pk="id",
        not_null={"uid", "name", "created_us", "recipe_toml", "recipe_hash"},
        foreign_keys=[("parent_id", "run", "id")],
        strict=True,
    )
    db["run"].create_index(["uid"], unique=True)
    db["run"].create_index(["name"])
    db["attempt"].create(
        {
            "id": int,
            "run_id": int,
            "sequence": int,  # 0 is the first, each resume is one more
            "host": str,
            "machine": str,
            "boot": str,
            "pid": int,  # of the worker
            "pid_started": int,  # clock ticks after boot: tells a reused pid from the real one
            "environment_id": int,
            "started_us": int,
            "ended_us": int,
            "outcome": str,  # finished, stopped, failed, killed; NULL while it is open
            "exit_code": int,
            "signal": int,
            "message": str,
            "resume_stage_id": int,
            "resume_step": int,
        },
        pk="id",
        not_null={"run_id", "sequence", "host", "boot", "started_us"},
        foreign_keys=[("run_id", "run", "id"), ("environment_id", "environment", "id")],
        strict=True,
    )
    db["attempt"].create_index(["run_id", "sequence"], unique=True)
    db["beat"].create(
        {"attempt_id": int, "sequence": int, "stage_id": int, "step": int, "total": int, "phase": str, "speed": float},
        pk="attempt_id",
        foreign_keys=[("attempt_id", "attempt", "id")],
        strict=True,
    )
    db["stage"].create(
        {
            "id": int,
            "run_id": int,
            "position": int,
            "name": str,
            "kind": str,
            "started_us": int,
            "ended_us": int,
            "outcome": str,  # finished; NULL until then
            "total": int,  # steps
            "summary": str,  # JSON object of results
        },
        pk="id",
        not_null={"run_id", "position", "name", "kind"},
        foreign_keys=[("run_id", "run", "id")],
        strict=True,
    )
    db["stage"].create_index(["run_id", "position"], unique=True)
    db["metric"].create({"id": int, "name": str}, pk="id", not_null={"name"}, strict=True)
    db["metric"].create_index(["name"], unique=True)
    series = {"stage_id": int, "metric_id": int, "attempt_id": int}
    db["block"].create(
        {"id": int, **series, "n": int, "step_first": int, "step_last": int, "data": bytes, "crc": int},
        pk="id",
        strict=True,
    )
    db["block"].create_index(["stage_id", "metric_id", "attempt_id"])
    db["latest"].create(
        {
            "stage_id": int,
            "metric_id": int,
            "step": int,
            "value": float,  # NULL is NaN
            "minimum": float,  # of the finite values, NULL if there are none
            "minimum_step": int,
            "maximum": float,
            "n": int,
        },
        pk=("stage_id", "metric_id"),
        strict=True,
    )
    db["latest"].create_index(["metric_id", "value"])
    db["event"].create(
        {
            "id": int,
            "run_id": int,
            "attempt_id": int,
            "stage_id": int,
            "t_us": int,
            "step": int,
            "level": str,  # info, warning, error
            "kind": str,
            "text": str,
        },
        pk="id",
        not_null={"run_id", "t_us", "level", "kind", "text"},
        foreign_keys=[("run_id", "run", "id")],
        strict=True,
    )
    db["event"].create_index(["run_id"])
    db["checkpoint"].create(
        {
            "id": int,
            "stage_id": int,
            "attempt_id": int,
            "step": int,
            "path": str,  # relative to the run's folder
            "bytes": int,
            "best": int,
            "metrics": str,
            "created_us": int,
            "deleted_us": int,
        },
        pk="id",
        not_null={"stage_id", "step", "path"},
        foreign_keys=[("stage_id", "stage", "id")],
        strict=True,
    )
    db["checkpoint"].create_index(["stage_id", "step"])
    db["sample"].create(
        {
            "id": int,
            "stage_id": int,
            "attempt_id": int,
            "step": int,
            "prompt_index": int,
            "prompt": str,
            "text": str,
            "tokens": bytes,
            "t_us": int,
        },
        pk="id",
        not_null={"stage_id", "step", "prompt_index", "tokens"},
        foreign_keys=[("stage_id", "stage", "id")],
        strict=True,
    )
    db["sample"].create_index(["stage_id", "prompt_index", "step"])


@MIGRATIONS()
def members(db: Any) -> None:
    """A run may have members: runs of their own, for one seed and one choice of values each."""
    db["run"].add_column("member", str)  # which one it is, in words: "seed 1"
    db["run"].create_index(["parent_id"])
