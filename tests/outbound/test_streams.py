"""Streams: bodies go both ways at the pace of their takers, and errors say whether the request can have been sent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from service.domain.delivery import ErrorClass
from service.outbound.lookup import Lookup
from service.outbound.streams import Stream, StreamBroken, Streams
from tests.outbound.names import Script, Stuck
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

PIECE = b"x" * 65536


@asynccontextmanager
async def streams(
    *, quiet: float = 10, keep_alive: bool = True, script: Script | Stuck | None = None
) -> AsyncIterator[Streams]:
    lookup = Lookup() if script is None else script.lookup
    made = Streams(quiet=quiet, keep_alive=keep_alive, tls=TLS, lookup=lookup)
    try:
        yield made
    finally:
        await made.close()


async def whole(stream: Stream) -> bytes:
    try:
        return b"".join([chunk async for chunk in stream.chunks()])
    finally:
        stream.close()


async def ask(out: Streams, url: str, method: str = "GET") -> bytes:
    return await whole(await out.begin(method, url, [], None))


async def body_of(pieces: int) -> AsyncIterator[bytes]:
    for _ in range(pieces):
        yield PIECE


async def test_a_request_goes_out_and_its_answer_comes_back_as_they_are() -> None:
    said = b"HTTP/1.1 203 Perhaps\r\nx-one: 1\r\nX-Two: 2\r\nx-one: 3\r\ncontent-length: 2\r\n\r\nhi"
    async with serving(says(said)) as server, streams() as out:
        headers = [("X-First", "1"), ("x-more", "a"), ("x-more", "b"), ("content-length", str(len(PIECE)))]
        answer = await out.begin("POST", server.url + "?a=%20&b=%2F", headers, body_of(1))
        assert (answer.status, await whole(answer)) == (203, b"hi")
        assert [header for header in answer.headers if header[0].startswith(b"x-")] == [
            (b"x-one", b"1"),
            (b"x-one", b"3"),
        ]
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /hook?a=%20&b=%2F HTTP/1.1\r\n")
        assert body == PIECE
        names = sorted(line.split(b":")[0].decode().lower() for line in head.split(b"\r\n")[1:])
        assert names == ["content-length", "host", "x-first", "x-more", "x-more"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_goes(method: str) -> None:
    async with serving(says(b"HTTP/1.1 204 No Content\r\n\r\n")) as server, streams() as out:
        assert await ask(out, server.url, method) == b""
        assert server.requests[0].startswith(method.encode())
        assert b"chunked" not in server.requests[0].lower()


async def test_a_redirect_is_not_followed_and_a_cookie_not_brought_back() -> None:
    moved = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nset-cookie: seen=1\r\ncontent-length: 0\r\n\r\n"
    async with serving(says(moved)) as server, streams() as out:
        for _ in range(2):
            answer = await out.begin("GET", server.url, [], None)
            assert answer.status == 302
            await whole(answer)
        assert len(server.requests) == 2
        assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize("length", [True, False], ids=["with a length", "chunked"])
async def test_a_body_streams_out_and_waits_for_the_other_side(length: bool) -> None:
    """What a server does not read is not asked for."""
    may_read, received = asyncio.Event(), 0
    pieces, given = 400, 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal given
        async for piece in body_of(pieces):
            given += 1
            yield piece

    async def reluctant(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        head = await reader.readuntil(b"\r\n\r\n")
        assert (b"transfer-encoding: chunked" in head.lower()) is not length
        await may_read.wait()
        while received < pieces * len(PIECE):
            received += len(await reader.read(1 << 20))
        writer.write(OK)
        writer.close()

    async with await asyncio.start_server(reluctant, "127.0.0.1", 0) as listener, streams() as out:
        url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
        headers = [("content-length", str(pieces * len(PIECE)))] if length else []
        under_way = asyncio.ensure_future(out.begin("POST", url, headers, body()))
        assert await standstill(lambda: given) < pieces / 2
        may_read.set()
        assert await whole(await under_way) == b"hi"
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

    async with serving(generous) as server, streams() as out:
        answer = await out.begin("GET", server.url, [], None)
        assert await standstill(lambda: written) < 200
        assert len(await whole(answer)) == 400 * len(PIECE)


async def test_an_answer_that_nobody_reads_to_its_end_is_let_go() -> None:
    async with serving(for_ever(b"1000\r\n" + b"x" * 4096 + b"\r\n", first=CHUNKED)) as server, streams() as out:
        answer = await out.begin("GET", server.url, [], None)
        assert await anext(answer.chunks())
        answer.close()
        await server.everybody_gone()


@pytest.mark.parametrize(("keep_alive", "connections"), [(True, 1), (False, 3)])
async def test_connections_are_used_again_if_that_is_wanted(keep_alive: bool, connections: int) -> None:
    async with serving(says(OK)) as server, streams(keep_alive=keep_alive) as out:
        for _ in range(3):
            assert await ask(out, server.url) == b"hi"
        assert (server.connections, len(server.requests)) == (connections, 3)


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_a_get_whose_connection_is_cut_is_sent_once(keep_alive: bool) -> None:
    """Aiohttp's session repeats it of its own accord."""
    async with serving(then_resets()) as server, streams(keep_alive=keep_alive) as out:
        with pytest.raises(StreamBroken) as failed:
            await ask(out, server.url)
        assert failed.value.sent
        assert (server.connections, len(server.requests)) == (1, 1)


class TestErrors:
    @pytest.mark.parametrize(
        ("behaviour", "error_class"),
        [
            (then_closes(), ErrorClass.RESET),
            (then_resets(), ErrorClass.RESET),
            (then_closes(b"what?\r\n\r\n"), ErrorClass.PROTOCOL),
            (then_closes(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), ErrorClass.PROTOCOL),
            (then_resets(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), ErrorClass.RESET),
            (says(), ErrorClass.TIMEOUT),
            (says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), ErrorClass.TIMEOUT),
        ],
        ids=["closes", "resets", "gibberish", "closes in the body", "resets in the body", "is silent", "stops"],
    )
    async def test_after_the_request_was_sent(self, behaviour: Behaviour, error_class: ErrorClass) -> None:
        async with serving(behaviour) as server, streams(quiet=0.3) as out:
            with pytest.raises(StreamBroken) as broken:
                await ask(out, server.url)
            assert (broken.value.error_class, broken.value.sent) == (error_class, True)
            assert len(server.requests) == 1

    async def test_where_nobody_listens(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            async with streams() as out:
                with pytest.raises(StreamBroken) as broken:
                    await ask(out, f"http://127.0.0.1:{taken.getsockname()[1]}/")
        assert (broken.value.error_class, broken.value.sent) == (ErrorClass.REFUSED, False)

    async def test_where_a_name_is_not_found_in_time(self) -> None:
        stuck = Stuck("127.0.0.1")
        try:
            async with streams(script=stuck, quiet=0.2) as out:
                with pytest.raises(StreamBroken) as broken:
                    await ask(out, "http://upstream.example/")
        finally:
            stuck.free()
        assert broken.value.sent is False
