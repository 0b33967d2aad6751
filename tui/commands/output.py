"""How commands print: tables for people, exact JSON for programs.

What people read passes `printable`. In JSON nothing is changed, except that numbers JSON has no words for become the
texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.
"""

import math
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ...core.history.queries import Run
from ...core.text import json_text, printable


def print_json(value: object) -> None:
    """One value, indented."""
    print(json_text(exact(value), indent=2))


def print_json_line(value: object) -> None:
    """One value on one line, at once."""
    print(json_text(exact(value)), flush=True)


def exact(value: Any) -> Any:
    """The value with its numbers as JSON can hold them."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: exact(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [exact(inner) for inner in value]
    return value


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Columns under a head; `right` names those that end flush. The cells are foreign text."""
    from rich.cells import cell_len

    table = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        cells: list[str] = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - cell_len(cell))
            cells.append(gap + cell if column in right else cell + gap)
        print("  ".join(cells).rstrip())


def notice(sentence: str) -> None:
    """Tell the person at the keyboard, beside the data."""
    print(printable(sentence), file=sys.stderr, flush=True)


def iso(t_us: int | None) -> str | None:
    """A time as ISO 8601 in UTC."""
    return None if t_us is None else datetime.fromtimestamp(t_us / 1e6, UTC).isoformat(timespec="milliseconds")


def run_facts(run: Run) -> dict[str, Any]:
    """A run for JSON."""
    return {
        "id": run.uid,
        "name": run.name,
        "state": run.state,
        "created": iso(run.created_us),
        "started": iso(run.started_us),
        "ended": iso(run.ended_us),
        "message": run.message,
        "exit_code": run.exit_code,
        "signal": run.signal,
        "host": run.host,
        "pid": run.pid,
        "attempts": run.attempts,
        "stage": run.stage,
        "phase": run.phase,
        "step": run.step,
        "total": run.total,
        "steps_per_second": run.speed,
        "seconds_left": run.seconds_left,
        "loss": run.loss,
        "parent": run.uid.rpartition("-")[0] if run.parent_id is not None else None,
        "member": run.member,
        "folder": str(run.folder),
    }
