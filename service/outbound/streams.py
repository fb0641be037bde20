"""Requests whose bodies stream both ways: bounded by silence, not by size or by a deadline, which their caller sets.

What nobody takes is not read, and what nobody accepts is not asked for. URL and headers go out exactly as given, which
httpx's own request would not do; no redirect, retry, cookie, cache or proxy variable.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import suppress

import aiohttp

from service.domain.delivery import ErrorClass
from service.outbound.engine import KEEP_ALIVE_SECONDS, Engine
from service.outbound.failures import FAILURES, error_class_of
from service.outbound.guard import Names
from service.outbound.passage import Passage

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


class StreamBroken(Exception):
    """It failed. `sent` is False only when no byte of the request can have reached the other side."""

    def __init__(self, error_class: ErrorClass, *, sent: bool) -> None:
        super().__init__(error_class)
        self.error_class = error_class
        self.sent = sent


class Streams:
    """`quiet`: seconds that the other side may let pass without taking or giving a byte."""

    def __init__(self, *, quiet: float, keep_alive: bool, tls: ssl.SSLContext, lookup: Names) -> None:
        self._quiet = quiet
        kept = KEEP_ALIVE_SECONDS if keep_alive else None
        self._engine = Engine(tls=tls, names=lookup, guard=None, proxy=None, keep_alive=kept)

    async def begin(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: AsyncIterable[bytes] | None
    ) -> Stream:
        """Send it, until the head of the answer is there. Raises StreamBroken. The answer has to be closed.

        A body without Content-Length among the headers goes out in chunks.
        """
        passage = Passage()
        try:
            async with asyncio.timeout(self._quiet) as patience:
                watched = None if body is None else _patient(body, patience, self._quiet)
                response = await self._engine.begin(passage, method, url, headers, watched, _NO_TIMEOUT)
        except FAILURES as error:
            # Not `from error`: aiohttp's repeat URL and headers, and with them keys, in a traceback.
            raise StreamBroken(error_class_of(error, passage), sent=passage.sent) from None
        return Stream(response, passage, self._quiet)

    async def close(self) -> None:
        await self._engine.close()


class Stream:
    """The answer: its head, and its body as sent, neither chunked nor inflated."""

    def __init__(self, response: aiohttp.ClientResponse, passage: Passage, quiet: float) -> None:
        self.status = response.status
        self.headers: tuple[tuple[bytes, bytes], ...] = response.raw_headers
        self._response = response
        self._passage = passage
        self._quiet = quiet

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises StreamBroken when it ends too early, or when nothing comes for too long."""
        content = self._response.content
        while True:
            try:
                async with asyncio.timeout(self._quiet):
                    chunk = await content.readany()
            except FAILURES as error:
                self._passage.broken_off()
                raise StreamBroken(error_class_of(error, self._passage), sent=True) from None
            if not chunk:
                return
            yield chunk

    def close(self) -> None:
        """What has not come yet is not waited for: the connection ends, unless all has come."""
        self._response.close()


async def _patient(body: AsyncIterable[bytes], patience: asyncio.Timeout, quiet: float) -> AsyncIterator[bytes]:
    """`body`; how long its sender takes for the next piece is not the other side's silence."""
    loop = asyncio.get_running_loop()

    def wait_until(when: float | None) -> None:
        # Nobody is patient any longer if the answer began before the body had ended.
        with suppress(RuntimeError):
            patience.reschedule(when)

    wait_until(None)
    async for chunk in body:
        wait_until(loop.time() + quiet)
        yield chunk
        wait_until(None)
    wait_until(loop.time() + quiet)
