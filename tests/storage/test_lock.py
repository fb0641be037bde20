"""One process on one SQLite file: whoever comes second is told who is there; the lock ends with its holder."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from service.domain.errors import DatabaseInUse, StorageUnavailable
from service.storage.database import Database
from service.storage.lock import alone, refuse_if_open

HOLD = """
import sys
from pathlib import Path
from service.storage.lock import alone
with alone(Path(sys.argv[1]), "the first"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(database: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `database` until it is ended."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def test_the_second_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    database = tmp_path / "gateway.db"
    with holder(database) as first:
        with pytest.raises(DatabaseInUse) as refused, alone(database, "the second"):
            pass
        assert f"is in use by the first (process {first.pid})" in str(refused.value)
    with alone(database, "the second"):
        pass


def test_it_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    database = tmp_path / "gateway.db"
    with holder(database) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
        with alone(database, "the second"):
            assert (tmp_path / "gateway.db.lock").read_text() == f"the second (process {os.getpid()})"


def test_the_lock_is_the_same_by_any_path(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "file.db").symlink_to(tmp_path / "data" / "gateway.db")
    with alone(tmp_path / "data" / "gateway.db", "the first"):
        for path in ("link/gateway.db", "data/../data/gateway.db", "file.db"):
            with pytest.raises(DatabaseInUse), alone(tmp_path / path, "the second"):
                pass
        with alone(tmp_path / "data" / "other.db", "the second"), alone(None, "PostgreSQL"), alone(None, "and again"):
            pass


def test_it_hinders_nobody_who_uses_the_database(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with alone(path, "the first"), closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM trainings").fetchone() == (0,)
    # Closing the lock must not have ended SQLite's own locks, as it would if it were on the same file.
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with alone(path, "the first"):
            pass
        with closing(sqlite3.connect(path, 0, isolation_level=None)) as other, pytest.raises(sqlite3.OperationalError):
            other.execute("BEGIN IMMEDIATE")


async def test_whoever_has_it_open_without_the_lock_is_noticed(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    refuse_if_open(path)
    database = Database(sqlite_url)  # as a release before the lock has it
    await database.check()
    with pytest.raises(DatabaseInUse, match="is in use, and SQLite serves one process"):
        refuse_if_open(path)
    await database.close()
    refuse_if_open(path)


def test_what_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    path.write_text("not a database, though longer than the header of one" * 100)
    with pytest.raises(StorageUnavailable, match="not a database"):
        refuse_if_open(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_where_nothing_can_be_written_sqlite_says_so_and_not_the_lock(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with alone(tmp_path / "gateway.db", "the first"):
        assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o700)
