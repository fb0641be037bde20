"""Several gateways on one PostgreSQL database: any of them can be killed, frozen and started again."""

import json
import signal
from collections.abc import Iterator
from itertools import count
from typing import Any

from service.cli.processes import Child
from tests.acceptance.stack import Stack
from tests.support.waiting import wait_until_sync

# All but the first import what they need at the same time, on whatever this machine has left.
_LONGEST_START = 60.0


class Replica:
    """One place for a gateway. `up`: whether the gateway that is in it listens."""

    def __init__(self, stack: Stack, **settings: str) -> None:
        self._stack = stack
        self._settings = settings
        self.logs: list[Child] = []
        self._killed = self._listens = False
        self.address: str | None = None

    @property
    def gateway(self) -> Child:
        return self.logs[-1]

    def spawn(self) -> None:
        """Start it without waiting for it."""
        self._stack.spawn_gateway(**self._settings)
        self.logs.append(self._stack.gateway)
        self._killed = self._listens = False

    @property
    def up(self) -> bool:
        if self._killed:
            return False
        if not self._listens and (listening := next(entries(self.gateway, "listening"), None)) is not None:
            self.address = listening["api"]
            self._listens = True
        return self._listens

    def wait(self) -> None:
        wait_until_sync(lambda: self.up, what=f"{self.gateway.name} to listen", timeout=_LONGEST_START)

    def kill(self) -> None:
        self._killed = True
        self.address = None
        self._stack.crash(self.gateway)

    def freeze(self) -> None:
        """As a virtual machine that is paused: it has its connections, and does nothing."""
        self.gateway.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.gateway.process.send_signal(signal.SIGCONT)

    def said(self, event: str) -> list[dict[str, Any]]:
        """The log lines about `event` of all gateways that were in this place."""
        return [entry for child in self.logs for entry in entries(child, event)]


class Replicas:
    """The first is alone while it migrates the database and makes its keys; then the others come."""

    def __init__(self, stack: Stack, number: int, **settings: str) -> None:
        self._stack = stack
        self._settings = settings
        self.all = [Replica(stack, **settings) for _ in range(number)]
        self._turns = count()
        first, *others = self.all
        first.spawn()
        first.wait()
        for replica in others:
            replica.spawn()
        for replica in others:
            replica.wait()

    def add(self) -> None:
        """One more."""
        self.all.append(Replica(self._stack, **self._settings))
        self.all[-1].spawn()
        self.all[-1].wait()

    def any_address(self) -> str | None:
        """Of one after the other, of those that are up."""
        addresses = [address for replica in self.all if replica.up and (address := replica.address)]
        return addresses[next(self._turns) % len(addresses)] if addresses else None

    def said(self, event: str) -> list[dict[str, Any]]:
        return [entry for replica in self.all for entry in replica.said(event)]

    def thaw(self) -> None:
        """For the end of a test, whatever came of it: what is frozen can't be asked to end."""
        for replica in self.all:
            if replica.gateway.process.poll() is None:
                replica.thaw()


def entries(child: Child, event: str) -> Iterator[dict[str, Any]]:
    """Its log lines about `event`, so far."""
    for line in child._stderr.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            entry: dict[str, Any] = json.loads(line)
            if entry.get("event") == event:
                yield entry
