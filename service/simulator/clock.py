"""The only module of the simulator that reads a clock or waits; everything else is given one of these."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, in UTC."""

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SimulatedClock:
    """The time inside the simulation: begins at the real time of its making and runs `speed` times as fast."""

    def __init__(self, clock: Clock, speed: float) -> None:
        self._clock = clock
        self._speed = speed
        self._began_at = clock.now()

    def real_now(self) -> datetime:
        return self._clock.now()

    def now(self) -> datetime:
        return self.at(self._clock.now())

    def at(self, real: datetime) -> datetime:
        return self._began_at + (real - self._began_at) * self._speed


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC, with a Z as PhotoGPT writes it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
