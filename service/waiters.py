"""Wakes whoever waits for news of a tenant: long polls and event streams. What is new, they read themselves.

Another replica's is not always heard of at once; so who waits looks now and then, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from service.domain.errors import TooManyWaiting

# Each is an open connection.
_MOST = 1000
# How often who waits looks by itself: another replica's news wake nobody here.
LOOK_SECONDS = 5.0
# In place of a tenant: for news of whomever.
EVERYBODY = "*"


async def quiet(woken: asyncio.Event, seconds: float) -> None:
    """Wait for news, at most so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()


class Waiters:
    """`per_tenant`: how many of them one tenant may be; None: all."""

    def __init__(self, per_tenant: int | None = None) -> None:
        self._per_tenant = per_tenant
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._count = 0
        self.closed = False

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def listening(self, tenant_id: str) -> Iterator[asyncio.Event]:
        """An event that is set by all news from now on, so that what is read afterwards misses none.

        Raises TooManyWaiting.
        """
        if self._count >= _MOST:
            raise TooManyWaiting(f"{_MOST} requests wait for news already; poll instead, or try again later.")
        if self._per_tenant is not None and len(self._waiting.get(tenant_id, ())) >= self._per_tenant:
            raise TooManyWaiting(
                f"{self._per_tenant} of your requests wait for news already, which is the most; poll instead."
            )
        woken = asyncio.Event()
        self._waiting.setdefault(tenant_id, set()).add(woken)
        self._count += 1
        if self.closed:
            woken.set()
        try:
            yield woken
        finally:
            self._count -= 1
            self._waiting[tenant_id].discard(woken)
            if not self._waiting[tenant_id]:
                del self._waiting[tenant_id]

    def wake(self, tenants: Iterable[str] | None) -> None:
        """None: everybody."""
        for tenant_id in list(self._waiting) if tenants is None else {*tenants, EVERYBODY}:
            for woken in self._waiting.get(tenant_id, ()):
                woken.set()

    def close(self) -> None:
        """Let nobody wait any more: the process ends."""
        self.closed = True
        self.wake(None)
