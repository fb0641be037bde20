"""Processes of a measured service: started on chosen cores, CPU time and memory read from /proc, ended together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
# Fields of /proc/PID/stat after the name: user, system, and of children that have ended.
_TIMES = slice(11, 15)


@dataclass(frozen=True, slots=True)
class Command:
    arguments: Sequence[str]
    environment: Mapping[str, str]


class Tree:
    """One or several processes with all their children. `also`: processes of others that work for them."""

    def __init__(
        self, commands: Sequence[Command], folder: Path, *, cpus: Sequence[int] = (), also: Sequence[int] = ()
    ) -> None:
        self._also = also
        self._log = (folder / "log").open("ab")
        self._processes = [self._start(command, folder, cpus) for command in commands]

    def cpu_seconds(self) -> float:
        return sum(_cpu_seconds(pid) for pid in self._pids())

    def megabytes(self) -> float:
        """Proportional set size: what is shared counts in parts, so that nothing counts twice."""
        return sum(_pss_kilobytes(pid) for pid in self._pids()) / 1024

    def ended(self) -> bool:
        return any(process.poll() is not None for process in self._processes)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        self._end(signal.SIGTERM)

    def close(self) -> None:
        self.kill()
        self._log.close()

    def _start(self, command: Command, folder: Path, cpus: Sequence[int]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command.arguments,
            env=dict(command.environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        if cpus:
            os.sched_setaffinity(process.pid, cpus)
        return process

    def _pids(self) -> Iterator[int]:
        for first in (*(process.pid for process in self._processes), *self._also):
            yield from _with_children(first)

    def _end(self, how: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, how)
        for process in self._processes:
            process.wait(30)


def free_port() -> int:
    with socket.socket() as asking:
        asking.bind(("127.0.0.1", 0))
        port: int = asking.getsockname()[1]
        return port


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    for children in (_PROC / str(pid) / "task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield from _with_children(int(child))


def _cpu_seconds(pid: int) -> float:
    with suppress(OSError):
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return sum(int(field) for field in fields[_TIMES]) / _TICKS
    return 0.0


def _pss_kilobytes(pid: int) -> int:
    with suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
