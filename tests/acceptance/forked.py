"""Starts the command without the second that a fresh interpreter takes to import it: forked off a `nursery`.

For tests of what processes do, kills included. How the command is started itself is for those that run `Children`.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from service.cli.processes import Children

COMMAND = [sys.executable, "-m", "service"]
_PR_SET_CHILD_SUBREAPER = 36


class Forked(subprocess.Popen[Any]):
    """A Popen of `python -m service ...`, to be used as any other. It is executed after all where nobody can wait for a
    grandchild.
    """

    def _execute_child(self, args: list[str], *given: Any) -> None:
        if sys.platform != "linux":
            super()._execute_child(args, *given)  # type: ignore[misc]
            return
        folder, environment = given[4:6]
        p2cread, _, _, c2pwrite, _, errwrite = pipes = given[9:15]
        assert args[: len(COMMAND)] == COMMAND
        assert min(p2cread, c2pwrite, errwrite) >= 0, "give it a standard input, output and error"
        order = {"arguments": args[len(COMMAND) :], "environment": dict(environment), "folder": str(folder)}
        self.pid = _nursery().birth(order, [p2cread, c2pwrite, errwrite])
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


class ForkedChildren(Children):
    popen = Forked


class _Nursery:
    def __init__(self) -> None:
        # What the nursery forks is to be waited for here.
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
        self._orders, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.acceptance.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
                env=_plain_environment(),
                start_new_session=True,
            )
        atexit.register(self._end)

    def birth(self, order: dict[str, Any], files: list[int]) -> int:
        socket.send_fds(self._orders, [json.dumps(order).encode()], files)
        return int(self._orders.recv(32))

    def _end(self) -> None:
        self._orders.close()
        self._process.wait()


def _plain_environment() -> dict[str, str]:
    """Without what is read by what is imported: how wide the terminal of each process is, its own environment says."""
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return {**kept, "PYTHONUNBUFFERED": "1"}


@cache
def _nursery() -> _Nursery:
    """One for each worker of a test run, made when it is needed first."""
    return _Nursery()
