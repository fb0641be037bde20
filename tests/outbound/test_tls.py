"""TLS by the name of the URL, whatever address is dialled."""

from __future__ import annotations

import asyncio

import pytest

from tests.outbound.certificate import Authority
from tests.outbound.names import Script, guard
from tests.outbound.server import OK, Behaviour, failure, outbound, says, serving, then_closes, then_resets


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_trusted_certificate_of_an_address_is_accepted(authority: Authority, host: str) -> None:
    tls = authority.server_side(host)
    async with serving(says(OK), tls, host=host) as server, outbound(tls=authority.context) as client:
        assert (await client.send("GET", server.url, {})).body == b"hi"


async def test_names_are_what_counts_and_not_the_address_dialled(authority: Authority) -> None:
    greeted: list[str | None] = []
    context = authority.server_side("receiver.example")
    context.sni_callback = lambda _socket, name, _context: greeted.append(name)
    script = Script(["127.0.0.2"])
    async with serving(says(OK), context, host="127.0.0.2") as server:
        its_guard = guard(script.lookup, allow="receiver.example")
        async with outbound(tls=authority.context, lookup=script.lookup, guard=its_guard) as client:
            answer = await client.send("GET", f"https://receiver.example:{server.port}/hook", {})
        assert answer.body == b"hi"
        assert greeted == ["receiver.example"]
        assert f"Host: receiver.example:{server.port}".encode() in server.requests[0].splitlines()


@pytest.mark.parametrize("certified", ["another.example", "127.0.0.2"])
async def test_a_certificate_of_another_name_is_refused(authority: Authority, certified: str) -> None:
    script = Script(["127.0.0.2"])
    async with serving(says(OK), authority.server_side(certified), host="127.0.0.2") as server:
        url = f"https://receiver.example:{server.port}/hook"
        assert await failure(url, tls=authority.context, lookup=script.lookup) == ("tls", False)
        assert server.requests == []


async def test_a_certificate_of_nobody_trusted_is_refused(authority: Authority) -> None:
    async with serving(says(OK), authority.server_side("127.0.0.1")) as server:
        assert await failure(server.url) == ("tls", False)
        assert server.requests == []


@pytest.mark.parametrize(
    ("greeting", "error_class"),
    [(OK, "tls"), (b"\x00" * 100, "tls"), (b"", "tls")],
    ids=["speaks plain HTTP", "speaks something else", "hangs up"],
)
async def test_a_server_that_answers_the_greeting_wrongly_has_received_nothing(
    greeting: bytes, error_class: str
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


async def test_a_server_that_never_greets_back_is_given_up_and_left() -> None:
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
    authority: Authority, behaviour: Behaviour, error_class: str
) -> None:
    async with serving(behaviour, authority.server_side("127.0.0.1")) as server:
        assert await failure(server.url, timeout=0.5, tls=authority.context) == (error_class, True)
        assert len(server.requests) == 1
