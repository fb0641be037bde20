"""The one form of every loop here: claim due rows, act on each over the network, record what came of it.

A ClaimLoop owns when to claim and how many to have in flight; what is claimed and what is done with it is the
caller's. It claims only what it has free slots for, so that a claimed row is worked at once, within its lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.clock import Clock
from service.domain.errors import StorageUnavailable
from service.telemetry.logging import get_logger

T = TypeVar("T")
_log = get_logger("claimloop")

# Claim again once a quarter of the slots is free: one transaction per freed slot would cost more than the work.
_REFILL_FRACTION = 4


def refill_at(slots: int) -> int:
    """How many of `slots` must be free before claiming for them is worth a transaction."""
    return max(1, slots // _REFILL_FRACTION)


@dataclass(frozen=True, slots=True)
class Claimed(Generic[T]):
    """What one claim gave. `more`: not everything that is due, so that it is worth looking again before the tick."""

    items: Sequence[T]
    more: bool


class ClaimLoop(Generic[T]):
    """`claim(limit)` commits before it returns; `work(item)` acts and records.

    An exception loses neither the loop nor the row: a row whose work failed comes back when its lease ends.
    """

    def __init__(
        self,
        name: str,
        *,
        claim: Callable[[int], Awaitable[Claimed[T]]],
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
        self._more = False
        self._failing = False
        self._last_claim: float | None = None
        self.last_pass: float | None = None
        self.restarts = 0

    def start(self) -> None:
        self._last_claim = self._clock.monotonic()
        self._runner = asyncio.create_task(self._run(), name=self.name)

    def wake(self) -> None:
        """There may be due rows: look now. Cheap, never waits, and many calls make one look.

        A loop that has died, which no error of a claim or of work can bring about, is started again.
        """
        if self._runner is not None and self._runner.done() and not self._stopping:
            cause = None if self._runner.cancelled() else self._runner.exception()
            self.restarts += 1
            _log.error("loop_died", loop=self.name, cause=repr(cause), restarts=self.restarts)
            self._runner = asyncio.create_task(self._run(), name=self.name)
        self._wanted.set()

    async def stop(self, timeout: float) -> None:
        """Claim no more; give what is under way `timeout` seconds, then cancel it (leases bring the rows back)."""
        self._stopping = True
        self._wanted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                # The runner first: what it is claiming at this moment is work in flight, too.
                for tasks in ({self._runner} if self._runner else set(), self._in_flight):
                    if tasks:
                        await asyncio.wait(tasks)
        late = [task for task in (self._runner, *self._in_flight) if task is not None and not task.done()]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def idle_for(self) -> float | None:
        """Seconds since the loop last looked for due rows, in vain or not; None before its first look."""
        return None if self.last_pass is None else self._clock.monotonic() - self.last_pass

    @property
    def unclaimed_for(self) -> float | None:
        """Seconds since a claim last succeeded, or none was needed for want of slots; None before the start."""
        return None if self._last_claim is None else self._clock.monotonic() - self._last_claim

    async def _run(self) -> None:
        while not self._stopping:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._fill()
            except StorageUnavailable as unavailable:
                # Said once and without a traceback, however many ticks it lasts: the heartbeat has more to say of it.
                if not self._failing:
                    _log.warning("claim_failed", loop=self.name, reason=str(unavailable))
                self._failing = True
            except Exception:  # noqa: BLE001  # logged with its traceback
                _log.exception("claim_failed", loop=self.name)

    async def _fill(self) -> None:
        """Claim until nothing more can be had or no slot is free."""
        while not self._stopping:
            free = self._slots - len(self._in_flight)
            self.last_pass = self._clock.monotonic()
            if free < refill_at(self._slots):
                self._last_claim = self.last_pass
                return  # a finishing task wakes the loop again
            claimed = await self._claim(free)
            self._last_claim = self._clock.monotonic()
            self._more, self._failing = claimed.more, False
            for item in claimed.items:
                task = asyncio.create_task(self._guarded(item))
                self._in_flight.add(task)
                task.add_done_callback(self._finished)
            if not (claimed.items and claimed.more):
                return

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        free = self._slots - len(self._in_flight)
        if self._more or free == refill_at(self._slots) or not self._in_flight:
            self._wanted.set()

    async def _guarded(self, item: T) -> None:
        try:
            await self._work(item)
        except StorageUnavailable as unavailable:
            _log.warning("work_unrecorded", loop=self.name, **_ids_of(item), reason=str(unavailable))
        except Exception:  # noqa: BLE001  # logged with its traceback; the lease brings the row back
            _log.exception("work_failed", loop=self.name, **_ids_of(item))


def _ids_of(item: object) -> dict[str, str]:
    """What a line about it is found by, whatever a loop works on."""
    if isinstance(item, str):
        return {"row": item}
    found = {"row": getattr(item, "id", None), "tenant_id": getattr(item, "tenant_id", None)}
    return {name: value for name, value in found.items() if isinstance(value, str)}
