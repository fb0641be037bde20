"""The only module that opens connections to other machines: one bounded HTTP exchange at a time.

Bounded means: one total deadline round name lookup, connect, TLS, request, headers and body; the body read raw and to
a limit; no redirect, retry, cookie, cache or proxy variable. A failure says whether the request can have been sent.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from service.clock import Clock
from service.crashpoints import CrashPoint, reached
from service.domain.delivery import ErrorClass

# A server closes idle connections when it likes; shorter than the usual 5 s or more is our side of that race.
_KEEP_ALIVE_SECONDS = 4.0
_CONNECTED = "connection.connect_tcp.complete"
_SENDING = ("http11.send_request_headers.started", "http2.send_request_headers.started")
_SENT = ("http11.receive_response_headers.started", "http2.receive_response_headers.started")
# What TLS says when it has to wait for the socket; whatever goes wrong meanwhile has it as its context.
_WAITING = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (names in lower case) and at most `body_limit` bytes of the body, as sent (`complete` if all)."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool
    duration: timedelta


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
    """

    def __init__(
        self,
        *,
        timeout: float,
        body_limit: int,
        keep_alive: bool,
        clock: Clock,
        tls: ssl.SSLContext,
        crash_when_sent: CrashPoint | None = None,
    ) -> None:
        self._timeout = timeout
        self._body_limit = body_limit
        self._clock = clock
        self._crash_when_sent = crash_when_sent
        self._connections = _Connections(tls, clock, keep_alive=keep_alive)

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """One exchange. Raises NoAnswer; any status code is an answer."""
        started = self._clock.monotonic()
        sent, connection = False, None

        async def watch(event: str, info: Mapping[str, Any]) -> None:
            nonlocal sent, connection
            sent = sent or event in _SENDING
            if event in _SENT and self._crash_when_sent is not None:
                reached(self._crash_when_sent)
            if event == _CONNECTED:
                connection = info["return_value"]

        request = httpx.Request(
            method,
            url,
            headers={"accept-encoding": "identity", **headers},
            content=body or None,
            extensions={"trace": watch},
        )
        try:
            async with asyncio.timeout(self._timeout), self._connections.one() as transport:
                response = await transport.handle_async_request(request)
                received, complete = await self._read(response)
        except (httpx.TransportError, OSError, ssl.SSLError) as error:
            raise NoAnswer(_classify(error), sent=sent, duration=self._since(started)) from error
        finally:
            if connection is not None and not sent:
                await connection.aclose()  # httpcore forgets a connection whose TLS handshake is called off
        return Answer(
            status_code=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=received,
            complete=complete,
            duration=self._since(started),
        )

    async def close(self) -> None:
        await self._connections.close()

    async def _read(self, response: httpx.Response) -> tuple[bytes, bool]:
        """The first bytes of the body, never inflated, and whether that was all."""
        received = bytearray()
        try:
            async for chunk in response.aiter_raw():
                received += chunk
                if len(received) > self._body_limit:
                    return bytes(received[: self._body_limit]), False
        finally:
            await response.aclose()
        return bytes(received), True

    def _since(self, started: float) -> timedelta:
        return timedelta(seconds=self._clock.monotonic() - started)


class _Connections:
    """A transport with one connection for each exchange under way, used again by later ones.

    No exchange ever waits for another's connection. In a pool of httpcore's (1.0.9) many do: it offers an idle
    connection to several requests, and all but one of them queue again, without a turn, until their deadline.
    """

    def __init__(self, tls: ssl.SSLContext, clock: Clock, *, keep_alive: bool) -> None:
        self._tls = tls
        self._clock = clock
        self._limits = httpx.Limits(
            max_connections=1,
            max_keepalive_connections=1 if keep_alive else 0,
            keepalive_expiry=_KEEP_ALIVE_SECONDS,
        )
        # The one that was used last is at the end, and is used next: the others may grow old, and are closed.
        self._idle: list[tuple[float, httpx.AsyncHTTPTransport]] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncHTTPTransport]:
        transport = self._idle.pop()[1] if self._idle else self._new()
        try:
            yield transport
        except BaseException:
            await transport.aclose()
            raise
        now = self._clock.monotonic()
        self._idle.append((now, transport))
        while now - self._idle[0][0] > _KEEP_ALIVE_SECONDS:
            await self._idle.pop(0)[1].aclose()

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop()[1].aclose()

    def _new(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, retries=0, limits=self._limits)


def tls_context() -> ssl.SSLContext:
    """The machine's trust store; loading it takes milliseconds, so one context serves everybody."""
    return ssl.create_default_context()


def _classify(error: BaseException) -> ErrorClass:
    """The stable class of a failure, by its most telling cause."""
    causes = [cause for cause in _chain(error) if not isinstance(cause, _WAITING)]
    for kind, error_class in (
        (socket.gaierror, ErrorClass.DNS),
        (ssl.SSLError, ErrorClass.TLS),
        (ConnectionRefusedError, ErrorClass.REFUSED),
        (TimeoutError, ErrorClass.TIMEOUT),
        (httpx.TimeoutException, ErrorClass.TIMEOUT),
        (ConnectionError, ErrorClass.RESET),
        (httpx.ConnectError, ErrorClass.CONNECT),
        (httpx.ReadError, ErrorClass.RESET),
        (httpx.WriteError, ErrorClass.RESET),
    ):
        if any(isinstance(cause, kind) for cause in causes):
            return error_class
    if any("disconnected" in str(cause) for cause in causes):
        return ErrorClass.RESET  # httpx says so of a connection that was closed instead of answered
    return ErrorClass.PROTOCOL


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error`, what caused it, and the members of groups: a name with several addresses fails as a group."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                yield from _chain(member)
        error = error.__cause__ or error.__context__
