"""The simulator as a process: says where it is once it takes connections, and ends in order on a signal."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.simulator.driver import headers
from tests.support.waiting import wait_until_sync

PROGRAM = """
from service.simulator.clock import SystemClock
from service.simulator.photogpt import PhotoGPTOptions, create_photogpt
from service.simulator.run import run

run(create_photogpt(PhotoGPTOptions(), SystemClock()), {host!r}, 0, lambda line: print(line, flush=True))
"""


@contextmanager
def started(host: str = "127.0.0.1") -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", PROGRAM.format(host=host)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "host"), [(signal.SIGTERM, "0.0.0.0"), (signal.SIGINT, "127.0.0.1")])
def test_ends_in_order_on_a_signal(number: signal.Signals, host: str) -> None:
    with started(host) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{url}/api/ping", headers=headers(), trust_env=False).json()["message"] == "pong!"
        process.send_signal(number)
        printed, complained = process.communicate(timeout=10)
        assert (process.returncode, printed, complained) == (0, "", "")


def test_a_hanging_caller_is_cut_and_keeps_nobody_waiting() -> None:
    with started() as (process, url), httpx.Client(base_url=url, trust_env=False) as http:
        http.post("/_control/faults", json={"kind": "hang", "seconds": 3600})
        with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=10) as caller:
            caller.sendall(b"GET /api/ping HTTP/1.1\r\nhost: simulator\r\n\r\n")
            wait_until_sync(lambda: http.get("/_control/calls").json()["count"], what="the call that hangs")
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
            assert _read(caller) == b""


def _read(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1000)
    except ConnectionResetError:
        return b""
