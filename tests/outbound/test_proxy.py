"""An egress proxy that the operator named: only it is dialled, it looks names up, and its faults are its own."""

from __future__ import annotations

import socket

import pytest

from tests.outbound.certificate import Authority
from tests.outbound.names import Script, Stuck, guard
from tests.outbound.proxy import proxying
from tests.outbound.server import OK, failure, outbound, says, serving, then_closes, then_resets

NEVER_ASKED = Script([])
REFUSAL = b"HTTP/1.1 %d Refused\r\ncontent-length: 6\r\n\r\nforbid"


async def test_https_goes_through_a_tunnel_with_tls_by_the_name(authority: Authority) -> None:
    async with serving(says(OK), authority.server_side("receiver.example")) as server, proxying() as proxy:
        its_guard = guard(NEVER_ASKED.lookup, by_proxy=True)
        url = f"https://receiver.example:{server.port}/hook?a=%20"
        async with outbound(tls=authority.context, proxy=proxy.url, guard=its_guard) as client:
            for _ in range(2):
                answer = await client.send("POST", url, {"x-first": "1"}, b"{}")
                assert (answer.status_code, answer.body) == (200, b"hi")
        assert proxy.asked == [f"CONNECT receiver.example:{server.port} HTTP/1.1".encode()] * 2
        assert server.requests[0].startswith(b"POST /hook?a=%20 HTTP/1.1\r\n")


async def test_plain_http_goes_in_absolute_form() -> None:
    async with serving(says(OK)) as server, proxying() as proxy:
        its_guard = guard(NEVER_ASKED.lookup, by_proxy=True, allow="receiver.example")
        async with outbound(proxy=proxy.url, guard=its_guard) as client:
            answer = await client.send("POST", f"http://receiver.example:{server.port}/hook?a=%20", {}, b"{}")
        assert answer.body == b"hi"
        assert proxy.asked == [f"POST http://receiver.example:{server.port}/hook?a=%20 HTTP/1.1".encode()]


async def test_a_name_is_not_looked_up_here() -> None:
    script = Script(["127.0.0.1"])
    async with proxying(REFUSAL % 403) as proxy:
        its_guard = guard(script.lookup, by_proxy=True)
        assert await its_guard.check("https://receiver.example/", pointer="") == "https://receiver.example/"
        await failure("https://receiver.example/", proxy=proxy.url, guard=its_guard, lookup=script.lookup)
    assert script.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/",
        "https://127.0.0.1/",
        "https://[fd00::1]/",
        "https://metadata.google.internal/",
        "https://single/",
        "http://receiver.example/",
        "https://127.1/",
    ],
)
async def test_what_a_url_says_itself_is_judged_here(url: str) -> None:
    async with proxying(REFUSAL % 403) as proxy:
        its_guard = guard(NEVER_ASKED.lookup, by_proxy=True)
        assert await failure(url, proxy=proxy.url, guard=its_guard) == ("blocked", False)
        assert proxy.asked == []
        assert await failure("https://8.8.8.8/", proxy=proxy.url, guard=its_guard) == ("egress_proxy", False)
        assert len(proxy.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        REFUSAL % 403,
        REFUSAL % 407,
        REFUSAL % 502,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
        b"",
    ],
    ids=["403", "407", "502", "204", "no HTTP", "nothing"],
)
async def test_a_proxy_that_opens_no_tunnel_is_at_fault_itself(answer: bytes) -> None:
    url = "https://receiver.example/hook"
    if answer:
        async with proxying(answer) as proxy:
            assert await failure(url, proxy=proxy.url) == ("egress_proxy", False)
    for behaviour in (then_closes(answer), then_resets(answer)):
        async with serving(behaviour) as server:
            assert await failure(url, proxy=server.url.removesuffix("/hook")) == ("egress_proxy", False)


async def test_a_proxy_that_wants_to_know_who_we_are_is_at_fault_itself() -> None:
    async with proxying(REFUSAL % 407) as proxy:
        assert (await failure("http://receiver.example/hook", proxy=proxy.url))[0] == "egress_proxy"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there_is_at_fault_itself(scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert await failure(f"{scheme}://receiver.example/", proxy=f"http://127.0.0.1:{port}") == (
            "egress_proxy",
            False,
        )


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_whose_name_is_not_known_is_at_fault_itself(scheme: str) -> None:
    url = f"{scheme}://receiver.example/"
    script = Script([])
    assert await failure(url, proxy="http://proxy.example:3128", lookup=script.lookup) == ("egress_proxy", False)
    assert script.asked == ["proxy.example"]
    stuck = Stuck("127.0.0.1")
    try:
        outcome = await failure(url, proxy="http://proxy.example:3128", lookup=stuck.lookup, timeout=0.2)
        assert outcome == ("egress_proxy", False)
    finally:
        stuck.free()


async def test_a_proxy_that_takes_no_connection_is_at_fault_itself() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        host, port = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex((host, port))
        outcome = await failure("https://receiver.example/", proxy=f"http://{host}:{port}", timeout=0.3)
        for one in waiting:
            one.close()
    assert outcome == ("egress_proxy", False)


class TestWhatIsWrongBeyondTheProxyIsTheReceivers:
    async def test_a_certificate(self, authority: Authority) -> None:
        async with serving(says(OK), authority.server_side("another.example")) as server, proxying() as proxy:
            url = f"https://receiver.example:{server.port}/hook"
            assert await failure(url, proxy=proxy.url, tls=authority.context) == ("tls", False)
            assert server.requests == []

    async def test_a_tunnel_that_is_slow_to_come(self) -> None:
        async with serving(says()) as server:
            proxy = server.url.removesuffix("/hook")
            assert await failure("https://receiver.example/", proxy=proxy, timeout=0.3) == ("timeout", False)
            await server.everybody_gone()

    async def test_a_handshake_that_never_ends(self) -> None:
        async with serving(says(b"HTTP/1.1 200 OK\r\n\r\n")) as server:
            proxy = server.url.removesuffix("/hook")
            assert await failure("https://receiver.example/", proxy=proxy, timeout=0.3) == ("timeout", False)
            await server.everybody_gone()

    async def test_a_connection_that_breaks(self, authority: Authority) -> None:
        async with serving(then_resets(), authority.server_side("receiver.example")) as server, proxying() as proxy:
            url = f"https://receiver.example:{server.port}/hook"
            assert await failure(url, proxy=proxy.url, tls=authority.context) == ("reset", True)

    @pytest.mark.parametrize("status", [403, 500, 502])
    async def test_a_status(self, status: int) -> None:
        async with proxying(REFUSAL % status) as proxy, outbound(proxy=proxy.url) as client:
            assert (await client.send("GET", "http://receiver.example/", {})).status_code == status
