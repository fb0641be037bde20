"""The driver's client: kept-alive connections, one request at a time on each, as little work as Python can do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

_END_OF_HEAD = b"\r\n\r\n"


class Answered(NamedTuple):
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Client:
    """As many connections as there are requests in flight; those that the other side closes are left."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[_Exchange] = []

    async def send(self, call: Call, timeout: float = 60) -> Answered:
        """Raises OSError or TimeoutError when no answer came."""
        exchange = self._take() or await self._connect()
        headers = "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
        head = (
            f"{call.method} {call.path} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\n{headers}"
            f"content-length: {len(call.body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(timeout):
                answered = await exchange.send(head.encode() + call.body)
        except BaseException:
            exchange.abandon()
            raise
        self._idle.append(exchange)
        return answered

    async def json(self, method: str, path: str, content: Any = None) -> Any:
        body = b"" if content is None else json.dumps(content).encode()
        answered = await self.send(Call(method, path, {"content-type": "application/json"}, body))
        if answered.status >= 400:
            raise RuntimeError(f"{method} {path}: {answered.status} {answered.body.decode()}")
        return json.loads(answered.body)

    def close(self) -> None:
        for exchange in self._idle:
            exchange.abandon()
        self._idle.clear()

    def _take(self) -> _Exchange | None:
        while self._idle:
            exchange = self._idle.pop()
            if exchange.usable:
                return exchange
        return None

    async def _connect(self) -> _Exchange:
        _, exchange = await asyncio.get_running_loop().create_connection(_Exchange, self._host, self._port)
        return exchange


class _Exchange(asyncio.Protocol):
    def __init__(self) -> None:
        self._received = b""
        self._waiting: asyncio.Future[Answered] | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass of it

    async def send(self, request: bytes) -> Answered:
        if self._transport is None:
            raise ConnectionResetError("closed before the request")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_END_OF_HEAD)
        if end < 0:
            return
        body_at = end + len(_END_OF_HEAD)
        until = _end_of_body(self._received, end, body_at)
        if until is None or self._waiting is None or self._waiting.done():
            return
        self._waiting.set_result(Answered(int(self._received[9:12]), self._received[body_at:until]))
        self._received = b""

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("closed before the answer"))

    def abandon(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _end_of_body(received: bytes, end_of_head: int, body_at: int) -> int | None:
    """Where the answer ends; None while it has not wholly come."""
    head = received[:end_of_head].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        until = body_at + int(head[at + len(b"\r\ncontent-length:") :].split(b"\r\n", 1)[0])
        return until if len(received) >= until else None
    if b"\r\ntransfer-encoding: chunked" in head:
        return len(received) if received.endswith(b"0\r\n\r\n") else None
    return body_at
