"""Reading the history: runs and their state, curves, samples, events.

Damage is told, never hidden and never fatal for the rest: `points` leaves out blocks whose checksum is wrong
and counts them, `sample` raises ValueError, and a file that SQLite itself cannot read is a `MachineError`.

A `History` holds a connection that cannot write and keeps no transaction open between calls, so it never
stands in a writer's way. It is safe to use from one thread at a time.
"""

import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotFoundError
from ..home import Home
from ..text import printable
from .database import explained, open_for_reading, storable
from .liveness import lock_is_held, this_machine
from .records import OPEN_STATES, Checkpoint, Event, Figure, Latest, Run, SampleEntry, Stage, State
from .results import telling_figure

if TYPE_CHECKING:
    from ..tokens import TokenTrace
    from .blocks import Points
    from .curves import Curves

__all__ = ["OPEN_STATES", "Checkpoint", "Event", "Figure", "History", "Latest", "Run", "SampleEntry", "Stage", "State"]

_FIRST_STEP, _LAST_STEP = -(2**63), 2**63 - 1

_RUNS = """
SELECT run.id, run.uid, run.name, run.created_us, run.parent_id, run.member,
       attempt.id AS attempt_id, attempt.sequence, attempt.host, attempt.machine, attempt.boot,
       attempt.pid, attempt.started_us, attempt.ended_us, attempt.outcome, attempt.exit_code, attempt.signal,
       attempt.message,
       beat.sequence AS beats, beat.stage_id, beat.phase, beat.step, beat.total, beat.speed, stage.name AS stage,
       (SELECT value FROM latest WHERE latest.stage_id = beat.stage_id
          AND metric_id = (SELECT id FROM metric WHERE name = 'train/loss')) AS loss,
       CASE attempt.outcome WHEN 'finished' THEN
         (SELECT summary FROM stage WHERE run_id = run.id AND summary IS NOT NULL
          ORDER BY kind = 'compare', position DESC LIMIT 1) END AS summary
FROM run
LEFT JOIN attempt ON attempt.id = (SELECT id FROM attempt WHERE run_id = run.id ORDER BY sequence DESC LIMIT 1)
LEFT JOIN beat ON beat.attempt_id = attempt.id
LEFT JOIN stage ON stage.id = beat.stage_id
"""


