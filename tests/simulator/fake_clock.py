"""A clock that tests move by hand and that never waits unless it is told to wait for ever."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta


class FakeClock:
    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def advance(self, *, minutes: float = 0, seconds: float = 0) -> None:
        self.time += timedelta(minutes=minutes, seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class StoppedClock(FakeClock):
    """Whoever sleeps by it never wakes; `given_up` is set once a sleeper was called off."""

    def __init__(self) -> None:
        super().__init__()
        self.given_up = threading.Event()

    async def sleep(self, seconds: float) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()
