"""What is installed is what stands in the folders, and nothing is forgotten."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
DATA = {".toml", ".tcss"}


def folders_with_code():
    return {
        "lmwb." + ".".join(path.parent.relative_to(TOP).parts)
        for room in ("core", "tui", "recipes")
        for path in (TOP / room).rglob("__init__.py")
    }


def test_every_package_is_listed():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    assert set(project["tool"]["setuptools"]["packages"]) == folders_with_code()


@pytest.mark.slow
def test_the_wheel_holds_every_file(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, TOP], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith("lmwb-")}
    expected = {
        f"lmwb/{path.relative_to(TOP)}"
        for room in ("core", "tui", "recipes")
        for path in (TOP / room).rglob("*")
        if path.suffix in DATA | {".py"}
    }
    assert packed == expected


def test_nothing_but_the_rooms_stands_at_the_top():
    tracked = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True).stdout.splitlines()
    if not tracked:
        pytest.skip("not a git checkout")
    folders = {name.split("/")[0] for name in tracked if "/" in name and not name.startswith(".")}
    assert folders <= {"core", "tui", "recipes", "tests"}
