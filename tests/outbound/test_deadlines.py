"""No exchange takes longer than it may, whatever the other side does."""

from __future__ import annotations

import asyncio

import pytest

from tests.outbound.server import CHUNKED, Behaviour, failure, for_ever, outbound, says, serving
from tests.support.waiting import wait_until

TOO_SLOW = [
    ("never answers", says()),
    ("drips its headers", for_ever(b"x-more: 1\r\n", first=b"HTTP/1.1 200 OK\r\n", every=0.02)),
    ("drips one header", for_ever(b"x", first=b"HTTP/1.1 200 OK\r\nx-more: ", every=0.02)),
    ("drips its body", for_ever(b"1\r\nx\r\n", first=CHUNKED, every=0.02)),
    ("stops in its body", says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")),
    ("is always just processing", for_ever(b"HTTP/1.1 102 Processing\r\n\r\n", every=0.02)),
]


@pytest.mark.parametrize("behaviour", [behaviour for _, behaviour in TOO_SLOW], ids=[name for name, _ in TOO_SLOW])
async def test_it_ends_in_time_with_a_server_that(behaviour: Behaviour) -> None:
    # No single wait in it is long: only a deadline over all of it ends it.
    async with serving(behaviour) as server:
        assert await failure(server.url, timeout=0.5) == ("timeout", True)
        await server.everybody_gone()


async def test_one_that_is_called_off_leaves_nothing_open() -> None:
    async with serving(says()) as server, outbound() as client:
        under_way = asyncio.ensure_future(client.send("GET", server.url, {}))
        await wait_until(lambda: server.requests, what="the request")
        under_way.cancel()
        with pytest.raises(asyncio.CancelledError):
            await under_way
        await server.everybody_gone()
