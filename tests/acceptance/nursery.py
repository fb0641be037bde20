"""`python -m tests.acceptance.nursery FD`: has imported all of the command, and forks a process for each order.

The process is as real as one that was executed: its own id, environment, folder and files. Only what it would import
is there already, which takes longer than most of these tests need it for. Orders come over the socket FD, with the
files to be standard input, output and error; see `forked`.
"""

from __future__ import annotations

import gc
import json
import os
import socket
import sys

import service.__main__
import service.cli.commands
import service.cli.serving
import service.server
import service.simulator.photogpt
import service.simulator.receiver

_LARGEST_ORDER = 1 << 20


def main() -> None:
    orders = socket.socket(fileno=int(sys.argv[1]))
    gc.freeze()
    while order := _received(orders):
        text, files = order
        if _forked(orders, files):
            orders.close()
            _become(**json.loads(text))
            service.__main__.main()
            return
        for file in files:
            os.close(file)


def _received(orders: socket.socket) -> tuple[bytes, list[int]] | None:
    text, files, _, _ = socket.recv_fds(orders, _LARGEST_ORDER, 3)
    return (text, files) if text else None


def _forked(orders: socket.socket, files: list[int]) -> bool:
    """True in the new process, which is nobody's child here: whoever gave the order waits for it."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        if child := os.fork():
            os.write(writing, str(child).encode())
            os._exit(0)
        os.close(reading)
        os.close(writing)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        return True
    os.close(writing)
    os.waitpid(between, 0)
    orders.sendall(os.read(reading, 32))
    os.close(reading)
    return False


def _become(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["photogpt-webhooks", *arguments]


if __name__ == "__main__":
    main()
