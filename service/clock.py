"""The only module that reads a clock. Everything else is given a Clock, so that tests and simulations own the time."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

# Seconds by which a clock may be wrong, for each second since it was right: ten times what quartz does.
_DRIFT = 0.001


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
        self._unsure = 0.0

    def tell(self, now: datetime, *, asked: float, answered: float) -> None:
        """The shared clock said `now` at some moment between these two, of the monotonic clock.

        On a busy machine an answer may be long on its way, and tell less than what is known already: so the surest is
        kept, and grows unsure with time. What contradicts it beyond both doubts says that the shared clock was set.
        """
        told_at, unsure = (asked + answered) / 2, (answered - asked) / 2
        if self._told is not None:
            then, was_told_at = self._told
            known_unsure = self._unsure + _DRIFT * (told_at - was_told_at)
            difference = abs((now - then).total_seconds() - (told_at - was_told_at))
            if unsure > known_unsure and difference <= unsure + known_unsure:
                return
        self._told, self._unsure = (now, told_at), unsure

    def now(self) -> datetime:
        if self._told is None:
            return self._own.now()
        then, told_at = self._told
        return then + timedelta(seconds=self._own.monotonic() - told_at)

    def monotonic(self) -> float:
        return self._own.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._own.sleep(seconds)
