"""One bounded HTTP exchange at a time.

Bounded means: one total deadline round name lookup, connect, TLS, request, headers and body; the body read raw and to
a limit; no redirect, retry, cookie, cache or proxy variable. A failure says whether the request can have been sent.

It goes straight to the engine: to build httpx's request and response costs more than all the rest of an exchange.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from service.clock import Clock
from service.crashpoints import CrashPoint, reached
from service.domain.delivery import ErrorClass
from service.outbound.engine import KEEP_ALIVE_SECONDS, Engine
from service.outbound.failures import FAILURES, error_class_of
from service.outbound.guard import Guard, Names
from service.outbound.lookup import Lookup
from service.outbound.passage import Passage


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (names in lower case) and at most `body_limit` bytes of the body, as sent (`complete` if all)."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool
    duration: timedelta
    raw_headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)


class NoAnswer(Exception):
    """The exchange failed. `sent` is False only when no byte of the request can have reached the other side."""

    def __init__(self, error_class: ErrorClass, *, sent: bool, duration: timedelta) -> None:
        super().__init__(error_class)
        self.error_class = error_class
        self.sent = sent
        self.duration = duration


class Outbound:
    """`timeout` is in seconds and total. Without `keep_alive` each exchange has a connection of its own.

    `crash_when_sent`: the crash point that is reached when a request is out and its answer is not here.
    Without `guard` it goes wherever it is told: for the one upstream that the operator chose.
    `proxy`: http://HOST:PORT of an egress proxy, which looks the names up; `guard` has to know of it.
    """

    def __init__(  # noqa: PLR0913  # each is a choice of its own
        self,
        *,
        timeout: float,
        body_limit: int,
        keep_alive: bool,
        clock: Clock,
        tls: ssl.SSLContext,
        crash_when_sent: CrashPoint | None = None,
        guard: Guard | None = None,
        lookup: Names | None = None,
        proxy: str | None = None,
    ) -> None:
        self._timeout = timeout
        self._body_limit = body_limit
        self._clock = clock
        self._crash_when_sent = crash_when_sent
        kept = KEEP_ALIVE_SECONDS if keep_alive else None
        self._engine = Engine(tls=tls, names=lookup or Lookup(), guard=guard, proxy=proxy, keep_alive=kept)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, body_limit: int | None = None
    ) -> Answer:
        """One exchange. Raises NoAnswer; any status code is an answer. `body_limit`: of this one."""
        started = self._clock.monotonic()
        passage = Passage(on_sent=self._sent)
        try:
            received = await self._engine.exchange(
                passage,
                method,
                url,
                {"accept-encoding": "identity", **headers},
                body,
                limit=body_limit or self._body_limit,
                deadline=asyncio.get_running_loop().time() + self._timeout,
            )
        except FAILURES as error:
            # Not `from error`: aiohttp's repeat URL and headers, and with them tokens and keys, in a traceback.
            error_class = error_class_of(error, passage)
            raise NoAnswer(error_class, sent=passage.sent, duration=self._since(started)) from None
        return Answer(
            status_code=received.status,
            headers=_headers(received.raw_headers),
            body=received.body,
            complete=received.complete,
            duration=self._since(started),
            raw_headers=received.raw_headers,
        )

    async def close(self) -> None:
        await self._engine.close()

    def _sent(self) -> None:
        if self._crash_when_sent is not None:
            reached(self._crash_when_sent)

    def _since(self, started: float) -> timedelta:
        return timedelta(seconds=self._clock.monotonic() - started)


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
