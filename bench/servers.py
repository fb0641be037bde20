"""Redis and PostgreSQL for the services beside that need one: as they are installed, with data of their own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.processes import free_port
from tests.support.postgres import stoppable_postgres

_LONGEST = 20.0
# The server of the tests forgets at a power cut, which no service that is measured may.
_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@dataclass(frozen=True, slots=True)
class Server:
    """`pid`: of the process whose work, with that of its children, is that of whoever uses it."""

    url: str
    pid: int


@contextmanager
def running_redis(program: str) -> Iterator[Server]:
    found = shutil.which(program)
    if found is None:
        raise SystemExit(f"celery needs Redis, and there is no {program}: say where with --redis-server.")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="photogpt-bench-redis-") as folder:
        command = [found, "--bind", "127.0.0.1", "--port", str(port), "--dir", folder]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            _wait_for(port, process)
            yield Server(f"redis://127.0.0.1:{port}/0", process.pid)
        finally:
            process.kill()
            process.wait()


@contextmanager
def running_postgres() -> Iterator[Server]:
    with stoppable_postgres(**_DURABLE) as postgres, postgres.running(last=True):
        yield Server(postgres.url, postgres.pid)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _LONGEST
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("Redis does not listen.")
