"""Child processes of the demo: started with a log each, asked for their first words, and ended by id."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from service.cli.terminal import CommandFailed

_START_SECONDS = 30.0
_END_SECONDS = 25.0
_LOOK_SECONDS = 0.05


class Child:
    def __init__(self, name: str, process: subprocess.Popen[bytes], stdout: Path, stderr: Path) -> None:
        self.name = name
        self.process = process
        self._stdout = stdout
        self._stderr = stderr

    def first_line(self) -> str:
        """The first line that the process prints, which says where it listens."""
        return next(self._lines(self._stdout))

    def log_entry(self, event: str) -> dict[str, Any]:
        """The first structured log line about `event`."""
        for line in self._lines(self._stderr):
            entry: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            if entry.get("event") == event:
                return entry
        raise CommandFailed(f"The {self.name} process said nothing of {event!r}.")

    def end(self) -> int:
        """Ask it to stop, and make it if it does not; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def _lines(self, path: Path) -> Iterator[str]:
        """Whole lines of `path` as they come; CommandFailed when the process ends or the time is up."""
        deadline = time.monotonic() + _START_SECONDS  # noqa: TID251  # a process starts in real time
        with path.open(encoding="utf-8") as file:
            while True:
                line = file.readline()
                if line.endswith("\n"):
                    yield line.rstrip("\n")
                    continue
                file.seek(file.tell() - len(line.encode()))
                if self.process.poll() is not None:
                    said = self._stderr.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
                    raise CommandFailed(f"The {self.name} process ended with {self.process.returncode}: {said}")
                if time.monotonic() > deadline:  # noqa: TID251
                    raise CommandFailed(f"The {self.name} process did not start within {_START_SECONDS:g} s.")
                time.sleep(_LOOK_SECONDS)  # noqa: TID251


class Children:
    """Ends every child when the block is left, however it is left. Logs are in `folder`."""

    popen: type[subprocess.Popen[bytes]] = subprocess.Popen

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.end()

    def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Run `photogpt-webhooks ARGUMENTS` in `folder`, in a process of its own."""
        stdout, stderr = self.folder / f"{name}.out", self.folder / f"{name}.err"
        with stdout.open("wb") as out, stderr.open("wb") as err:
            process = self.popen(
                [sys.executable, "-m", "service", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env={**environment, "PYTHONUNBUFFERED": "1"},
                # Ctrl-C at the terminal is for the demo, which then ends its children in order.
                start_new_session=True,
            )
        child = Child(name, process, stdout, stderr)
        self._children.append(child)
        return child

    def forget(self, child: Child) -> None:
        """Of a child that has ended already, and was meant to."""
        self._children.remove(child)

    def end(self) -> None:
        """End all; CommandFailed if one did not end by itself and in order."""
        codes = {child.name: child.end() for child in reversed(self._children)}
        bad = {name: code for name, code in codes.items() if code != 0}
        if bad:
            raise CommandFailed(f"Not ended in order: {bad}")
