"""The stream that says that something has changed: at once, after news, and for so many pages at most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from service.ops.live import MOST_STREAMS
from tests.ops.visitor import Visitor
from tests.support.gateway import MODEL
from tests.support.streams import SOON, served
from tests.support.waiting import wait_until


@asynccontextmanager
async def on_a_socket(visitor: Visitor) -> AsyncIterator[httpx.AsyncClient]:
    async with served(visitor.app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        try:
            yield http
        finally:
            visitor.gateway.components.waiters.close()
            visitor.gateway.advance(2)


class Changes:
    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self) -> str | None:
        """The next event's name, None at the end."""
        async with asyncio.timeout(SOON):
            async for line in self._lines:
                if line.startswith("event:"):
                    return line.removeprefix("event:").strip()
        return None


async def test_a_page_is_told_at_once_and_after_news_but_not_twice_in_a_second(visitor: Visitor) -> None:
    gateway = visitor.gateway
    async with on_a_socket(visitor) as http, http.stream("GET", "/ops/changes") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        changes = Changes(answer)
        assert await changes.next() == "changed"
        await wait_until(lambda: gateway.clock.sleeping, what="the pause after it")
        await gateway.started(MODEL)
        assert gateway.clock.sleeping, "the clock stands still, and so does the page"
        gateway.advance(1)
        assert await changes.next() == "changed"


async def test_it_ends_with_the_process(visitor: Visitor) -> None:
    async with on_a_socket(visitor) as http, http.stream("GET", "/ops/changes") as answer:
        changes = Changes(answer)
        assert await changes.next() == "changed"
        await wait_until(lambda: visitor.gateway.clock.sleeping, what="the pause after it")
        visitor.gateway.components.waiters.close()
        visitor.gateway.advance(1)
        assert await changes.next() is None


async def test_so_many_pages_are_kept_up_to_date_and_one_that_leaves_makes_room(visitor: Visitor) -> None:
    async with on_a_socket(visitor) as http, AsyncExitStack() as open_ones:
        first = await http.send(http.build_request("GET", "/ops/changes"), stream=True)
        streams = visitor.app.state.ops.streams
        for _ in range(MOST_STREAMS - 1):
            await open_ones.enter_async_context(http.stream("GET", "/ops/changes"))
        async with http.stream("GET", "/ops/changes") as refused:
            assert refused.status_code == 429
            await refused.aread()
            assert refused.json()["code"] == "too_many_waiting"
        await first.aclose()
        visitor.gateway.advance(1)
        await visitor.gateway.started(MODEL)
        await wait_until(lambda: len(streams) < MOST_STREAMS, what="the stream of the page that was left to end")
        assert (await http.send(http.build_request("GET", "/ops/changes"), stream=True)).status_code == 200


async def test_strangers_get_no_stream(stranger: Visitor) -> None:
    assert (await stranger.http.get("/ops/changes", headers={"accept": "text/event-stream"})).status_code == 401
