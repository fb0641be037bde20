"""On PostgreSQL, units of work of one tenant that wait at the same time share a commit.

They would wait for each other anyway: each event is numbered under a lock of its tenant's row (`outbox`), held until
the commit. Units of different tenants are never grouped, so that no group waits for one tenant while it holds another's
rows. A group has no savepoints: when anything goes wrong it is undone as a whole, and each of its units runs alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from service.domain.errors import StorageUnavailable
from service.telemetry.logging import get_logger

T = TypeVar("T")
_log = get_logger("groups")

# Units in one commit: more add latency, and hardly any rate.
_LARGEST = 16
# Groups of one tenant under way at once; another begins only where a full one waits. A quarter of the pool.
_MOST_LANES = 4


class Write(Protocol):
    """Runs a function of a connection in a transaction of its own."""

    def __call__(self, work: Callable[[Connection], T], /) -> Awaitable[T]: ...


@dataclass(slots=True)
class _Job:
    work: Callable[[Connection], Any]
    done: asyncio.Future[Any]

    def settle(self, result: Any, problem: Exception | None = None) -> None:
        if self.done.done():
            return  # whoever waited for it has gone
        if problem is None:
            self.done.set_result(result)
        else:
            self.done.set_exception(problem)


@dataclass(slots=True)
class _Line:
    """What waits for one tenant, and how many groups of it are under way."""

    waiting: deque[_Job] = field(default_factory=deque)
    lanes: int = 0

    def wants_a_lane(self) -> bool:
        return self.lanes == 0 or (len(self.waiting) >= _LARGEST and self.lanes < _MOST_LANES)

    def next(self) -> list[_Job]:
        group: list[_Job] = []
        while self.waiting and len(group) < _LARGEST:
            job = self.waiting.popleft()
            if not job.done.done():
                group.append(job)
        return group


class Groups:
    def __init__(self, *, once: Write, alone: Write, on_group: Callable[[int], None] = lambda _size: None) -> None:
        """`once` runs a group, and raises StorageUnavailable only where it may have been stored all the same; `alone`
        runs a unit by itself, with whatever patience it deserves. `on_group` hears how many are about to share a
        commit.
        """
        self._once = once
        self._alone = alone
        self._on_group = on_group
        self._lines: dict[str, _Line] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def write(self, work: Callable[[Connection], T], of: str) -> T:
        """What `work` returns or raises; it may run a second time, but is stored once. `of`: its tenant."""
        job = _Job(work, asyncio.get_running_loop().create_future())
        line = self._lines.setdefault(of, _Line())
        line.waiting.append(job)
        if line.wants_a_lane():
            line.lanes += 1
            self._begin(self._work_off(line, of))
        result: T = await job.done
        return result

    def _begin(self, lane: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(lane)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work_off(self, line: _Line, of: str) -> None:
        while group := line.next():
            self._on_group(len(group))
            if len(group) == 1:
                await self._by_itself(group[0])
            else:
                await self._together(group)
        line.lanes -= 1
        if line.lanes == 0:
            del self._lines[of]

    async def _together(self, group: list[_Job]) -> None:
        try:
            results = await self._once(lambda connection: [job.work(connection) for job in group])
        except StorageUnavailable as unavailable:
            for job in group:
                job.settle(None, unavailable)
        except Exception as error:  # noqa: BLE001  # it is raised again by the unit that it belongs to
            _log.debug("group_undone", units=len(group), reason=type(error).__name__)
            await asyncio.gather(*(self._by_itself(job) for job in group))
        else:
            for job, result in zip(group, results, strict=True):
                job.settle(result)

    async def _by_itself(self, job: _Job) -> None:
        try:
            result = await self._alone(job.work)
        except Exception as error:  # noqa: BLE001  # goes to whoever waits
            job.settle(None, error)
        else:
            job.settle(result)
