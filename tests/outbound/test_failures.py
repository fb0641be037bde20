"""Why there is no answer, and whether the request can have been sent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar, NoReturn

import pytest

from service.crashpoints import CrashPoint, arm
from service.outbound.exchange import NoAnswer, Outbound
from tests.outbound.server import (
    CHUNKED,
    OK,
    TLS,
    Behaviour,
    failure,
    for_ever,
    outbound,
    says,
    serving,
    then_closes,
    then_resets,
)
from tests.support.clock import FakeClock

NO_ANSWERS = [
    ("closes", then_closes(), "reset"),
    ("resets", then_resets(), "reset"),
    ("closes in the status line", then_closes(b"HTTP/1.1 20"), "reset"),
    ("closes in the headers", then_closes(b"HTTP/1.1 200 OK\r\nx: "), "reset"),
    ("resets in the headers", then_resets(b"HTTP/1.1 200 OK\r\nx: "), "reset"),
    ("resets in the body", then_resets(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), "reset"),
    ("closes in the body", then_closes(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), "protocol"),
    ("closes between chunks", then_closes(CHUNKED, b"3\r\nabc\r\n"), "protocol"),
    ("speaks gibberish", then_closes(b"\x00\xff\x80 what?\r\n\r\n"), "protocol"),
    ("speaks another protocol", then_closes(b"220 mail.example ESMTP\r\n\r\n"), "protocol"),
    ("has a status that is no number", then_closes(b"HTTP/1.1 abc OK\r\n\r\n"), "protocol"),
    ("has a status of four digits", then_closes(b"HTTP/1.1 2000 OK\r\n\r\n"), "protocol"),
    ("has no header names", then_closes(b"HTTP/1.1 200 OK\r\n: x\r\n\r\n"), "protocol"),
    (
        "has two lengths",
        then_closes(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
        "protocol",
    ),
    ("has no length in its chunks", then_closes(CHUNKED, b"zz\r\nabc\r\n"), "protocol"),
    ("switches protocols unasked", then_closes(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"), "protocol"),
    (
        "has headers without an end",
        for_ever(b"x-more: " + b"x" * 8192 + b"\r\n", first=b"HTTP/1.1 200 OK\r\n"),
        "protocol",
    ),
    ("has small headers without an end", for_ever(b"x-more: 1\r\n" * 100, first=b"HTTP/1.1 200 OK\r\n"), "protocol"),
    ("has 101 headers", says(b"HTTP/1.1 200 OK\r\n" + b"x: 1\r\n" * 101 + b"\r\n"), "protocol"),
    ("has a header of 9,000 bytes", says(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 9000 + b"\r\n\r\n"), "protocol"),
    ("has a trailer without an end", for_ever(b"x" * 8192, first=CHUNKED + b"0\r\nx-sum: "), "protocol"),
    ("has trailers without an end", for_ever(b"x: 1\r\n" * 100, first=CHUNKED + b"0\r\n"), "protocol"),
    ("has a chunk's note without an end", for_ever(b"x" * 8192, first=CHUNKED + b"3;x="), "protocol"),
    ("has a status that is too small", then_closes(b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n"), "protocol"),
    ("has one header without an end", for_ever(b"x" * 8192, first=b"HTTP/1.1 200 OK\r\nx-more: "), "protocol"),
]


class TestNoAnswer:
    @pytest.mark.parametrize(
        ("behaviour", "error_class"),
        [(behaviour, error_class) for _, behaviour, error_class in NO_ANSWERS],
        ids=[name for name, *_ in NO_ANSWERS],
    )
    async def test_from_a_server_that(self, behaviour: Behaviour, error_class: str) -> None:
        async with serving(behaviour) as server:
            assert await failure(server.url) == (error_class, True)
            assert len(server.requests) == 1

    async def test_where_nobody_listens(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            assert await failure(f"http://127.0.0.1:{taken.getsockname()[1]}/") == ("refused", False)

    async def test_where_a_name_leads_to_two_addresses_and_nobody_listens(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as taken:
            taken.bind(("0.0.0.0", 0))
            port = taken.getsockname()[1]

            def find_two(*_arguments: object, **_options: object) -> list[tuple[object, ...]]:
                tcp = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
                return [(*tcp, ("127.0.0.1", port)), (*tcp, ("127.0.0.2", port))]

            monkeypatch.setattr(socket, "getaddrinfo", find_two)
            assert await failure(f"http://twice.invalid:{port}/") == ("refused", False)

    async def test_where_no_such_name_is_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def find_nothing(*_arguments: object, **_options: object) -> NoReturn:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", find_nothing)
        assert await failure("http://nowhere.invalid/") == ("dns", False)

    async def test_says_how_long_it_took_by_the_clock_given(self) -> None:
        clock = FakeClock()

        async def take_three_seconds(writer: asyncio.StreamWriter) -> None:
            clock.advance(3)
            writer.close()

        async with serving(take_three_seconds) as server, outbound(clock=clock) as client:
            with pytest.raises(NoAnswer) as failed:
                await client.send("GET", server.url, {})
        assert failed.value.duration == timedelta(seconds=3)

    async def test_leaves_the_next_exchange_alone(self) -> None:
        async with serving(then_resets()) as server, outbound(keep_alive=True) as client:
            with pytest.raises(NoAnswer):
                await client.send("GET", server.url, {})
            server.behaviour = says(OK)
            assert (await client.send("GET", server.url, {})).body == b"hi"


@pytest.mark.parametrize("value", ["a\r\nx-more: b", "a\nx-more: b", "a\rb", "a\0b"])
async def test_a_header_that_would_be_two_is_not_sent(value: str) -> None:
    async with serving(says(OK)) as server, outbound() as client:
        for headers in ({"x-token": value}, {f"x-{value}": "token"}):
            with pytest.raises(NoAnswer) as failed:
                await client.send("GET", server.url, headers)
            assert not failed.value.sent
        assert server.requests == []


class TestACrashPoint:
    OPTIONS: ClassVar[dict[str, Any]] = {
        "timeout": 5,
        "body_limit": 1000,
        "keep_alive": False,
        "clock": FakeClock(),
        "tls": TLS,
        "crash_when_sent": CrashPoint.TRIGGER_SENT,
    }

    @pytest.fixture(autouse=True)
    def disarmed(self) -> Iterator[None]:
        yield
        arm(None)

    @pytest.mark.parametrize(("method", "body"), [("GET", b""), ("POST", b"{}")])
    async def test_is_reached_when_the_request_is_out_and_its_answer_is_not_here(
        self, method: str, body: bytes
    ) -> None:
        at, reached = asyncio.Event(), []

        async def answers_after_the_crash(writer: asyncio.StreamWriter) -> None:
            await at.wait()
            writer.write(OK)

        def crash(point: CrashPoint) -> None:
            reached.append(point)
            at.set()

        arm(crash)
        async with serving(answers_after_the_crash) as server:
            client = Outbound(**self.OPTIONS)
            await client.send(method, server.url, {}, body)
            await client.close()
        assert reached == [CrashPoint.TRIGGER_SENT]

    async def test_is_not_reached_without_a_request(self) -> None:
        reached: list[CrashPoint] = []
        arm(reached.append)
        client = Outbound(**self.OPTIONS)
        with pytest.raises(NoAnswer):
            await client.send("GET", "http://127.0.0.1:1/", {})
        await client.close()
        assert reached == []


@pytest.mark.parametrize("tail", ["/a b", "/a#b", "?a", "#a", "@127.0.0.2/a", "\\/a"])
async def test_a_url_that_another_might_read_otherwise_is_not_called(tail: str) -> None:
    async with serving(says(OK)) as server, outbound() as client:
        with pytest.raises(NoAnswer) as failed:
            await client.send("GET", f"http://127.0.0.1:{server.port}{tail}", {})
        assert (failed.value.error_class.value, failed.value.sent) == ("protocol", False)
        assert server.connections == 0
