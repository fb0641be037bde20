"""Records what polls have seen: those that end while others are being recorded share the next unit of work.

Each still stands for itself: it is stored under its own fence, hears whether it was, and is recorded by itself, for as
long as its lease lasts, where what it shared came to nothing. No timer: what waits is written as soon as nothing is.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from service.clock import Clock
from service.crashpoints import CrashPoint, reached
from service.domain.training import Throttled
from service.storage.database import Database, UnitOfWork
from service.telemetry.logging import get_logger
from service.trainings.reading import Reading, Readings, pause_key

_log = get_logger("poller")

# In one unit of work: what else waits for the writer should not wait for more.
_LARGEST = 100


@dataclass(slots=True, eq=False)
class _Waiting:
    """`done`: whether the reading was stored; None if that is to be tried alone."""

    reading: Reading
    done: asyncio.Future[bool | None]

    def tell(self, saved: bool | None) -> None:  # noqa: FBT001  # what it says is all there is
        if not self.done.done():
            self.done.set_result(saved)


class Recording:
    def __init__(self, *, database: Database, readings: Readings, clock: Clock) -> None:
        self._database = database
        self._readings = readings
        self._clock = clock
        # What waits, by tenant where that matters; a line is there while it is worked off.
        self._lines: dict[str | None, deque[_Waiting]] = {}
        self._writing: set[asyncio.Task[None]] = set()

    async def save(self, reading: Reading, *, until: float) -> bool:
        """Store it, unless somebody was first: then False. Tried again, while the database is unavailable, to monotonic
        time `until`.
        """
        saved = await self._with_others(reading)
        if saved is None:
            of = reading.due.tenant_id
            saved = await self._database.settle(
                lambda unit: self._save(unit, reading), of=of, clock=self._clock, until=until
            )
        reached(CrashPoint.STATUS_COMMITTED)
        return saved

    async def _with_others(self, reading: Reading) -> bool | None:
        loop = asyncio.get_running_loop()
        one = _Waiting(reading, loop.create_future())
        # Among several writers none may hold rows of one tenant while it waits for those of another (`storage.groups`).
        of = None if self._database.has_one_writer else reading.due.tenant_id
        line = self._lines.get(of)
        if line is not None:
            line.append(one)
        else:
            line = self._lines[of] = deque([one])
            task = loop.create_task(self._work_off(line, of))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)
        return await one.done

    async def _work_off(self, line: deque[_Waiting], of: str | None) -> None:
        try:
            while line:
                await self._write(line, of)
        finally:
            del self._lines[of]

    async def _write(self, line: deque[_Waiting], of: str | None) -> None:
        together: list[_Waiting] = []
        saved: list[bool | None] = []

        def save(unit: UnitOfWork) -> list[bool | None]:
            if not together:  # it may be undone, and run again
                # By now its turn has come, and more may wait. This may be the writer's thread.
                together.extend(_first_of(line))
            return [self._save(unit, one.reading) for one in together]

        try:
            saved = await self._database.transaction(save, of=of)
        except Exception as error:  # noqa: BLE001  # raised again by whichever it belongs to
            _log.debug("recorded_one_by_one", readings=len(together), reason=type(error).__name__)
        finally:
            if not together:  # it never had its turn, nor would the next
                together.extend(line)
                line.clear()
            for one, stored in zip(together, saved or [None] * len(together), strict=True):
                one.tell(stored)

    def _save(self, unit: UnitOfWork, reading: Reading) -> bool:
        saved = self._readings.save(unit, reading)
        if isinstance(reading.seen, Throttled):
            pause_key(unit, reading.due.tenant_id, until=reading.at + reading.delay)
        reached(CrashPoint.STATUS_UNCOMMITTED)
        return saved


def _first_of(line: deque[_Waiting]) -> list[_Waiting]:
    """Taken out of it, but for those whose poll was cancelled meanwhile."""
    taken = [line.popleft() for _ in range(min(len(line), _LARGEST))]
    return [one for one in taken if not one.done.done()]
