"""One bounded exchange with servers that misbehave in every way, on real sockets."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from service.clock import SystemClock
from service.outbound import Answer, NoAnswer, Outbound, tls_context
from tests.support.clock import FakeClock
from tests.support.waiting import wait_until

TLS = tls_context()
LIMIT = 1000
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Takes requests, notes them, and behaves as it was told to."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.requests: list[bytes] = []
        self.url = ""

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
                await self._behaviour(writer)
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
async def serving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(behaviour)
    listener = await asyncio.start_server(server.accept, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    server.url = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}/hook"
    try:
        yield server
    finally:
        listener.close()
        await server.stop()


@asynccontextmanager
async def outbound(
    *, timeout: float = 10, keep_alive: bool = False, tls: ssl.SSLContext = TLS, clock: FakeClock | None = None
) -> AsyncIterator[Outbound]:
    client = Outbound(timeout=timeout, body_limit=LIMIT, keep_alive=keep_alive, clock=clock or FakeClock(), tls=tls)
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


async def failure(url: str, *, timeout: float = 10, tls: ssl.SSLContext = TLS) -> tuple[str, bool]:
    """Why there is no answer, and whether the request can have been sent."""
    async with outbound(timeout=timeout, tls=tls) as client:
        with pytest.raises(NoAnswer) as failed:
            await client.send("POST", url, {}, b"{}")
        return failed.value.error_class.value, failed.value.sent


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
        ],
        ids=["length", "no content", "until it closes", "chunks", "after informational answers", "closed afterwards"],
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

    @pytest.mark.parametrize(("keep_alive", "connections"), [(True, 1), (False, 3)])
    async def test_has_a_connection_of_its_own_unless_told_otherwise(self, keep_alive: bool, connections: int) -> None:
        async with serving(says(OK)) as server, outbound(keep_alive=keep_alive) as client:
            for _ in range(3):
                await client.send("GET", server.url, {})
        assert (server.connections, len(server.requests)) == (connections, 3)

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

    async def test_is_not_repeated_over_a_connection_that_went_stale(self) -> None:
        async with serving(says(OK)) as server, outbound(keep_alive=True) as client:
            await client.send("GET", server.url, {})
            server._behaviour = then_resets()
            with pytest.raises(NoAnswer):
                await client.send("GET", server.url, {})
            assert (server.connections, len(server.requests)) == (1, 2)


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
    ("has one header without an end", for_ever(b"x" * 8192, first=b"HTTP/1.1 200 OK\r\nx-more: "), "protocol"),
]

TOO_SLOW = [
    ("never answers", says()),
    ("drips its headers", for_ever(b"x-more: 1\r\n", first=b"HTTP/1.1 200 OK\r\n", every=0.02)),
    ("drips one header", for_ever(b"x", first=b"HTTP/1.1 200 OK\r\nx-more: ", every=0.02)),
    ("drips its body", for_ever(b"1\r\nx\r\n", first=CHUNKED, every=0.02)),
    ("stops in its body", says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")),
    ("is always just processing", for_ever(b"HTTP/1.1 102 Processing\r\n\r\n", every=0.02)),
]


class TestManyAtOnce:
    async def test_none_waits_for_anothers_connection_and_all_are_used_again(self) -> None:
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

    async def test_connections_that_grew_old_are_closed(self) -> None:
        clock = FakeClock()
        async with serving(says(OK)) as server, outbound(keep_alive=True, clock=clock) as out:
            await asyncio.gather(*(out.send("GET", server.url, {}) for _ in range(3)))
            assert len(out._connections._idle) == 3
            clock.advance(5)
            await out.send("GET", server.url, {})
            assert len(out._connections._idle) == 1


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

    @pytest.mark.parametrize("behaviour", [behaviour for _, behaviour in TOO_SLOW], ids=[name for name, _ in TOO_SLOW])
    async def test_in_time_from_a_server_that(self, behaviour: Behaviour) -> None:
        # No single wait in it is long: only a deadline over all of it ends it.
        async with serving(behaviour) as server:
            assert await failure(server.url, timeout=0.5) == ("timeout", True)
            await server.everybody_gone()

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
            server._behaviour = says(OK)
            assert (await client.send("GET", server.url, {})).body == b"hi"

    async def test_for_an_exchange_that_is_called_off(self) -> None:
        async with serving(says()) as server, outbound() as client:
            under_way = asyncio.ensure_future(client.send("GET", server.url, {}))
            await wait_until(lambda: server.requests, what="the request")
            under_way.cancel()
            with pytest.raises(asyncio.CancelledError):
                await under_way
            await server.everybody_gone()


class Certificate:
    """Self-signed, for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        begins = datetime(2020, 1, 1, tzinfo=UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(begins)
            .not_valid_after(begins + timedelta(days=36500))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, SHA256())
        )
        self.path = folder / "certificate.pem"
        self.path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        self.server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server_side.load_cert_chain(self.path)

    def trusting(self) -> ssl.SSLContext:
        context = tls_context()
        context.load_verify_locations(self.path)
        return context


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


class TestTls:
    async def test_a_trusted_certificate_is_accepted(self, certificate: Certificate) -> None:
        async with serving(says(OK), certificate.server_side) as server, outbound(tls=certificate.trusting()) as client:
            assert (await client.send("GET", server.url, {})).body == b"hi"

    async def test_a_self_signed_certificate_is_refused(self, certificate: Certificate) -> None:
        async with serving(says(OK), certificate.server_side) as server:
            assert await failure(server.url) == ("tls", False)
            assert server.requests == []

    async def test_a_certificate_of_another_name_is_refused(self, certificate: Certificate) -> None:
        async with serving(says(OK), certificate.server_side) as server:
            url = server.url.replace("127.0.0.1", "localhost")
            assert await failure(url, tls=certificate.trusting()) == ("tls", False)
            assert server.requests == []

    @pytest.mark.parametrize(
        ("greeting", "error_class"),
        [(OK, "tls"), (b"\x00" * 100, "tls"), (b"", "tls")],
        ids=["speaks plain HTTP", "speaks something else", "hangs up"],
    )
    async def test_a_server_that_answers_the_greeting_wrongly_has_received_nothing(
        self, greeting: bytes, error_class: str
    ) -> None:
        connections = 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await reader.read(65536)
            writer.write(greeting)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            assert await failure(f"https://127.0.0.1:{port}/") == (error_class, False)
        assert connections == 1

    async def test_a_server_that_never_greets_back_is_given_up_and_left(self) -> None:
        async with serving(says()) as server:
            assert await failure(server.url.replace("http://", "https://"), timeout=0.5) == ("timeout", False)
            await server.everybody_gone()

    @pytest.mark.parametrize(
        ("behaviour", "error_class"),
        [
            (then_resets(), "reset"),
            (then_closes(), "reset"),
            (then_closes(b"\x00 what?\r\n\r\n"), "protocol"),
            (says(), "timeout"),
            (says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"), "timeout"),
        ],
        ids=["resets", "closes", "gibberish", "never answers", "stops in its body"],
    )
    async def test_what_goes_wrong_after_the_greeting_is_told_as_without_tls(
        self, certificate: Certificate, behaviour: Behaviour, error_class: str
    ) -> None:
        async with serving(behaviour, certificate.server_side) as server:
            assert await failure(server.url, timeout=0.5, tls=certificate.trusting()) == (error_class, True)
            assert len(server.requests) == 1
