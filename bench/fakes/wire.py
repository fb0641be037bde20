"""The least of HTTP/1.1 that a service under load speaks with us: requests with a length, kept-alive connections.

What it can't read it refuses, so that a service is never measured against an answer it should not have got.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

_END_OF_HEAD = b"\r\n\r\n"
_MOST_WAITING = 4096


@dataclass(frozen=True, slots=True)
class Request:
    """`head` is all of it, in small letters; `host` is the address of ours that the caller chose."""

    method: str
    path: str
    head: bytes
    body: bytes
    host: str


@dataclass(frozen=True, slots=True)
class Reply:
    """`status` 0: never answered. `close`: no second request on this connection."""

    status: int
    body: bytes = b"{}"
    after_seconds: float = 0.0
    close: bool = False


Answer = Callable[[Request], Reply]


class Connection(asyncio.Protocol):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._received = b""
        self._host = ""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass of it
        self._host = transport.get_extra_info("sockname")[0]

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(_END_OF_HEAD)) >= 0:
            head = self._received[:end]
            low = head.lower()
            body_at = end + len(_END_OF_HEAD)
            length = _length(low)
            if length is None:
                self._send(Reply(411, close=True))
                return
            if len(self._received) < body_at + length:
                return
            body, self._received = self._received[body_at : body_at + length], self._received[body_at + length :]
            self._take(head, low, body)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._transport = None

    def _take(self, head: bytes, low: bytes, body: bytes) -> None:
        method, path, _ = head[: head.find(b"\r\n")].decode("latin-1").split(" ", 2)
        reply = self._answer(Request(method, path, low, body, self._host))
        if not reply.status:
            return
        if b"\r\nconnection: close" in low:
            reply = Reply(reply.status, reply.body, reply.after_seconds, close=True)
        if reply.after_seconds:
            asyncio.get_running_loop().call_later(reply.after_seconds, self._send, reply)
        else:
            self._send(reply)

    def _send(self, reply: Reply) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s"
            % (
                reply.status,
                HTTPStatus(reply.status).phrase.encode(),
                b"connection: close\r\n" if reply.close else b"",
                len(reply.body),
                reply.body,
            )
        )
        if reply.close:
            self._transport.close()


async def listen(answer: Answer, hosts: list[str], port: int) -> asyncio.Server:
    """Serve at `port` of each of `hosts`; 0 picks one, for a single host only."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Connection(answer), hosts, port, backlog=_MOST_WAITING)


def _length(head: bytes) -> int | None:
    """Bytes of the body that follows; None if it is not told in a way that is read here."""
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return None if b"\r\ntransfer-encoding:" in head else 0
    text = head[at + len(b"\r\ncontent-length:") :].split(b"\r\n", 1)[0].strip()
    return int(text) if text.isdigit() else None
