"""Opening the history file: connections, write transactions, and bringing the schema up to date.

Every process that opens the file checks its schema version in microseconds; sqlite-utils is imported only
when there is something to migrate. Writers use `writing`, readers hold no transaction between statements.
"""

import contextlib
import fcntl
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from ..errors import MachineError
from ..home import Home

SCHEMA_VERSION = 1
"""The number of migrations this lmwb knows; kept in the file as ``PRAGMA user_version``."""

_BUSY_SECONDS = 30.0
_WAL_RESET_FIXED = (3, 51, 3)
"""Older SQLite can corrupt a WAL file when two connections write and checkpoint at once."""


def now_us() -> int:
    """The wall clock, in microseconds since 1970 (UTC)."""
    return time.time_ns() // 1000


def open_database(home: Home) -> sqlite3.Connection:
    """A connection that may write, on a file whose schema is current; makes both if need be.

    Raises:
        MachineError: the file cannot be opened, is no history, or was written by a newer lmwb.
    """
    home.create()
    return _open(home.database)


def open_for_reading(home: Home) -> sqlite3.Connection:
    """A connection that cannot write, on a file whose schema is current; makes both if need be.

    Raises:
        MachineError: as `open_database`.
    """
    if not home.database.exists() or _version_of(home.database) != SCHEMA_VERSION:
        open_database(home).close()
    return _connect(home.database, read_only=True)


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A write transaction: all of it is kept, or none.

    It begins IMMEDIATE, so that waiting for another writer happens before anything was read.
    """
    with _one_writer(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = _connect(path, read_only=False)
        _use_wal(connection)
        if _user_version(connection) != SCHEMA_VERSION:
            _migrate(connection, path)
    except sqlite3.Error as error:
        raise MachineError(
            f"cannot open the history {path}: {error}; move the file away or choose another home with --home"
        ) from None
    return connection


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    try:
        uri = f"{path.as_uri()}?mode={'ro' if read_only else 'rwc'}"
        connection = sqlite3.connect(
            uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except sqlite3.Error as error:
        raise MachineError(f"cannot open the history {path}: {error}") from None
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; the switch ignores the busy timeout, so it is tried again here."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _version_of(path: Path) -> int:
    with contextlib.closing(_connect(path, read_only=True)) as connection:
        try:
            return _user_version(connection)
        except sqlite3.Error as error:
            raise MachineError(f"cannot read the history {path}: {error}") from None


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply what is missing, in one transaction, after a backup copy of a file that has content."""
    version = _user_version(connection)
    if version > SCHEMA_VERSION:
        raise MachineError(
            f"the history {path} was written by a newer lmwb (schema {version}, this one knows {SCHEMA_VERSION}); "
            "upgrade lmwb or choose another home with --home"
        )
    if version > 0:
        _back_up(connection, path.with_name(f"{path.name}.before-schema-{SCHEMA_VERSION}"))
    sqlite_utils = _import_sqlite_utils()
    from .schema import MIGRATIONS

    with writing(connection):
        if _user_version(connection) < SCHEMA_VERSION:
            MIGRATIONS.apply(sqlite_utils.Database(connection))
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    if not target.exists():
        with contextlib.closing(sqlite3.connect(target)) as copy:
            connection.backup(copy)


def _import_sqlite_utils() -> ModuleType:
    """Import sqlite-utils without the pandas and numpy that it looks for, which cost most of a second."""
    hidden = [name for name in ("pandas", "numpy") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes the import fail at once
    try:
        import sqlite_utils
    finally:
        for name in hidden:
            del sys.modules[name]
    return sqlite_utils


@contextlib.contextmanager
def _one_writer(connection: sqlite3.Connection) -> Iterator[None]:
    """Keep writers apart by a file lock where SQLite itself would not be safe."""
    if sqlite3.sqlite_version_info >= _WAL_RESET_FIXED:
        yield
        return
    file = Path(connection.execute("PRAGMA database_list").fetchone()["file"])
    with file.with_name(file.name + ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
