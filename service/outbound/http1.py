"""The client's side of HTTP/1.1 on one connection: a request that goes out in one piece, and the whole of its answer.

Polls, triggers and attempts are such. What a client session does beside that, from cookies to a stream for each body,
took three times as long as the exchange itself (docs/performance.md). The grammar is llhttp's, by httptools; how to
connect, and where to, is `engine`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import aiohttp
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

# What an answer may take of our memory beside its body. A line longer than this is refused also before its end.
LONGEST_LINE = 8190
MOST_HEADERS = 100
_MOST_UNREAD = 64 * 1024
_CONTINUE, _SWITCHING_PROTOCOLS, _OK = 100, 101, 200


@dataclass(frozen=True, slots=True)
class Received:
    """An answer. `complete`: `body` is all of it."""

    status: int
    raw_headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    complete: bool


class BadAnswer(aiohttp.ClientError):
    """It is not HTTP, has no end, is more than is read, or ended too early."""


def spelled(method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """The bytes of a request. ValueError for a target or for headers that can't be sent."""
    if " " in target or "#" in target:
        raise ValueError("a blank or a fragment in the target of a request")
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers]]
    head = "\n".join(lines)
    # Whoever could put these into a header could write others, or a second request.
    if head.count("\n") >= len(lines) or "\r" in head or "\0" in head:
        raise ValueError("a line break or NUL in a header")
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


class Http1(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        # As aiohttp's parser, and with it every usual client, reads what receivers say.
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._answer: asyncio.Future[Received] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._spent = False
        self._limit = 0
        self._unread = 0
        self._begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    @property
    def usable(self) -> bool:
        """Whether another request may go out here."""
        return not (self._spent or self.transport.is_closing() or self.transport.get_write_buffer_size())

    def ask(self, request: bytes, *, limit: int, deadline: float, bodiless: bool = False) -> asyncio.Future[Received]:
        """Send it. The answer has at most `limit` bytes of body; at `deadline` of the loop's time it is a TimeoutError,
        and else one of aiohttp's errors.

        `bodiless`: whatever its head says of a body, none comes (HEAD).
        """
        self._begin()
        self._limit, self._bodiless = limit, bodiless
        self._answer = self._loop.create_future()
        self._deadline = self._loop.call_at(deadline, self._fail, TimeoutError())
        self.transport.write(request)
        return self._answer

    def _begin(self) -> None:
        self._status: int | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._until_closed = False
        self._bodiless = False

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            # Unasked: it must not be taken for the answer to what is asked next.
            self._spent = True
            self.transport.close()
            return
        self._unread += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._fail(BadAnswer("switched protocols unasked"))
        except HttpParserError as error:
            self._fail(BadAnswer(type(error).__name__))
        if self._unread > _MOST_UNREAD:
            self._fail(BadAnswer("a line without an end"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._spent = True
        if exc is not None:
            error = aiohttp.ClientOSError(*exc.args)
            error.__cause__ = exc
            self._fail(error)
        elif self._until_closed:
            self._finish(complete=True)
        elif self._status is None:
            self._fail(aiohttp.ServerDisconnectedError())
        else:
            self._fail(BadAnswer("ended too early"))
        del self._parser  # each has the other

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._spent = self._spent or self._answer is None

    def on_header(self, name: bytes, value: bytes) -> None:
        self._unread = 0
        if len(self._headers) >= MOST_HEADERS or len(name) + len(value) > LONGEST_LINE:
            raise BadAnswer("more or longer headers than are read")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._unread = 0
        status = self._parser.get_status_code()
        if status == _SWITCHING_PROTOCOLS or status < _CONTINUE:
            raise BadAnswer("an answer that was not asked for")
        if status < _OK:
            self._headers = []  # and the answer is still to come
            return
        self._status = status
        if self._bodiless:
            self._spent = True
            self._finish(complete=True)
        else:
            self._until_closed = _ends_when_closed(self._headers)

    def on_body(self, chunk: bytes) -> None:
        self._unread = 0
        if self._answer is None:
            return
        self._size += len(chunk)
        self._body.append(chunk)
        if self._size > self._limit:
            self._spent = True
            self._finish(complete=False)

    def on_message_complete(self) -> None:
        if self._status is not None:
            self._spent = self._spent or not self._parser.should_keep_alive()
            self._finish(complete=True)

    # How an exchange ends.

    def _finish(self, *, complete: bool) -> None:
        answer = self._settled()
        if answer is not None and self._status is not None:
            body = b"".join(self._body)[: self._limit]
            answer.set_result(Received(self._status, tuple(self._headers), body, complete))

    def _fail(self, error: Exception) -> None:
        self._spent = True
        answer = self._settled()
        if answer is not None:
            answer.set_exception(error)

    def _settled(self) -> asyncio.Future[Received] | None:
        """The answer that somebody waits for, which nothing is said of any more after this."""
        answer, self._answer = self._answer, None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        return None if answer is None or answer.done() else answer


def _ends_when_closed(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the end of the connection is that of a body, if there is one (RFC 9112, 6.3)."""
    framing = {name.lower(): value for name, value in headers}
    coding = framing.get(b"transfer-encoding")
    if coding is not None:
        return coding.rpartition(b",")[2].strip().lower() != b"chunked"
    return b"content-length" not in framing
