"""An event loop whose time is virtual: when nothing is ready to run, time jumps to the next timer.

With no threads and no sockets in it, the order of everything is a function of the program alone, so a run can be
repeated exactly; and hours pass in milliseconds.
"""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


class DeadlockError(Exception):
    """Nothing is ready to run and no timer is set: whoever still waits would wait for ever."""


class _Selector(selectors.SelectSelector):
    """Waits by moving the clock. Sockets are never ready: there are none but asyncio's own."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise DeadlockError
        self.now += max(timeout, 0.0)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


class VirtualClock:
    """A `service.clock.Clock` on that loop. `put` moves the wall clock alone, as an operator or NTP would."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop
        self._offset = timedelta(0)

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time()) + self._offset

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @property
    def behind(self) -> float:
        """By how many seconds it has been put back in all."""
        return max(0.0, -self._offset.total_seconds())

    def put(self, by: timedelta) -> None:
        self._offset += by
