"""What a run ran on: the commit and the changes of a real checkout, within limits."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from lmwb.core import environment
from lmwb.core.environment import describe


def git(folder: Path, *arguments: str) -> str:
    settings = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(
        ["git", "-C", folder, *settings, *arguments], check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one commit; its recipe is in a folder of it."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    code = tmp_path / "code"
    (code / "recipes").mkdir(parents=True)
    (code / "recipes" / "tiny.toml").write_text("steps = 1\n")
    (code / "model.py").write_text("width = 1\n")
    (code / ".gitignore").write_text("*.pyc\n")
    git(code, "init")
    git(code, "add", ".")
    git(code, "commit", "-m", "Begin")
    return code


def test_a_clean_checkout_is_its_commit(checkout):
    facts, diff = describe(checkout / "recipes", "cpu")
    assert facts["git_commit"] == git(checkout, "rev-parse", "HEAD").strip()
    assert (facts["git_dirty"], facts["git_untracked"], facts["git_diff_left_out"], diff) == (False, [], False, None)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["packages"]["torch"]
    assert facts["device"] == "cpu"


def test_staged_and_unstaged_changes_are_kept_so_that_git_can_apply_them(checkout):
    (checkout / "model.py").write_text("width = 2\n")
    git(checkout, "add", "model.py")
    (checkout / "recipes" / "tiny.toml").write_text("steps = 5\n")
    facts, diff = describe(checkout / "recipes", "cpu")
    assert facts["git_dirty"]
    assert diff is not None
    git(checkout, "reset", "--hard")
    subprocess.run(["git", "-C", checkout, "apply", "-"], input=diff, check=True)
    assert (checkout / "model.py").read_text() == "width = 2\n"
    assert (checkout / "recipes" / "tiny.toml").read_text() == "steps = 5\n"


def test_files_that_git_does_not_know_are_named_wherever_they_are(checkout):
    (checkout / "new ünit.py").write_text("x")
    (checkout / "cache.pyc").write_text("x")
    (checkout / "recipes" / "other.toml").write_text("x")
    facts, diff = describe(checkout / "recipes", "cpu")
    assert sorted(facts["git_untracked"]) == ["new ünit.py", "recipes/other.toml"]
    assert (facts["git_dirty"], facts["git_untracked_total"], diff) == (True, 2, None)


def test_of_very_many_such_files_the_first_are_named_and_all_counted(checkout, monkeypatch):
    monkeypatch.setattr(environment, "_UNTRACKED", 3)
    for number in range(5):
        (checkout / f"{number}.txt").write_text("x")
    facts, _ = describe(checkout, "cpu")
    assert (facts["git_untracked"], facts["git_untracked_total"]) == (["0.txt", "1.txt", "2.txt"], 5)


def test_changes_that_are_too_large_are_left_out_and_told(checkout, monkeypatch):
    monkeypatch.setattr(environment, "_DIFF_BYTES", 100_000)
    (checkout / "model.py").write_text("".join(f"width = {n}\n" for n in range(100_000)))
    facts, diff = describe(checkout, "cpu")
    assert (facts["git_dirty"], facts["git_diff_left_out"], diff) == (True, True, None)


def test_looking_changes_nothing_in_the_checkout_and_a_new_date_is_no_change(checkout):
    for name in ("model.py", "recipes/tiny.toml"):
        os.utime(checkout / name, (1e9, 1e9))  # git would like to note in its index that only the time has changed
    before = {path: path.stat().st_mtime_ns for path in (checkout / ".git").rglob("*")}
    facts, diff = describe(checkout, "cpu")
    assert (facts["git_dirty"], diff) == (False, None)
    (checkout / "new.py").write_text("x")
    (checkout / "model.py").write_text("diff --git a b\n")
    facts, diff = describe(checkout, "cpu")
    assert diff is not None
    assert b"+diff --git a b" in diff
    assert b"tiny.toml" not in diff
    assert {path: path.stat().st_mtime_ns for path in (checkout / ".git").rglob("*")} == before


def fake_git(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (folder / "bin").mkdir()
    (folder / "bin" / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")


def test_a_git_that_takes_too_long_is_not_waited_for(checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_GIT_SECONDS", 0.3)
    fake_git(tmp_path, monkeypatch, 'case "$*" in *rev-parse*) echo 1234;; *) exec sleep 60;; esac')
    begin = time.monotonic()
    facts, diff = describe(checkout, "cpu")
    assert time.monotonic() - begin < 30  # two commands that would sleep for a minute each
    assert (facts["git_commit"], facts["git_diff_left_out"], diff) == ("1234", True, None)
    assert facts["git_untracked_total"] is None


def test_without_git_or_a_checkout_the_other_facts_are_there(checkout, tmp_path, monkeypatch):
    for folder in (tmp_path, tmp_path / "nowhere"):
        facts, diff = describe(folder, "cuda")
        assert "git_commit" not in facts
        assert diff is None
    git(tmp_path, "init", "empty")
    assert "git_commit" not in describe(tmp_path / "empty", "cuda")[0]
    monkeypatch.setenv("PATH", str(tmp_path))
    facts, diff = describe(checkout, "cuda")
    assert "git_commit" not in facts
    assert facts["device"] == "cuda"
    assert facts["memory_bytes"] > 0
