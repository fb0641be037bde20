"""Names to addresses, by getaddrinfo in threads of its own: it blocks, and can't be told to stop.

Whether an address may be connected to is the guard's question.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from service.domain.addresses import Address

# Names whose servers are slow hold a thread each: more than one tenant may have deliveries under way.
_THREADS = 128
_IDLE_SECONDS = 10.0

Find = Callable[[str, int], Sequence[str]]


def _by_the_system(host: str, port: int) -> list[str]:
    return [str(sockaddr[0]) for *_, sockaddr in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(slots=True)
class _Job:
    host: str
    port: int
    loop: asyncio.AbstractEventLoop
    found: asyncio.Future[list[Address]]
    waiting: int = 0
    begun: bool = False


class Lookup:
    """`find` is called in a thread. One lookup of a name is shared by all who want it meanwhile; none is remembered.

    The threads are daemons: one that hangs does not hold the end of the process back, as those of
    `concurrent.futures` would.
    """

    def __init__(self, find: Find = _by_the_system, *, threads: int = _THREADS) -> None:
        self._find = find
        self._most = threads
        self._under_way: dict[str, _Job] = {}
        # What the threads share, under the lock of `_news`.
        self._news = threading.Condition()
        self._queue: deque[_Job] = deque()
        self._threads = 0
        self._idle = 0

    async def addresses(self, host: str, port: int, *, timeout: float | None) -> list[Address]:
        """All addresses of `host`, at least one. OSError (gaierror) if there is none, TimeoutError after `timeout`."""
        job = self._under_way.get(host) or self._new(host, port)
        job.waiting += 1
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.shield(job.found)
        finally:
            job.waiting -= 1
            if not job.waiting and not job.begun:
                self._call_off(job)

    def _new(self, host: str, port: int) -> _Job:
        loop = asyncio.get_running_loop()
        job = _Job(host, port, loop, loop.create_future())
        job.found.add_done_callback(_look_at)
        self._under_way[host] = job
        with self._news:
            self._queue.append(job)
            if len(self._queue) > self._idle and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._work, name="lookup", daemon=True).start()
            else:
                self._news.notify()
        return job

    def _call_off(self, job: _Job) -> None:
        """Nobody waits for it any more, and no thread has taken it yet."""
        with self._news, suppress(ValueError):
            self._queue.remove(job)
        self._forget(job)

    def _forget(self, job: _Job) -> None:
        if self._under_way.get(job.host) is job:
            del self._under_way[job.host]

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                found = [ip_address(text) for text in dict.fromkeys(self._find(job.host, job.port))]
            except BaseException as error:  # noqa: BLE001  # whatever it is, who waits has to be told
                self._tell(job, error)
            else:
                self._tell(job, found or socket.gaierror(socket.EAI_NONAME, "no addresses"))

    def _next(self) -> _Job | None:
        """In a thread: the job that has waited longest; None if there was none for a while, which ends the thread."""
        with self._news:
            self._idle += 1
            waited = self._news.wait_for(lambda: self._queue, _IDLE_SECONDS)
            self._idle -= 1
            if not waited:
                self._threads -= 1
                return None
            job = self._queue.popleft()
            job.begun = True
            return job

    def _tell(self, job: _Job, outcome: list[Address] | BaseException) -> None:
        with suppress(RuntimeError):  # the loop may have been closed meanwhile
            job.loop.call_soon_threadsafe(self._told, job, outcome)

    def _told(self, job: _Job, outcome: list[Address] | BaseException) -> None:
        self._forget(job)
        if isinstance(outcome, BaseException):
            job.found.set_exception(outcome)
        else:
            job.found.set_result(outcome)


def _look_at(found: asyncio.Future[list[Address]]) -> None:
    """All who waited may have left: their loop need not complain of an error that nobody saw."""
    if not found.cancelled():
        found.exception()
