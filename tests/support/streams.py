"""Streams of server-sent events, read through a real socket from a gateway that runs in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.types import ASGIApp

from tests.support.gateway import KEY, Gateway
from tests.support.waiting import wait_until

# Far below how often who waits looks by itself: a test that hears of news late has missed the wake-up.
SOON = 4.0


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the test runner's."""
        yield


@asynccontextmanager
async def on_a_socket(gateway: Gateway) -> AsyncIterator[str]:
    """The URL where the gateway's application is served meanwhile."""
    transport = gateway.http._transport
    assert isinstance(transport, httpx.ASGITransport)
    async with served(transport.app) as url:
        try:
            yield url
        finally:
            gateway.components.waiters.close()


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """In this very event loop; whoever has streams of it ends them first."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, ws="none", lifespan="off")
    server = _Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await wait_until(lambda: server.started, what="the server")
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


class Stream:
    """What comes, block by block: fields by name, comments as `comment`."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.connected: dict[str, str] = {}
        self._lines = answer.aiter_lines()

    async def next(self) -> dict[str, str]:
        """The next block; empty at the end of the stream."""
        block: dict[str, str] = {}
        async with asyncio.timeout(SOON):
            async for line in self._lines:
                if not line:
                    break
                name, _, value = line.partition(":")
                block[name or "comment"] = value.strip()
        return block


@asynccontextmanager
async def following(
    url: str, *, key: str = KEY, headers: dict[str, str] | None = None, **query: Any
) -> AsyncIterator[Stream]:
    """A stream of this key's events that is connected, after its first block, which says so."""
    given = {"authorization": f"Bearer {key}", **(headers or {})}
    async with (
        httpx.AsyncClient(base_url=url, headers=given, trust_env=False) as http,
        http.stream("GET", "/v1/events/stream", params=query) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        stream = Stream(answer)
        stream.connected = await stream.next()
        assert stream.connected["comment"] == "connected"
        yield stream