class History:
    """Everything that is known about the runs of one home."""

    def __init__(self, home: Home):
        """Open the history for reading; makes an empty one if there is none.

        Raises:
            MachineError: it cannot be opened or was written by a newer lmwb.
        """
        self.home = home
        self._connection = open_for_reading(home)
        self._curves: Curves | None = None

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def version(self) -> int:
        """A number that changes whenever somebody has written (7 µs to read)."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def runs(self, limit: int | None = None, members: bool = True) -> list[Run]:
        """The newest runs, newest first; all of them without a limit. Members of other runs can be left out."""
        only = "" if members else "WHERE run.parent_id IS NULL"
        rows = self._all(f"{_RUNS} {only} ORDER BY run.id DESC LIMIT ?", -1 if limit is None else limit)
        return [self._run(row) for row in rows]

    def members(self, run_id: int) -> list[Run]:
        """The members of a run that have been launched, in that order; none if it is a run without members."""
        return [self._run(row) for row in self._all(f"{_RUNS} WHERE run.parent_id = ? ORDER BY run.id", run_id)]

    def find(self, reference: str) -> Run:
        """The run that a person means: its id, the start of its id, a name (its newest run), or ``last``.

        Members of other runs are meant only by their whole id, or by the start of it if nothing else begins like that.

        Raises:
            NotFoundError: there is none, or several ids start like this.
        """
        reference = storable(reference)
        if reference == "last":
            rows = self._all(f"{_RUNS} WHERE run.parent_id IS NULL ORDER BY run.id DESC LIMIT 1")
        else:
            rows = self._all(f"{_RUNS} WHERE run.uid = ?", reference)
            rows = rows or self._all(
                f"{_RUNS} WHERE run.name = ? AND run.parent_id IS NULL ORDER BY run.id DESC LIMIT 1", reference
            )
            rows = rows or self._all(f"{_RUNS} WHERE substr(run.uid, 1, ?) = ?", len(reference), reference)
            rows = [row for row in rows if row["parent_id"] is None] or rows
        if len(rows) > 1:
            uids = ", ".join(row["uid"] for row in rows[:5])
            raise NotFoundError(f"several runs start with '{printable(reference)}': {uids}; type more of the id")
        if not rows:
            raise NotFoundError(f"there is no run '{printable(reference)}'; `lmwb runs` lists them")
        return self._run(rows[0])

    def run(self, run_id: int) -> Run:
        """One run by its row id.

        Raises:
            NotFoundError: there is none.
        """
        return self._run(self._of_run(_RUNS, run_id))

    def recipe(self, run_id: int) -> str:
        """The run's frozen recipe, as TOML."""
        return str(self._of_run("SELECT recipe_toml FROM run", run_id)[0])

    def recipe_path(self, run_id: int) -> Path | None:
        """The file that the user started the run from."""
        path = self._of_run("SELECT recipe_path FROM run", run_id)[0]
        return None if path is None else Path(path)

    def stages(self, run_id: int) -> list[Stage]:
        """The run's stages in order."""
        rows = self._all(
            "SELECT id, name, kind, total, outcome, summary FROM stage WHERE run_id = ? ORDER BY position", run_id
        )
        return [
            Stage(row["id"], row["name"], row["kind"], row["total"], row["outcome"], json.loads(row["summary"] or "{}"))
            for row in rows
        ]

    def metrics(self, stage_id: int) -> dict[str, Latest]:
        """Each metric's latest value, by name."""
        rows = self._all(
            "SELECT metric.name, latest.* FROM latest JOIN metric ON metric.id = metric_id "
            "WHERE stage_id = ? ORDER BY name",
            stage_id,
        )
        return {
            row["name"]: Latest(
                row["step"],
                _number(row["value"]),
                _number(row["minimum"]),
                row["minimum_step"],
                _number(row["maximum"]),
                row["n"],
            )
            for row in rows
        }

    def points(self, stage_id: int, metric: str) -> "Points":
        """A metric's whole curve, ordered by step.

        Where a resumed attempt measured again what an earlier one had measured, the later one counts. Points
        in damaged blocks are left out and counted in `Points.damaged`. The arrays cannot be written to. Asked
        again, it reads only what has come since.
        """
        import numpy as np

        from .blocks import Points
        from .curves import Curves

        self._curves = self._curves or Curves()
        metric_row = self._one("SELECT id FROM metric WHERE name = ?", storable(metric))
        if metric_row is None:
            return Points.joined([])
        parts: list[Points] = []
        for attempt_id, first, below in self._segments(stage_id):
            with explained("read", self.home.database):
                part = self._curves.read(self._connection, stage_id, metric_row[0], attempt_id)
            if first > _FIRST_STEP or below < _LAST_STEP:
                part = part.where((part.steps >= first) & (part.steps < below))
            if len(part) or part.damaged:
                parts.append(part)
        points = parts[0] if len(parts) == 1 else Points.joined(parts)
        if np.all(points.steps[1:] >= points.steps[:-1]):
            return points
        return points.where(np.argsort(points.steps, kind="stable"))

    def samples(self, stage_id: int) -> list[SampleEntry]:
        """Which samples there are, by step and prompt; those that count, as with `points`."""
        segments = {attempt_id: (first, below) for attempt_id, first, below in self._segments(stage_id)}
        rows = self._all(
            "SELECT id, step, prompt_index, prompt, attempt_id FROM sample WHERE stage_id = ? "
            "ORDER BY step, prompt_index, id",
            stage_id,
        )
        chosen: dict[tuple[int, int], SampleEntry] = {}
        for *entry, attempt_id in rows:
            first, below = segments.get(attempt_id, (_FIRST_STEP, _LAST_STEP))
            sample = SampleEntry(*entry)
            if first <= sample.step < below:
                chosen[sample.step, sample.prompt_index] = sample
        return list(chosen.values())

    def sample(self, sample_id: int) -> "TokenTrace":
        """A sample's tokens.

        Raises:
            NotFoundError: there is none with this row id.
            ValueError: the record is damaged.
        """
        from ..tokens import TokenTrace

        row = self._one("SELECT tokens FROM sample WHERE id = ?", sample_id)
        if row is None:
            raise NotFoundError(f"there is no sample {sample_id}")
        return TokenTrace.from_bytes(row[0])

    def events(self, run_id: int, after_id: int = 0) -> list[Event]:
        """What the worker told, in order, after the event `after_id`."""
        rows = self._all(
            "SELECT id, t_us, step, level, kind, text FROM event WHERE run_id = ? AND id > ? ORDER BY id",
            run_id,
            after_id,
        )
        return [Event(*tuple(row)) for row in rows]

    def checkpoints(self, run: Run, stage_id: int) -> list[Checkpoint]:
        """The checkpoints that are still on disk, by step."""
        rows = self._all(
            "SELECT step, path, bytes, metrics, created_us, "
            "max(id) = (SELECT max(id) FROM checkpoint WHERE stage_id = ?1 AND best) AS best FROM checkpoint "
            "WHERE stage_id = ?1 AND deleted_us IS NULL GROUP BY path ORDER BY step",
            stage_id,
        )
        return [
            Checkpoint(
                row["step"],
                run.folder / row["path"],
                row["bytes"],
                bool(row["best"]),
                json.loads(row["metrics"] or "{}"),
                row["created_us"],
            )
            for row in rows
        ]

    def environment(self, run_id: int) -> dict[str, Any]:
        """What the run's latest attempt ran on: versions, host, device, git commit."""
        row = self._one(
            "SELECT facts FROM environment JOIN attempt ON environment.id = environment_id "
            "WHERE run_id = ? ORDER BY sequence DESC LIMIT 1",
            run_id,
        )
        return json.loads(row[0]) if row else {}

    # -- inside -----------------------------------------------------------------------------------

    def _all(self, statement: str, *values: object) -> list[sqlite3.Row]:
        with explained("read", self.home.database):
            return self._connection.execute(statement, values).fetchall()

    def _one(self, statement: str, *values: object) -> sqlite3.Row | None:
        rows = self._all(statement, *values)
        return rows[0] if rows else None

    def _of_run(self, select: str, run_id: int) -> sqlite3.Row:
        row = self._one(f"{select} WHERE run.id = ?", run_id)
        if row is None:
            raise NotFoundError(f"there is no run with the number {run_id} in {self.home.database}")
        return row

    def _run(self, row: sqlite3.Row) -> Run:
        folder = self.home.run_folder(row["uid"])
        return Run(
            id=row["id"],
            uid=row["uid"],
            name=row["name"],
            state=_state(row, folder),
            created_us=row["created_us"],
            started_us=row["started_us"],
            ended_us=row["ended_us"],
            message=row["message"],
            exit_code=row["exit_code"],
            signal=row["signal"],
            host=row["host"] or "",
            pid=row["pid"],
            attempts=0 if row["sequence"] is None else row["sequence"] + 1,
            stage_id=row["stage_id"],
            stage=row["stage"] or "",
            phase=row["phase"] or "",
            step=row["step"] or 0,
            total=row["total"],
            speed=row["speed"],
            loss=row["loss"],
            attempt_id=row["attempt_id"],
            folder=folder,
            parent_id=row["parent_id"],
            member=row["member"],
            figure=telling_figure(row["summary"]),
        )

    def _segments(self, stage_id: int) -> list[tuple[int, int, int]]:
        """For each attempt that worked on the stage: its row id, the first step that counts, and the first that
        counts no more. An attempt that has not begun a stage yet takes nothing from the earlier ones.
        """
        rows = self._all(
            "SELECT attempt.id, resume_step, resumed.position - this.position AS ahead "
            "FROM attempt JOIN stage AS this ON this.run_id = attempt.run_id AND this.id = ? "
            "LEFT JOIN stage AS resumed ON resumed.id = resume_stage_id ORDER BY attempt.sequence DESC",
            stage_id,
        )
        segments: list[tuple[int, int, int]] = []
        below = _LAST_STEP
        for attempt_id, resume_step, ahead in rows:
            if ahead is None:
                segments.append((attempt_id, _FIRST_STEP, below))
            elif ahead <= 0:  # else the stage was over before this attempt began
                first = resume_step + 1 if ahead == 0 and resume_step > 0 else _FIRST_STEP
                segments.append((attempt_id, first, below))
                below = min(below, first)
        return segments[::-1]


def _state(row: sqlite3.Row, folder: Path) -> State:
    """The state that follows from the record, the machine and the lock; the first rule that applies."""
    if row["attempt_id"] is None:
        return "died"
    if row["outcome"] is not None:
        return "died" if row["outcome"] == "killed" else row["outcome"]
    here = this_machine()
    if row["boot"] != here.boot:  # within one boot, of whatever container, the lock tells
        same_machine = row["host"] == here.host and (row["machine"] or here.machine) == here.machine
        return "died" if same_machine else "elsewhere"
    if not lock_is_held(folder):
        return "died"
    return "starting" if row["beats"] is None else "running"


def _number(value: float | None) -> float:
    """SQLite keeps NaN as NULL."""
    return float("nan") if value is None else value
