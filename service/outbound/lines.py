"""Connections that whole exchanges go over, and those that are kept for a while."""

from __future__ import annotations

import asyncio
from collections import deque

from service.outbound.http1 import Http1


class Line(Http1):
    """One that is ours alone."""

    idle_since = 0.0

    def close(self) -> None:
        self.transport.close()


class Lines:
    """Those that are idle, by origin, for `seconds` each."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._idle: dict[str, deque[Line]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def take(self, origin: str) -> Line | None:
        """The one that was used last, if there is one whose other side has not ended it."""
        idle = self._idle.get(origin)
        while idle:
            line = idle.pop()
            if line.usable:
                return line
            line.close()
        return None

    def keep(self, origin: str, line: Line) -> None:
        loop = asyncio.get_running_loop()
        line.idle_since = loop.time()
        self._idle.setdefault(origin, deque()).append(line)
        if self._sweep is None:
            self._sweep = loop.call_later(self._seconds, self._close_old, loop)

    def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for idle in self._idle.values():
            for line in idle:
                line.close()
        self._idle = {}

    def _close_old(self, loop: asyncio.AbstractEventLoop) -> None:
        oldest = loop.time() - self._seconds
        for origin, idle in list(self._idle.items()):
            while idle and idle[0].idle_since <= oldest:
                idle.popleft().close()
            if not idle:
                del self._idle[origin]
        waits = [idle[0].idle_since - oldest for idle in self._idle.values()]
        self._sweep = loop.call_later(min(waits), self._close_old, loop) if waits else None
