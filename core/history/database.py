"""Opening the history file: connections, write transactions, and bringing the schema up to date.

Every process that opens the file checks its schema version in microseconds; sqlite-utils is imported only
when there is something to migrate. Writers use `writing`, readers hold no transaction between statements.
"""

import contextlib
import fcntl
import sqlite3
import sys
import time
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Literal

from ..errors import MachineError
from ..home import Home

SCHEMA_VERSION = 2
"""The number of migrations this lmwb knows; kept in the file as ``PRAGMA user_version``."""

Task = Literal["open", "read", "write to"]
_ADVICE: dict[Task, str] = {
    "open": "move the file away or choose another home with --home",
    "read": "move the file away or choose another home with --home",
    "write to": "look at the disk's free space and the file's permissions",
}
_BUSY_SECONDS = 30.0
_WAL_RESET_FIXED = (3, 51, 3)
"""Older SQLite can corrupt a WAL file when two connections write and checkpoint at once."""


def now_us() -> int:
    """The wall clock, in microseconds since 1970 (UTC)."""
    return time.time_ns() // 1000


def storable(text: str) -> str:
    """The text as SQLite takes it: half surrogates, as in names that are no UTF-8, are written out (``\\udcff``)."""
    return text.encode("utf-8", "backslashreplace").decode()


def open_database(home: Home) -> sqlite3.Connection:
    """A connection that may write, on a file whose schema is current; makes both if need be.

    Raises:
        MachineError: the file cannot be opened, is no history, or was written by a newer lmwb.
    """
    home.create()
    with explained("open", home.database):
        connection = _connect(home.database, read_only=False)
        try:
            version = _schema_version(connection, home.database)
            _use_wal(connection)
            if version != SCHEMA_VERSION:
                _migrate(connection, home.database)
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_reading(home: Home) -> sqlite3.Connection:
    """A connection that cannot write, on a file whose schema is current; makes both if need be.

    Raises:
        MachineError: as `open_database`.
    """
    with explained("open", home.database):
        if home.database.exists():
            connection = _connect(home.database, read_only=True)
            try:
                if _schema_version(connection, home.database) == SCHEMA_VERSION:
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
        open_database(home).close()
        return _connect(home.database, read_only=True)


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Generator[sqlite3.Connection, None, None]:
    """A write transaction: all of it is kept, or none.

    It begins IMMEDIATE, so that waiting for another writer happens before anything was read.

    Raises:
        MachineError: the disk is full, or the file cannot be written to for another reason.
    """
    path = Path(connection.execute("PRAGMA database_list").fetchone()["file"])
    with explained("write to", path), _one_writer(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # some errors have rolled back already
                connection.execute("ROLLBACK")
            raise


@contextlib.contextmanager
def explained(task: Task, path: Path) -> Generator[None, None, None]:
    """Turn what the file or the disk refuses into a sentence; faults of our own stay what they are."""
    try:
        yield
    except (sqlite3.DatabaseError, OSError) as error:
        if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.DataError):
            raise
        raise MachineError(f"cannot {task} the history {path}: {error}; {_ADVICE[task]}") from error


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    uri = f"{path.as_uri()}?mode={'ro' if read_only else 'rwc'}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; the switch ignores the busy timeout, so it is tried again here."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _user_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """The file's schema version, 0 for an empty file.

    Raises:
        MachineError: the file is another program's, or a newer lmwb's.
    """
    version = _user_version(connection)
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "_sqlite_migrations" not in tables:
        raise MachineError(f"{path} is no history of lmwb; move it away or choose another home with --home")
    if version > SCHEMA_VERSION:
        raise MachineError(
            f"the history {path} was written by a newer lmwb (schema {version}, this one knows {SCHEMA_VERSION}); "
            "upgrade lmwb or choose another home with --home"
        )
    return version


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply what is missing, in one transaction, after a backup copy of a file that has content."""
    sqlite_utils = _import_sqlite_utils()
    from .schema import MIGRATIONS

    with writing(connection):
        version = _user_version(connection)
        if version >= SCHEMA_VERSION:
            return
        if version > 0:
            _back_up(path, path.with_name(f"{path.name}.before-schema-{SCHEMA_VERSION}"))
        MIGRATIONS.apply(sqlite_utils.Database(connection))
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _back_up(path: Path, target: Path) -> None:
    """Copy the history; the copy appears under its name when it is whole, and a copy that is there stays."""
    if target.exists():
        return
    draft = target.with_name(f"{target.name}.draft")
    draft.unlink(missing_ok=True)
    with contextlib.closing(_connect(path, read_only=True)) as source, contextlib.closing(sqlite3.connect(draft)) as to:
        source.backup(to)
    draft.replace(target)


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
def _one_writer(path: Path) -> Generator[None, None, None]:
    """Keep writers apart by a file lock where SQLite itself would not be safe."""
    if sqlite3.sqlite_version_info >= _WAL_RESET_FIXED:
        yield
        return
    with path.with_name(path.name + ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:  # closing alone would not free it while a process forked meanwhile keeps a copy
            fcntl.flock(lock, fcntl.LOCK_UN)
