"""The only module that reads a clock. Everything else is given a Clock, so that tests and simulations own the time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_PRECISE_SECONDS = 1.0


class Clock(Protocol):
    """Wall time for what is stored, monotonic time for what is measured."""

    def now(self) -> datetime:
        """The wall time, in UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SharedClock:
    """Wall time as a clock that several processes share has told it, carried on by this machine's monotonic one.

    Replicas agree so on who holds a lease and what is due, however their own wall clocks differ or jump. Before it was
    told anything, it goes by `own`.
    """

    def __init__(self, own: Clock) -> None:
        self._own = own
        self._told: tuple[datetime, float] | None = None

    def tell(self, now: datetime, *, asked: float, answered: float) -> None:
        """The shared clock said `now` at some moment between these two, of the monotonic clock.

        What took long to say, as when the database was away meanwhile, would tell less than what is known already.
        """
        if self._told is not None and answered - asked > _PRECISE_SECONDS:
            return
        self._told = now, (asked + answered) / 2

    def now(self) -> datetime:
        if self._told is None:
            return self._own.now()
        then, told_at = self._told
        return then + timedelta(seconds=self._own.monotonic() - told_at)

    def monotonic(self) -> float:
        return self._own.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._own.sleep(seconds)
