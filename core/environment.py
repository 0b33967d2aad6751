"""What a run ran on: versions, machine, device, and the user's code as git knows it."""

import os
import platform
import re
import subprocess
import sys
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("lmwb", "torch", "transformers", "tokenizers", "datasets", "numpy", "safetensors", "sqlite-utils")
_GIT_SECONDS = 2.0
_DIFF_BYTES = 5_000_000
_UNTRACKED = 200
_NO_CHANGE = re.compile(rb"^diff --git [^\n]*\n(?=diff --git |\Z)", re.MULTILINE)
"""A file that was touched, no more; git lists it when it may not note that in its index."""


def describe(code: Path, device: str) -> tuple[dict[str, Any], bytes | None]:
    """The facts, as JSON values, and the uncommitted changes of the git checkout around `code`, if any.

    Git is given two seconds in all. Changes of more than 5 MB are left out, and of the files that git does not
    know only the first 200 names are kept; ``git_diff_left_out`` and ``git_untracked_total`` tell.
    """
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
    """The commit, what differs from it, and what git does not know of, as far as git tells it in time."""
    deadline = time.monotonic() + _GIT_SECONDS
    commit = _ask_git(code, deadline, "rev-parse", "HEAD")
    if commit is None:
        return {}, None
    diff = _ask_git(code, deadline, "diff", "--no-ext-diff", "--no-textconv", "HEAD")
    left_out = diff is None or len(diff) > _DIFF_BYTES
    diff = None if diff is None or left_out else _NO_CHANGE.sub(b"", diff) or None
    listing = _ask_git(code, deadline, "ls-files", "-z", "--others", "--exclude-standard", "--full-name", "--", ":/")
    untracked = (listing or b"").decode(errors="replace").split("\0")[:-1]
    facts = {
        "git_commit": commit.decode().strip(),
        "git_dirty": left_out or bool(diff or untracked),
        "git_untracked": untracked[:_UNTRACKED],
        "git_untracked_total": None if listing is None else len(untracked),
        "git_diff_left_out": left_out,
    }
    return facts, diff


def _ask_git(code: Path, deadline: float, *arguments: str) -> bytes | None:
    """What git prints, cut off where it gets too long to keep; None if it fails or takes too long."""
    try:
        process = subprocess.Popen(
            ["git", "-C", str(code), "-c", "diff.autoRefreshIndex=false", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # as above: not to get in the way of the user's own git
        )
    except OSError:
        return None
    with process:
        assert process.stdout is not None
        watch = threading.Timer(max(0.0, deadline - time.monotonic()), process.terminate)
        watch.start()
        try:
            output = process.stdout.read(_DIFF_BYTES + 1)
            if len(output) > _DIFF_BYTES:
                process.terminate()
                return output
            return output if process.wait() == 0 else None
        finally:
            watch.cancel()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory() -> int:
    import psutil

    return psutil.virtual_memory().total
