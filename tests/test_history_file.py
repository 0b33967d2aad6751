"""The file itself: made once by however many, migrated after a backup, refused if it is no history."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lmwb.core.errors import ExitCode, MachineError
from lmwb.core.history import database, schema
from lmwb.core.history.database import SCHEMA_VERSION, open_database, open_for_reading
from lmwb.core.history.liveness import take_lock
from lmwb.core.history.queries import History
from lmwb.core.home import Home
from small_history import FORKED, begin, curve, in_process, reading, record

OPENERS = pytest.mark.parametrize("opened", [open_database, open_for_reading, History])


def change(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@OPENERS
def test_an_empty_home_gets_a_history(tmp_path, opened):
    home = Home(tmp_path / "new" / "home")
    opened(home).close()
    with contextlib.closing(sqlite3.connect(home.database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@OPENERS
def test_a_history_of_a_newer_lmwb_is_refused_and_left_alone(tmp_path, opened):
    home = Home(tmp_path)
    begin(home)
    change(home.database, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = home.database.read_bytes()
    with pytest.raises(MachineError, match=f"written by a newer lmwb .schema {SCHEMA_VERSION + 1}.*upgrade") as caught:
        opened(home)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert home.database.read_bytes() == before


@OPENERS
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, opened):
    home = Home(tmp_path)
    home.database.write_bytes(b"my thesis, chapter 1\n" * 100)
    with pytest.raises(MachineError, match=r"cannot open the history .*lmwb\.db: file is not a database; move"):
        opened(home)
    assert home.database.read_bytes() == b"my thesis, chapter 1\n" * 100


@OPENERS
@pytest.mark.parametrize("version", [0, SCHEMA_VERSION])
def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path, opened, version):
    home = Home(tmp_path)
    change(home.database, "CREATE TABLE songs (title)", f"PRAGMA user_version = {version}")
    before = home.database.read_bytes()
    with pytest.raises(MachineError, match="is no history of lmwb; move it away or choose another home"):
        opened(home)
    assert home.database.read_bytes() == before


@OPENERS
def test_a_folder_in_the_files_place_is_refused(tmp_path, opened):
    home = Home(tmp_path)
    home.database.mkdir()
    with pytest.raises(MachineError, match="cannot open the history"):
        opened(home)


def test_a_damaged_file_gives_a_sentence(tmp_path):
    home = Home(tmp_path)
    begin(home)
    change(home.database, "PRAGMA journal_mode = DELETE")
    with contextlib.closing(sqlite3.connect(home.database)) as connection:
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'run'").fetchone()[0]
    with home.database.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 64)
    with contextlib.closing(History(home)) as history:
        with pytest.raises(MachineError, match=r"cannot read the history .*malformed"):
            history.runs()
        assert history.events(1) == []


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Home]:
    """A home with a run, on a file system that cannot be written to."""
    home = Home(tmp_path / "home")
    begin(home)
    bound = subprocess.run(["mount", "--bind", "-o", "ro", home.root, home.root], capture_output=True)
    if bound.returncode:
        pytest.skip("file systems can be mounted by root only")
    yield home
    subprocess.run(["umount", "--lazy", home.root], check=True)


@OPENERS
def test_a_home_that_cannot_be_written_to_gives_a_sentence(read_only, opened):
    with pytest.raises(MachineError, match=r"choose another( home)? with --home"):
        opened(read_only)
    with pytest.raises(MachineError, match=r"cannot lock the run's folder .*Read-only file system"):
        take_lock(read_only.run_folder("small-22222"))


@pytest.fixture
def next_schema(monkeypatch: pytest.MonkeyPatch) -> int:
    """An lmwb that knows one migration more."""
    migrations = type(schema.MIGRATIONS)("lmwb")
    migrations._migrations = list(schema.MIGRATIONS._migrations)

    @migrations()
    def second(db):
        db["run"].add_column("note", str)

    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    monkeypatch.setattr(database, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    return SCHEMA_VERSION + 1


def older_history(home: Home) -> int:
    """A history with a curve; returns the stage's id."""
    run = begin(home)
    record(run, range(100))
    return run.stage_id


