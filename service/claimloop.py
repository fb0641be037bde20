"""The one form of every loop here: claim due rows, act on each over the network, record what came of it.

A ClaimLoop owns when to claim and how many to have in flight; what is claimed and what is done with it is the
caller's. It claims only what it has free slots for, so that a claimed row is worked at once, within its lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from service.clock import Clock
from service.telemetry.logging import get_logger

T = TypeVar("T")
_log = get_logger("claimloop")

# Claim again once a quarter of the slots is free: one transaction per freed slot would cost more than the work.
_REFILL_FRACTION = 4


class ClaimLoop(Generic[T]):
    """`claim(limit)` commits before it returns; `work(item)` acts and records.

    An exception loses neither the loop nor the row: a row whose work failed comes back when its lease ends.
    """

    def __init__(
        self,
        name: str,
        *,
        claim: Callable[[int], Awaitable[Sequence[T]]],
        work: Callable[[T], Awaitable[None]],
        slots: int,
        clock: Clock,
    ) -> None:
        self.name = name
        self._claim = claim
        self._work = work
        self._slots = slots
        self._clock = clock
        self._wanted = asyncio.Event()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._stopping = False
        self.last_pass: float | None = None

    def start(self) -> None:
        self._runner = asyncio.create_task(self._run(), name=self.name)

    def wake(self) -> None:
        """There may be due rows: look now. Cheap, never waits, and many calls make one look."""
        self._wanted.set()

    async def stop(self, timeout: float) -> None:
        """Claim no more; give the work in flight `timeout` seconds, then cancel it (its leases bring the rows back)."""
        self._stopping = True
        if self._runner:
            self._wanted.set()
            await self._runner
        if self._in_flight:
            _, late = await asyncio.wait(self._in_flight, timeout=timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def idle_for(self) -> float | None:
        """Seconds since the loop last looked for due rows; None before its first look."""
        return None if self.last_pass is None else self._clock.monotonic() - self.last_pass

    async def _run(self) -> None:
        while not self._stopping:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._fill()
            except Exception:  # noqa: BLE001  # logged with its traceback
                # The loop outlives any failure of the database; the next tick looks again.
                _log.exception("claim_failed", loop=self.name)

    async def _fill(self) -> None:
        """Claim until nothing more is due or no slot is free."""
        while not self._stopping:
            free = self._slots - len(self._in_flight)
            self.last_pass = self._clock.monotonic()
            if free < max(1, self._slots // _REFILL_FRACTION):
                return  # a finishing task wakes the loop again
            claimed = await self._claim(free)
            for item in claimed:
                task = asyncio.create_task(self._guarded(item))
                self._in_flight.add(task)
                task.add_done_callback(self._finished)
            if len(claimed) < free:
                return

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        free = self._slots - len(self._in_flight)
        if free == max(1, self._slots // _REFILL_FRACTION) or not self._in_flight:
            self._wanted.set()

    async def _guarded(self, item: T) -> None:
        try:
            await self._work(item)
        except Exception:  # noqa: BLE001  # logged with its traceback; the lease brings the row back
            _log.exception("work_failed", loop=self.name)
