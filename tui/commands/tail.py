"""The lines of a file that grows."""

import codecs
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_CHUNK = 1 << 16
_POLL_SECONDS = 0.2


def lines_of(path: Path, goes_on: Callable[[], bool]) -> Iterator[str]:
    """The lines of a file, and those that come while `goes_on` says so; bytes that are no text are replaced.

    Of a line that was overwritten by carriage returns, the last version.
    """
    if not path.exists():
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    with path.open("rb") as file:
        while True:
            ending = not goes_on()  # asked before reading: what was written by then is read
            while chunk := file.read(_CHUNK):
                *whole, rest = (rest + decoder.decode(chunk)).split("\n")
                yield from map(_final, whole)
            if ending:
                break
            time.sleep(_POLL_SECONDS)
    rest += decoder.decode(b"", final=True)
    if rest:
        yield _final(rest)


def _final(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]
