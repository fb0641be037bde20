"""A small application behind our listener, on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.api.body import BodyGuard
from service.listener.limits import Limits
from service.listener.protocol import Protocol
from tests.support import gateway as support
from tests.support.server import serve

simulators = support.simulators
template = support.template
world = support.world
gateway = support.gateway

QUICK = Limits(
    target=200, header=300, headers=600, header_count=10, pipelined=4, connections=20,
    head_seconds=0.5, unread_seconds=0.5, spare=20_000, spare_seconds=0.5,
)  # fmt: skip


class Quick(Protocol):
    limits = QUICK


@dataclass
class Echo:
    """Answers what it was asked. `/early` is answered unread, `/held` when let go, `/long` has no end."""

    asked: list[tuple[str, str]] = field(default_factory=list)
    headers: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    cut_off: int = 0
    held: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append((scope["method"], scope["path"]))
        if scope["path"] == "/long":
            await self._go_on(receive, send)
            return
        body = b"" if scope["path"] == "/early" else await self._body(receive)
        if scope["path"] == "/held":
            await self.held.wait()
        if body is None:
            self.cut_off += 1
            return
        self.headers.append(list(scope["headers"]))
        length = str(len(body)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": body})

    async def _go_on(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            await asyncio.wait([gone], timeout=0)
        self.cut_off += 1

    async def _body(self, receive: Receive) -> bytes | None:
        body = b""
        message: Message = {"more_body": True}
        while message["more_body"]:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
        return body


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def url(echo: Echo) -> Iterator[str]:
    """Of `echo`, where limits are small and times short."""
    with serve(echo, Quick) as url:
        yield url


@pytest.fixture
def guarded_url(echo: Echo) -> Iterator[str]:
    """Of `echo` behind a BodyGuard that waits for 0.5 s."""
    with serve(BodyGuard(echo, most_seconds=0.5), Quick) as url:
        yield url
