"""httpx's API over the engine: bodies stream both ways, and errors say whether the request can have been sent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from service.outbound.guard import Guard
from service.outbound.transport import DestinationRefused, OutboundTransport
from tests.outbound.names import Script, Stuck, guard
from tests.outbound.server import (
    CHUNKED,
    OK,
    TLS,
    Behaviour,
    for_ever,
    says,
    serving,
    standstill,
    then_closes,
    then_resets,
)
from tests.support.waiting import wait_until

PIECE = b"x" * 65536


@asynccontextmanager
async def client(
    *, its_guard: Guard | None = None, script: Script | Stuck | None = None, timeout: float = 10
) -> AsyncIterator[httpx.AsyncClient]:
    transport = OutboundTransport(tls=TLS, guard=its_guard, lookup=None if script is None else script.lookup)
    async with httpx.AsyncClient(transport=transport, timeout=timeout) as http:
        yield http


async def test_a_request_goes_out_and_its_answer_comes_back() -> None:
    said = b"HTTP/1.1 203 Perhaps\r\nx-one: 1\r\nX-Two: 2\r\nx-one: 3\r\ncontent-length: 2\r\n\r\nhi"
    async with serving(says(said)) as server, client() as http:
        answer = await http.post(server.url + "?a=%20&b=%2F", content=b"{}", headers={"X-First": "1"})
        assert (answer.status_code, answer.reason_phrase, answer.content) == (203, "Perhaps", b"hi")
        assert answer.headers.get_list("x-one") == ["1", "3"]
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /hook?a=%20&b=%2F HTTP/1.1\r\n")
        assert body == b"{}"
        names = sorted(line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:])
        sent = ["accept", "accept-encoding", "connection", "content-length", "host", "user-agent", "x-first"]
        assert [name.decode() for name in names] == sent


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_goes(method: str) -> None:
    async with serving(says(b"HTTP/1.1 204 No Content\r\n\r\n")) as server, client() as http:
        assert (await http.request(method, server.url)).status_code == 204
        assert server.requests[0].startswith(method.encode())
        assert b"chunked" not in server.requests[0].lower()


async def test_a_redirect_is_not_followed_and_a_cookie_not_brought_back_by_the_transport() -> None:
    moved = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nset-cookie: seen=1\r\ncontent-length: 0\r\n\r\n"
    async with serving(says(moved)) as server:
        transport = OutboundTransport(tls=TLS)
        for _ in range(2):
            answer = await transport.handle_async_request(httpx.Request("GET", server.url))
            assert answer.status_code == 302
            await answer.aclose()
        await transport.aclose()
        assert len(server.requests) == 2
        assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize("length", [True, False], ids=["with a length", "chunked"])
async def test_a_body_streams_out_and_waits_for_the_other_side(length: bool) -> None:
    """What a server does not read is not asked for."""
    may_read, received = asyncio.Event(), 0
    pieces, given = 400, 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(pieces):
            given += 1
            yield PIECE

    async def reluctant(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        head = await reader.readuntil(b"\r\n\r\n")
        assert (b"transfer-encoding: chunked" in head.lower()) is not length
        await may_read.wait()
        while received < pieces * len(PIECE):
            received += len(await reader.read(1 << 20))
        writer.write(OK)
        writer.close()

    async with await asyncio.start_server(reluctant, "127.0.0.1", 0) as listener, client() as http:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
        headers = {"content-length": str(pieces * len(PIECE))} if length else {}
        under_way = asyncio.ensure_future(http.post(url, content=body(), headers=headers))
        assert await standstill(lambda: given) < pieces / 2
        may_read.set()
        assert (await under_way).content == b"hi"
        assert given == pieces


async def test_a_body_streams_in_and_waits_for_whoever_reads_it() -> None:
    written = 0

    async def generous(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (400 * len(PIECE)))
        for _ in range(400):
            writer.write(PIECE)
            await writer.drain()
            written += 1

    async with serving(generous) as server, client() as http, http.stream("GET", server.url) as answer:
        assert await standstill(lambda: written) < 200
        size = 0
        async for chunk in answer.aiter_raw():
            size += len(chunk)
        assert size == 400 * len(PIECE)


async def test_an_answer_that_nobody_reads_to_its_end_is_let_go() -> None:
    async with serving(for_ever(b"1000\r\n" + b"x" * 4096 + b"\r\n", first=CHUNKED)) as server, client() as http:
        async with http.stream("GET", server.url) as answer:
            assert await anext(answer.aiter_raw())
        await server.everybody_gone()


async def test_connections_are_used_again() -> None:
    async with serving(says(OK)) as server, client() as http:
        for _ in range(3):
            await http.get(server.url)
        assert (server.connections, len(server.requests)) == (1, 3)


@pytest.mark.parametrize("declared", [1, 3])
async def test_a_body_of_another_length_than_it_says_is_an_error_and_not_a_wait(declared: int) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"{}"

    async with serving(says(OK)) as server, client() as http:
        with pytest.raises(httpx.TransportError):
            await http.post(server.url, content=body(), headers={"content-length": str(declared)})
        await wait_until(lambda: server.connections == 1, what="the connection")


class TestErrors:
    @pytest.mark.parametrize(
        ("behaviour", "error"),
        [
            (then_closes(), httpx.ReadError),
            (then_resets(), httpx.ReadError),
            (then_closes(b"what?\r\n\r\n"), httpx.RemoteProtocolError),
            (then_closes(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), httpx.RemoteProtocolError),
            (then_resets(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), httpx.ReadError),
            (says(), httpx.ReadTimeout),
            (says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), httpx.ReadTimeout),
        ],
        ids=["closes", "resets", "gibberish", "closes in the body", "resets in the body", "is silent", "stops"],
    )
    async def test_after_the_request_was_sent(self, behaviour: Behaviour, error: type[Exception]) -> None:
        async with serving(behaviour) as server, client(timeout=0.3) as http:
            with pytest.raises(error):
                await http.get(server.url)
            assert len(server.requests) == 1

    async def test_where_nobody_listens(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            async with client() as http:
                with pytest.raises(httpx.ConnectError):
                    await http.get(f"http://127.0.0.1:{taken.getsockname()[1]}/")

    async def test_where_a_name_is_not_found_in_time(self) -> None:
        stuck = Stuck("127.0.0.1")
        try:
            async with client(script=stuck, timeout=0.2) as http:
                with pytest.raises(httpx.ConnectTimeout):
                    await http.get("http://receiver.example/")
        finally:
            stuck.free()

    async def test_where_the_destination_is_refused(self) -> None:
        script = Script(["127.0.0.1"])
        async with serving(says(OK)) as server, client(its_guard=guard(script.lookup), script=script) as http:
            with pytest.raises(DestinationRefused):
                await http.get(f"https://receiver.example:{server.port}/")
            assert server.connections == 0
