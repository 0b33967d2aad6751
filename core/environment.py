"""What a run ran on: versions, machine, device, and the user's code as git knows it."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("lmwb", "torch", "transformers", "tokenizers", "datasets", "numpy", "safetensors", "sqlite-utils")
_GIT_SECONDS = 2.0
_DIFF_BYTES = 5_000_000


def describe(code: Path, device: str) -> tuple[dict[str, Any], bytes | None]:
    """The facts, as JSON values, and the uncommitted changes of the git checkout around `code`, if any."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "device": device,
        "argv": sys.argv,
        "packages": {name: _version(name) for name in _PACKAGES},
    }
    git, diff = _git(code)
    return {**facts, **git}, diff


def _git(code: Path) -> tuple[dict[str, Any], bytes | None]:
    commit = _ask_git(code, "rev-parse", "HEAD")
    if commit is None:
        return {}, None
    diff = _ask_git(code, "diff", "--no-ext-diff", "HEAD") or b""
    untracked = (_ask_git(code, "ls-files", "--others", "--exclude-standard") or b"").decode(errors="replace")
    facts = {
        "git_commit": commit.decode().strip(),
        "git_dirty": bool(diff or untracked),
        "git_untracked": untracked.splitlines()[:200],
        "git_diff_left_out": len(diff) > _DIFF_BYTES,
    }
    return facts, diff if 0 < len(diff) <= _DIFF_BYTES else None


def _ask_git(code: Path, *arguments: str) -> bytes | None:
    try:
        return subprocess.run(
            ["git", "-C", str(code), *arguments], capture_output=True, timeout=_GIT_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory() -> int:
    import psutil

    return psutil.virtual_memory().total
