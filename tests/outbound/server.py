"""Servers that misbehave in every way, on real sockets, and clients of ours for them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from service.clock import SystemClock
from service.outbound.connector import tls_context
from service.outbound.exchange import Answer, NoAnswer, Outbound
from service.outbound.guard import Guard, Names
from tests.support.clock import FakeClock

TLS = tls_context()
LIMIT = 1000
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Takes requests, notes them, and behaves as it was told to."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""
        self.port = 0

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
                self.requests.append(head + body)
                await self.behaviour(writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the other side has gone
        finally:
            writer.close()

    async def everybody_gone(self) -> None:
        """Return once every connection has come to its end."""
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def serving(
    behaviour: Behaviour, tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Server]:
    server = Server(behaviour)
    listener = await asyncio.start_server(server.accept, host, port, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    server.url = f"{'https' if tls else 'http'}://{shown}:{server.port}/hook"
    try:
        yield server
    finally:
        listener.close()
        await server.stop()


@asynccontextmanager
async def outbound(
    *,
    timeout: float = 10,
    keep_alive: bool = False,
    tls: ssl.SSLContext = TLS,
    clock: FakeClock | None = None,
    guard: Guard | None = None,
    lookup: Names | None = None,
    proxy: str | None = None,
) -> AsyncIterator[Outbound]:
    client = Outbound(
        timeout=timeout,
        body_limit=LIMIT,
        keep_alive=keep_alive,
        clock=clock or FakeClock(),
        tls=tls,
        guard=guard,
        lookup=lookup,
        proxy=proxy,
    )
    try:
        yield client
    finally:
        await client.close()


def says(*parts: bytes) -> Behaviour:
    """Write this and keep the connection open."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()

    return behave


def then_closes(*parts: bytes) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        await says(*parts)(writer)
        writer.close()

    return behave


def then_resets(*parts: bytes) -> Behaviour:
    async def behave(writer: asyncio.StreamWriter) -> None:
        await says(*parts)(writer)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return behave


def for_ever(part: bytes, *, first: bytes = b"", every: float = 0) -> Behaviour:
    """Write `part` over and over, with pauses that are short beside any deadline here."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        while not writer.is_closing():
            writer.write(part)
            await writer.drain()
            await SystemClock().sleep(every)

    return behave


async def get(behaviour: Behaviour, *, timeout: float = 10) -> Answer:
    async with serving(behaviour) as server, outbound(timeout=timeout) as client:
        return await client.send("GET", server.url, {})


async def failure(
    url: str,
    *,
    timeout: float = 10,
    tls: ssl.SSLContext = TLS,
    guard: Guard | None = None,
    lookup: Names | None = None,
    proxy: str | None = None,
) -> tuple[str, bool]:
    """Why there is no answer, and whether the request can have been sent."""
    async with outbound(timeout=timeout, tls=tls, guard=guard, lookup=lookup, proxy=proxy) as client:
        with pytest.raises(NoAnswer) as failed:
            await client.send("POST", url, {}, b"{}")
        return failed.value.error_class.value, failed.value.sent


async def standstill(count: Callable[[], int]) -> int:
    """Wait until `count` is above nothing and no longer rises."""
    before = -1
    while before != count() or not count():
        before = count()
        await SystemClock().sleep(0.1)
    return before
