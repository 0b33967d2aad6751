"""Tokenised rows kept from run to run, as Arrow files that are mapped into memory.

An entry is found by what it was made from: the bytes of the source, the tokenizer, the options, and the version of
lmwb's own rows. Nothing is taken on trust: an entry whose bytes are not those that were written is passed over, and
a cache that cannot be written costs time, never a run.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..files import replacing, write_atomically

ROWS_VERSION = "1"
"""To be raised when the same source and options give other rows than before."""

ArrowTable = Any
"""A `pyarrow.Table`; its package brings no types."""

Key = Mapping[str, str]
"""What rows are made from, by names that people understand: `source`, `tokenizer`, `max_length`, ..."""

_SHOWN = 24
"""Longer values are hashes; a reader only wants to hear that they changed."""


class RowCache:
    """Tables that can be made again, in a folder."""

    def __init__(self, folder: Path, tell: Callable[[str], None], things: str = "rows"):
        """The folder need not exist; `tell` hears of hits, and of misses and why; rows are called `things`."""
        self.folder = folder
        self._tell = tell
        self._things = things

    def get(self, name: str, source: str, key: Key, make: Callable[[], ArrowTable]) -> ArrowTable:
        """The table for a key: from the cache, or made and put there.

        Args:
            name: what the table is, for people: `data.train`.
            source: where it comes from; a miss is explained by the last table of this name from the same source.
            key: everything that the table depends on.
            make: makes the table; what it raises passes through, and nothing is kept.
        """
        full = {**key, "version of the rows": ROWS_VERSION}
        digest = _digest(full)
        last = self.folder / "last" / f"{hashlib.sha256(f'{name} {source}'.encode()).hexdigest()[:32]}.json"
        found, reason = self._read(digest)
        if found is not None:
            self._tell(f"{name}: {found.num_rows:,} tokenised {self._things} from the cache")
            self._remember(last, full)
            return found
        reason = reason or self._why(last, full)
        table = make().combine_chunks()
        try:
            self._write(digest, table)
            self._remember(last, full)
        except OSError as error:
            self._tell(f"{name}: {table.num_rows:,} {self._things} tokenised; not kept in the cache: {error.strerror}")
            return table
        self._tell(f"{name}: {table.num_rows:,} {self._things} tokenised and kept in the cache ({reason})")
        return table

    def _read(self, digest: str) -> tuple[ArrowTable | None, str | None]:
        """The table, or why it cannot be used although it is there."""
        file, seal = self.folder / f"{digest}.arrow", self.folder / f"{digest}.json"
        try:
            written = json.loads(seal.read_bytes())["sha256"]
            if _sha256(file) != written:
                return None, "the entry was damaged"
            with pa.memory_map(str(file)) as mapped:
                return pa.ipc.open_file(mapped).read_all(), None
        except FileNotFoundError:
            return None, None
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
            return None, "the entry was damaged"

    def _write(self, digest: str, table: ArrowTable) -> None:
        with replacing(self.folder / f"{digest}.arrow") as unfinished:
            with pa.OSFile(str(unfinished), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
            seal = {"sha256": _sha256(unfinished)}
        write_atomically(self.folder / f"{digest}.json", json.dumps(seal).encode())

    def _why(self, record: Path, key: Key) -> str:
        """What differs from the last entry, whose key was recorded."""
        try:
            last: dict[str, Any] = json.loads(record.read_bytes())
            changed = [_change(part, last.get(part), key.get(part)) for part in {**last, **key}]
        except FileNotFoundError:
            return "not seen before"
        except (OSError, ValueError, TypeError, AttributeError):
            return "the record of the last entry was damaged"
        return ", ".join(filter(None, changed)) or "the entry was deleted"

    def _remember(self, record: Path, key: Key) -> None:
        with suppress(OSError):
            write_atomically(record, json.dumps(dict(key)).encode())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(key: Key) -> str:
    return hashlib.sha256(json.dumps(sorted(key.items())).encode()).hexdigest()


def _change(part: str, before: str | None, now: str | None) -> str:
    if before == now:
        return ""
    if before is None or now is None or max(len(before), len(now)) > _SHOWN:
        return f"{part} changed"
    return f"{part} changed from {before} to {now}"
