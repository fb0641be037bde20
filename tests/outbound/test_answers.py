"""What comes back, as it was said, and what goes out: no more than was given."""

from __future__ import annotations

import asyncio
import gzip
from datetime import timedelta

import pytest

from tests.outbound.server import CHUNKED, LIMIT, OK, Behaviour, for_ever, get, outbound, says, serving, then_closes
from tests.support.clock import FakeClock


class TestAnAnswer:
    async def test_is_what_was_said(self) -> None:
        answer = await get(says(b"HTTP/1.1 404 Nope\r\nX-Kind: odd\r\ncontent-length: 3\r\n\r\nabc"))
        assert (answer.status_code, answer.body, answer.complete) == (404, b"abc", True)
        assert answer.headers == {"x-kind": "odd", "content-length": "3"}

    @pytest.mark.parametrize("status", [200, 201, 299, 301, 400, 404, 410, 429, 500, 503, 599, 799])
    async def test_has_any_status(self, status: int) -> None:
        answer = await get(says(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode()))
        assert (answer.status_code, answer.body, answer.complete) == (status, b"", True)

    @pytest.mark.parametrize(
        ("behaviour", "body"),
        [
            (says(OK), b"hi"),
            (says(b"HTTP/1.1 204 No Content\r\n\r\n"), b""),
            (then_closes(b"HTTP/1.0 200 OK\r\n\r\nto the end"), b"to the end"),
            (says(CHUNKED, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n"), b"abcde"),
            (says(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", OK), b"hi"),
            (then_closes(OK), b"hi"),
            (then_closes(b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", b"to ", b"the end"), b"to the end"),
            (says(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"), b""),
            (says(CHUNKED, b"3;note=1\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"), b"abc"),
            (says(b"HTTP/1.1 200 OK\ncontent-length: 2\n\nhi"), b"hi"),
            (says(*[bytes([byte]) for byte in OK]), b"hi"),
        ],
        ids=[
            "length",
            "no content",
            "until it closes",
            "chunks",
            "after informational answers",
            "closed afterwards",
            "coded until it closes",
            "not modified",
            "chunks with notes and a trailer",
            "lines that end in LF alone",
            "byte by byte",
        ],
    )
    async def test_may_come_in_any_form(self, behaviour: Behaviour, body: bytes) -> None:
        answer = await get(behaviour)
        assert (answer.body, answer.complete) == (body, True)

    @pytest.mark.parametrize(
        ("size", "kept", "complete"), [(LIMIT - 1, LIMIT - 1, True), (LIMIT, LIMIT, True), (LIMIT + 1, LIMIT, False)]
    )
    async def test_is_kept_up_to_the_limit(self, size: int, kept: int, complete: bool) -> None:
        answer = await get(says(f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n".encode() + b"x" * size))
        assert (answer.body, answer.complete) == (b"x" * kept, complete)

    async def test_to_a_head_has_no_body_whatever_it_says_of_one(self) -> None:
        head = says(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
        async with serving(head) as server, outbound(keep_alive=True) as client:
            for connections in (1, 2):
                answer = await client.send("HEAD", server.url, {})
                assert (answer.body, answer.complete, answer.headers["content-length"]) == (b"", True, "5")
                assert server.connections == connections

    async def test_may_have_as_many_and_as_long_headers_as_are_usual(self) -> None:
        headers = "".join(f"x-{number}: {'a' * (8000 if number < 8 else 8)}\r\n" for number in range(99))
        answer = await get(says(f"HTTP/1.1 200 OK\r\n{headers}content-length: 2\r\n\r\nhi".encode()))
        assert (answer.body, len(answer.headers), answer.headers["x-7"]) == (b"hi", 100, "a" * 8000)

    async def test_without_an_end_is_cut_and_its_connection_closed(self) -> None:
        async with serving(for_ever(b"1000\r\n" + b"x" * 4096 + b"\r\n", first=CHUNKED)) as server:
            async with outbound(keep_alive=True) as client:
                answer = await client.send("GET", server.url, {})
                await server.everybody_gone()
            assert (answer.body, answer.complete) == (b"x" * LIMIT, False)

    async def test_is_never_inflated(self) -> None:
        bomb = gzip.compress(b"0" * 100_000)
        assert len(bomb) < LIMIT
        head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(bomb)}\r\n\r\n"
        answer = await get(says(head.encode() + bomb))
        assert (answer.body, answer.complete) == (bomb, True)

    async def test_says_how_long_it_took_by_the_clock_given(self) -> None:
        clock = FakeClock()

        async def take_two_seconds(writer: asyncio.StreamWriter) -> None:
            clock.advance(2)
            await says(OK)(writer)

        async with serving(take_two_seconds) as server, outbound(clock=clock) as client:
            answer = await client.send("GET", server.url, {})
        assert answer.duration == timedelta(seconds=2)


class TestTheRequest:
    async def test_is_sent_as_given_and_with_no_more_than_it_needs(self) -> None:
        async with serving(says(OK)) as server, outbound() as client:
            await client.send("POST", f"{server.url}?a=%20&b='c'", {"x-first": "1", "Content-Type": "a/b"}, b'{"a":1}')
        host = server.url.removeprefix("http://").removesuffix("/hook")
        (request,) = server.requests
        assert sorted(request.decode().split("\r\n")) == sorted(
            [
                "POST /hook?a=%20&b='c' HTTP/1.1",
                f"Host: {host}",
                "accept-encoding: identity",
                "x-first: 1",
                "Content-Type: a/b",
                "Content-Length: 7",
                "Connection: close",
                "",
                '{"a":1}',
            ]
        )

    async def test_without_a_body_has_none(self) -> None:
        async with serving(says(OK)) as server, outbound() as client:
            await client.send("GET", server.url, {})
        assert b"content-length" not in server.requests[0].lower()

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_follows_no_redirect(self, status: int) -> None:
        async with serving(says(OK)) as elsewhere:
            moved = f"HTTP/1.1 {status} Moved\r\nlocation: {elsewhere.url}\r\ncontent-length: 0\r\n\r\n"
            async with serving(says(moved.encode())) as server, outbound() as client:
                answer = await client.send("POST", server.url, {"authorization": "Bearer key"}, b"{}")
            assert (answer.status_code, answer.headers["location"]) == (status, elsewhere.url)
            assert (server.connections, elsewhere.connections) == (1, 0)

    @pytest.mark.parametrize("keep_alive", [True, False])
    async def test_brings_no_cookie_back(self, keep_alive: bool) -> None:
        cookie = b"HTTP/1.1 200 OK\r\nset-cookie: seen=1; Path=/\r\ncontent-length: 0\r\n\r\n"
        async with serving(says(cookie)) as server, outbound(keep_alive=keep_alive) as client:
            first = await client.send("GET", server.url, {})
            await client.send("GET", server.url, {})
        assert first.headers["set-cookie"] == "seen=1; Path=/"
        assert len(server.requests) == 2
        assert b"cookie" not in server.requests[1].lower()

    async def test_takes_no_proxy_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with serving(says(OK)) as proxy, serving(says(OK)) as server:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
                monkeypatch.setenv(name.lower(), proxy.url)
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            async with outbound() as client:
                await client.send("GET", server.url, {})
            assert (server.connections, proxy.connections) == (1, 0)
