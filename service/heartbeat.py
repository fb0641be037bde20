"""The gateway feels its own pulse: can the database be written, how long do due rows wait, did the wall clock jump?

Every tick asks for a beat; a beat is at most one write in two seconds. What `/readyz` says is what the last beats
found, so that a probe costs nothing, answers at once, and can't be used to load the database. PhotoGPT and receivers
are never asked: their outage is no reason to take the gateway out of service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.clock import Clock, SharedClock
from service.domain.errors import StorageUnavailable
from service.storage.database import Database, UnitOfWork
from service.telemetry.logging import get_logger

_log = get_logger("heartbeat")

BEAT_SECONDS = 2.0
# Two beats and SQLite's patience with a lock (5 s): whoever waits longer for a write is not served.
_FRESH_SECONDS = 10.0
# NTP steps a clock by less, and slews it below half a second.
_JUMP = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the last beats found. Times in seconds; `waiting`: how long the oldest due row of each kind has waited."""

    storage_ok: bool
    written_ago: float | None
    waiting: dict[str, float]


class Heartbeat:
    """`on_clock_back` are run when the wall clock was put back: what was due by the old time must not wait for it.

    A SharedClock is told the database's time at every beat.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock | SharedClock,
        on_clock_back: Sequence[Callable[[], Awaitable[int]]],
    ) -> None:
        self._database = database
        self._clock = clock
        self._shared = clock if isinstance(clock, SharedClock) else None
        self._on_clock_back = tuple(on_clock_back)
        self._beating: asyncio.Task[None] | None = None
        self._begun = float("-inf")
        self._last_times: tuple[datetime, float] | None = None
        self._behind = timedelta(0)
        self._written_at: float | None = None
        self._failing = False
        self._due: dict[str, datetime | None] = {}

    def wake(self) -> None:
        """Beat, unless the last beat is still under way or was just now. Never waits."""
        if self._beating is not None and not self._beating.done():
            return
        if self._clock.monotonic() - self._begun < BEAT_SECONDS:
            return
        self._beating = asyncio.create_task(self.beat(), name="heartbeat")

    async def start(self) -> None:
        """The first beat, which also sees whether the wall clock was put back while no process ran.

        Raises StorageUnavailable.
        """
        await self._hear_time()
        last = await self._database.read(lambda unit: unit.last_beat())
        if last is not None and last - self._clock.now() >= _JUMP:
            self._behind = last - self._clock.now()
            _log.warning("clock_jumped", seconds=-round(self._behind.total_seconds(), 1))
        await self.beat()

    async def beat(self) -> None:
        """Look at the clock, write, and look at what is due. Failing is a finding, not an error."""
        self._begun = self._clock.monotonic()
        try:
            await self._hear_time()
            self._look_at_clock()
            await self._mend_due_times()
            await self._database.beat(self._clock.now())
            self._due = await self._database.read(_oldest_due)
        except StorageUnavailable as unavailable:
            if not self._failing:
                _log.error("storage_unavailable", reason=str(unavailable), cause=type(unavailable.__cause__).__name__)
            self._failing = True
        else:
            if self._failing:
                _log.info("storage_recovered")
            self._failing = False
            self._written_at = self._clock.monotonic()

    async def stop(self) -> None:
        if self._beating is not None:
            await asyncio.wait([self._beating])

    def pulse(self) -> Pulse:
        written_ago = None if self._written_at is None else self._clock.monotonic() - self._written_at
        fresh = written_ago is not None and written_ago <= _FRESH_SECONDS
        now = self._clock.now()
        waiting = {name: max(0.0, (now - at).total_seconds()) for name, at in self._due.items() if at is not None}
        return Pulse(fresh and not self._failing, written_ago, waiting)

    async def _hear_time(self) -> None:
        if self._shared is None:
            return
        told = await self._database.time(self._clock)
        if told is not None:
            self._shared.tell(told.now, asked=told.asked, answered=told.answered)

    def _look_at_clock(self) -> None:
        """Compare how far both clocks went since the last beat; a monotonic clock knows no jumps."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        if self._last_times is not None:
            then, monotonic_then = self._last_times
            jump = (now - then) - timedelta(seconds=monotonic - monotonic_then)
            if abs(jump) >= _JUMP:
                _log.warning("clock_jumped", seconds=round(jump.total_seconds(), 1))
                self._behind = max(self._behind - jump, timedelta(0))
        self._last_times = now, monotonic

    async def _mend_due_times(self) -> None:
        """Once for each time that the clock was put back; tried again at the next beat if storage fails."""
        if self._behind:
            moved = sum([await mend() for mend in self._on_clock_back])
            _log.info("due_times_mended", rows=moved)
            self._behind = timedelta(0)


def _oldest_due(unit: UnitOfWork) -> dict[str, datetime | None]:
    return {
        "poller": unit.trainings.oldest_due(),
        "starter": unit.queues.oldest_due(),
        "dispatcher": unit.outbox.oldest_due(),
    }
