"""Who imports whom, seen in fresh processes."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import lmwb.core
import lmwb.tui
import pytest

HEAVY = {"torch", "transformers", "datasets", "pyarrow", "pandas", "numpy", "textual", "rich"}


def modules_after(code: str, *words: str, home: Path | None = None) -> set[str]:
    """The top-level modules that a fresh Python has after it ran the code."""
    tail = "\nimport json as _json, sys as _sys\n_sys.stderr.write('\\n' + _json.dumps(sorted(_sys.modules)))"
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LMWB_HOME": str(home or "/nonexistent")}
    done = subprocess.run(
        [sys.executable, "-c", code + tail, *words], capture_output=True, text=True, check=True, env=environment
    )
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def modules_of(package: object) -> list[str]:
    path, name = package.__path__, package.__name__  # type: ignore[attr-defined]
    return [name, *(found.name for found in pkgutil.walk_packages(path, f"{name}."))]


COMMAND = "import sys; from lmwb.tui.cli import run; assert run(sys.argv[1:]) == 0"


def test_help_needs_nothing_but_typer():
    assert not modules_after(COMMAND, "--help") & {*HEAVY, "pydantic"}


def test_the_help_of_a_command_needs_no_screen():
    assert not modules_after(COMMAND, "run", "--help") & HEAVY


def test_the_list_of_runs_needs_no_numbers_and_no_screen(tmp_path: Path):
    modules_after(COMMAND, "runs", "--json", home=tmp_path)  # makes the history
    assert not modules_after(COMMAND, "runs", "--json", home=tmp_path) & {*HEAVY, "sqlite_utils"}


def test_the_check_of_a_bad_recipe_needs_no_numbers_and_no_screen(tmp_path: Path):
    (tmp_path / "bad.toml").write_text("nmae = 1")
    code = COMMAND.replace("== 0", "== 2")
    assert not modules_after(code, "check", str(tmp_path / "bad.toml")) & HEAVY


@pytest.mark.parametrize("room", ["core", "tui"])
def test_a_room_imports_only_what_it_may(room: str):
    package, forbidden = {
        "core": (lmwb.core, {"textual", "rich", "typer"}),
        "tui": (lmwb.tui, {"torch", "transformers", "datasets", "tokenizers"}),
    }[room]
    names = modules_of(package)
    assert len(names) > 10
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
    if room == "core":
        code += "assert not [name for name in sys.modules if name.startswith('lmwb.tui')]"
    assert not modules_after(code, *names) & forbidden
