"""Connections that are used again, and those that must not be."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from service.clock import SystemClock
from service.outbound.engine import Engine
from service.outbound.exchange import NoAnswer
from service.outbound.http1 import Received
from service.outbound.lookup import Lookup
from service.outbound.passage import Passage
from tests.outbound.server import OK, TLS, Server, outbound, says, serving, then_closes, then_resets


async def exchange(engine: Engine, server: Server) -> Received:
    deadline = asyncio.get_running_loop().time() + 10
    return await engine.exchange(Passage(), "GET", server.url, {}, b"", limit=10, deadline=deadline)


@pytest.mark.parametrize(("keep_alive", "connections"), [(True, 1), (False, 3)])
async def test_has_a_connection_of_its_own_unless_told_otherwise(keep_alive: bool, connections: int) -> None:
    async with serving(says(OK)) as server, outbound(keep_alive=keep_alive) as client:
        for _ in range(3):
            await client.send("GET", server.url, {})
    assert (server.connections, len(server.requests)) == (connections, 3)


async def test_is_not_repeated_over_a_connection_that_went_stale() -> None:
    async with serving(says(OK)) as server, outbound(keep_alive=True) as client:
        await client.send("GET", server.url, {})
        server.behaviour = then_resets()
        with pytest.raises(NoAnswer):
            await client.send("GET", server.url, {})
        assert (server.connections, len(server.requests)) == (1, 2)


async def test_none_waits_for_anothers_connection_and_all_are_used_again() -> None:
    """In httpcore 1.0.9, of 1,500 exchanges, 64 at once, hundreds got no connection before their deadline."""
    at_once, clock = asyncio.Semaphore(64), SystemClock()

    async def slowly(writer: asyncio.StreamWriter) -> None:
        await clock.sleep(0.01)
        writer.write(OK)

    async with serving(slowly) as server, outbound(timeout=30, keep_alive=True) as out:

        async def one() -> int:
            async with at_once:
                return (await out.send("GET", server.url, {})).status_code

        answers = await asyncio.gather(*(one() for _ in range(640)))
        assert answers == [200] * 640
        assert server.connections <= 64


@pytest.mark.parametrize("streams", [True, False])
async def test_one_that_has_been_idle_for_long_is_closed(streams: bool) -> None:
    async with serving(says(OK)) as server:
        engine = Engine(tls=TLS, names=Lookup(), guard=None, proxy=None, keep_alive=0.2)
        if streams:
            answer = await engine.begin(Passage(), "GET", server.url, {}, None, aiohttp.ClientTimeout())
            await answer.read()
        else:
            await exchange(engine, server)
        await server.everybody_gone()
        await engine.close()
        assert server.connections == 1


async def test_one_that_the_other_side_closed_meanwhile_is_not_used() -> None:
    async with serving(then_closes(OK)) as server, outbound(keep_alive=True) as client:
        for _ in range(3):
            assert (await client.send("GET", server.url, {})).body == b"hi"
            await server.everybody_gone()
        assert server.connections == 3


async def test_what_was_said_unasked_on_an_idle_one_is_no_answer_to_the_next_request() -> None:
    said = asyncio.Event()

    async def goes_on_talking(writer: asyncio.StreamWriter) -> None:
        await says(OK)(writer)
        await answered.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        said.set()

    answered = asyncio.Event()
    async with serving(goes_on_talking) as server:
        engine = Engine(tls=TLS, names=Lookup(), guard=None, proxy=None, keep_alive=600)
        assert (await exchange(engine, server)).body == b"hi"
        answered.set()
        await said.wait()
        await server.everybody_gone()
        server.behaviour = says(OK)
        assert (await exchange(engine, server)).body == b"hi"
        assert server.connections == 2
        await engine.close()


async def test_what_was_said_beyond_the_answer_is_no_answer_to_the_next_request() -> None:
    beyond = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
    async with serving(says(OK + beyond)) as server, outbound(keep_alive=True) as client:
        for connections in (1, 2):
            assert (await client.send("GET", server.url, {})).body == b"hi"
            await server.everybody_gone()
            assert server.connections == connections


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_a_get_whose_connection_is_cut_is_sent_once(keep_alive: bool) -> None:
    """Aiohttp repeats it of its own accord."""
    async with serving(then_resets()) as server, outbound(keep_alive=keep_alive) as client:
        for tries in (1, 2, 3):
            with pytest.raises(NoAnswer) as failed:
                await client.send("GET", server.url, {})
            assert failed.value.sent
            assert (server.connections, len(server.requests)) == (tries, tries)


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_exchanges_with_one_server_are_under_way_together(keep_alive: bool) -> None:
    all_here = asyncio.Event()

    async def waits_for_all(writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 150:
            all_here.set()
        await all_here.wait()
        writer.write(OK)

    async with serving(waits_for_all) as server, outbound(keep_alive=keep_alive) as client:
        answers = await asyncio.gather(*(client.send("GET", server.url, {}) for _ in range(150)))
        assert [answer.status_code for answer in answers] == [200] * 150
