"""Files that are there whole or not at all, whoever reads or writes them at the same time."""

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Generator[Path]:
    """A path to write to; what is there at the end takes the target's place, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.{time.monotonic_ns()}")
    try:
        yield unfinished
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_atomically(target: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, whoever writes it at the same time.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(target) as unfinished:
        unfinished.write_bytes(data)