@OPENERS
def test_an_older_history_is_migrated_after_a_backup(tmp_path, request, opened):
    home = Home(tmp_path)
    stage_id = older_history(home)
    version = request.getfixturevalue("next_schema")
    opened(home).close()
    with contextlib.closing(sqlite3.connect(home.database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == version
        assert connection.execute("SELECT note FROM run").fetchall() == [(None,)]
    backup = tmp_path / f"lmwb.db.before-schema-{version}"
    with contextlib.closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == version - 1
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert connection.execute("SELECT sum(n) FROM block").fetchone()[0] == 100
    assert len(curve(home, stage_id)) == 100
    assert not list(tmp_path.glob("*.draft*"))


def test_a_migration_that_fails_changes_nothing_and_can_be_tried_again(tmp_path, next_schema, monkeypatch):
    home = Home(tmp_path)
    with monkeypatch.context() as older:
        older.setattr(database, "SCHEMA_VERSION", SCHEMA_VERSION)
        older.setattr(schema.MIGRATIONS, "_migrations", schema.MIGRATIONS._migrations[:SCHEMA_VERSION])
        stage_id = older_history(home)

    with monkeypatch.context() as faulty:
        broken = list(schema.MIGRATIONS._migrations)
        faulty.setattr(schema.MIGRATIONS, "_migrations", broken)

        @schema.MIGRATIONS()
        def third(db):
            db["run"].add_column("other", str)
            raise sqlite3.OperationalError("disk I/O error")

        with pytest.raises(MachineError, match="disk I/O error"):
            open_database(home)
    with contextlib.closing(sqlite3.connect(home.database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        assert "note" not in {row[1] for row in connection.execute("PRAGMA table_info(run)")}
    assert len(curve(home, stage_id)) == 100
    with contextlib.closing(sqlite3.connect(home.database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == next_schema


# -- several processes begin at once ----------------------------------------------------------------------


def open_and_write(home: Home, number: int, barrier) -> None:
    barrier.wait()
    if number % 2:
        History(home).close()
    run = begin(home, uid=f"run-{number}")
    record(run, range(10))
    with reading(home) as history:
        assert len(history.points(run.stage_id, "loss")) == 10


def begin_together(home: Home, n: int) -> None:
    barrier = FORKED.Barrier(n)
    processes = [in_process(open_and_write, home, number, barrier) for number in range(n)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * n
    with reading(home) as history:
        assert len(history.runs()) == n
    with contextlib.closing(open_database(home)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_eight_processes_make_the_history_together(tmp_path):
    for round_number in range(3):
        begin_together(Home(tmp_path / str(round_number)), 8)


def test_eight_processes_migrate_together(tmp_path, request):
    home = Home(tmp_path)
    begin(home, uid="old")
    request.getfixturevalue("next_schema")
    barrier = FORKED.Barrier(8)
    processes = [in_process(open_and_write, home, number, barrier) for number in range(8)]
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 8
    assert len(list(tmp_path.glob("lmwb.db.before-schema-*"))) == 1


@pytest.mark.slow
def test_fifty_processes_make_the_history_together(tmp_path):
    for round_number in range(5):
        begin_together(Home(tmp_path / str(round_number)), 50)


@pytest.mark.slow
def test_fifty_programs_make_the_history_together(tmp_path):
    """Fresh interpreters, which also import what a migration needs at the same time."""
    code = (
        "import sys; from pathlib import Path; from lmwb.core.home import Home;"
        "from lmwb.core.history.queries import History; History(Home(Path(sys.argv[1]))).runs()"
    )
    programs = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "home"], stderr=subprocess.PIPE, text=True)
        for _ in range(50)
    ]
    assert [program.communicate(timeout=240)[1] for program in programs] == [""] * 50


def test_reading_needs_neither_numpy_nor_sqlite_utils(tmp_path):
    begin(Home(tmp_path))
    code = (
        "import sys; from pathlib import Path; from lmwb.core.home import Home;"
        "from lmwb.core.history.queries import History; assert len(History(Home(Path(sys.argv[1]))).runs()) == 1;"
        "print(*{'numpy', 'sqlite_utils', 'pandas', 'torch', 'psutil'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, env=dict(os.environ))
    assert (done.stdout.strip(), done.stderr) == ("", "")
