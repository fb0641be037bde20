"""A database that fails so many times, and a clock for which that takes no time."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from service.storage.database import Runner
from tests.support.clock import FakeClock

T = TypeVar("T")


class Unreliable:
    """A runner whose writes fail so many times; before their commit, or after it, so that nobody hears of it."""

    def __init__(self, inner: Runner, *, failures: int, after_commit: bool = False) -> None:
        self.tries = 0
        self.one_writer = inner.one_writer
        self._inner = inner
        self._failures = failures
        self._after_commit = after_commit

    async def write(self, work: Callable[[Connection], T], of: str | None = None) -> T:
        self.tries += 1
        fails = self.tries <= self._failures
        if fails and not self._after_commit:
            raise ConnectionResetError("the database went away")
        result = await self._inner.write(work, of)
        if fails:
            raise ConnectionResetError("the database went away")
        return result

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self._inner.read(work)

    migrate = write

    async def scrub(self) -> bool:
        return await self._inner.scrub()

    async def close(self) -> None:
        await self._inner.close()


class Hurried(FakeClock):
    """Who sleeps by it has slept already."""

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
