"""What replicas tell each other through PostgreSQL: that the outbox has something new. The tick finds it anyway, later.

Told after the commit, over the one connection that also listens, and many commits at once: a NOTIFY inside a
transaction takes a lock of the whole server until its commit is on the disk, so that commits would queue up.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg

from service.clock import Clock
from service.storage.outbox import News
from service.telemetry.logging import get_logger

_log = get_logger("replicas")

_CHANNEL = "photogpt_webhooks"
# PostgreSQL's limit is 8000.
_LONGEST_PAYLOAD = 7900
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# A connection over which nothing is said may be dead without a word: it is asked now and then.
_ASK_SECONDS = 10.0
_FAULTS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Replicas:
    """`connect` gives asyncpg's connections; `heard` is called with what the others tell, never with one's own."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], heard: Callable[[News], None], clock: Clock) -> None:
        self._connect = connect
        self._heard = heard
        self._clock = clock
        self._untold = News()
        self._wanted = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    def start(self) -> None:
        self._running = asyncio.create_task(self._run(), name="replicas")

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def listening(self) -> None:
        """Wait until the others are heard."""
        await self._listening.wait()

    def tell(self, news: News) -> None:
        """Never waits."""
        self._untold.add(news)
        self._wanted.set()

    async def _run(self) -> None:
        """Whoever was away may have missed something, and so looks for everything."""
        pause = _FIRST_PAUSE
        while True:
            try:
                wire = await self._connect()
            except _FAULTS as error:
                _log.debug("replicas_unheard", reason=str(error))
            else:
                try:
                    await wire.add_listener(_CHANNEL, self._on_notification)
                    self._listening.set()
                    self._heard(News(to_send=True, all_tenants=True))
                    pause = _FIRST_PAUSE
                    await self._tell_over(wire)
                except _FAULTS as error:
                    _log.warning("replicas_lost", reason=str(error))
                finally:
                    self._listening.clear()
                    wire.terminate()
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _tell_over(self, wire: Any) -> None:
        wire.add_termination_listener(lambda _wire: self._wanted.set())
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_ASK_SECONDS):
                    await self._wanted.wait()
            self._wanted.clear()
            if self._untold == News():
                await wire.execute("SELECT 1")
                continue
            news, self._untold = self._untold, News()
            try:
                await wire.execute("SELECT pg_notify($1, $2)", _CHANNEL, payload_of(news))
            except _FAULTS:
                self._untold.add(news)
                raise

    def _on_notification(self, wire: Any, pid: int, _channel: str, payload: str) -> None:
        if pid != wire.get_server_pid():
            self._heard(news_of(payload))


def payload_of(news: News) -> str:
    """Short enough for a notification: of too many tenants it says that everybody is meant."""
    payload = json.dumps([news.to_send, None if news.all_tenants else sorted(news.tenants)], separators=(",", ":"))
    if len(payload) <= _LONGEST_PAYLOAD:
        return payload
    return payload_of(News(to_send=news.to_send, all_tenants=True))


def news_of(payload: str) -> News:
    """Another release may say it in another way; then everything is meant."""
    try:
        said = json.loads(payload)
    except ValueError:
        said = None
    match said:
        case [bool(to_send), [*tenants]]:
            return News(to_send=to_send, tenants={str(tenant) for tenant in tenants})
        case [bool(to_send), None]:
            return News(to_send=to_send, all_tenants=True)
        case _:
            return News(to_send=True, all_tenants=True)
