import asyncio
import socket

import pytest
import uvloop

from tests.support.fence import OutsideLoopback

OUTSIDE = ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "0.0.0.0", "example.com"]


@pytest.mark.parametrize("host", OUTSIDE)
def test_a_blocking_connect_is_refused(host: str) -> None:
    with pytest.raises(OutsideLoopback, match="only loopback"):
        socket.create_connection((host, 80), timeout=1)


@pytest.mark.parametrize("host", OUTSIDE)
def test_connect_ex_is_refused(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock, pytest.raises(OutsideLoopback):
        sock.connect_ex((host, 80))


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("host", OUTSIDE)
def test_an_event_loop_is_refused(loop_factory: type[asyncio.AbstractEventLoop], host: str) -> None:
    with asyncio.Runner(loop_factory=loop_factory) as runner, pytest.raises(OutsideLoopback):
        runner.run(asyncio.open_connection(host, 80))


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_event_loop_asks_nobody_for_a_name(loop_factory: type[asyncio.AbstractEventLoop]) -> None:
    async def look_up() -> None:
        await asyncio.get_running_loop().getaddrinfo("example.com", 80)

    with asyncio.Runner(loop_factory=loop_factory) as runner, pytest.raises(OutsideLoopback):
        runner.run(look_up())


def test_a_name_is_not_looked_up() -> None:
    with pytest.raises(OutsideLoopback):
        socket.gethostbyname("example.com")


@pytest.mark.parametrize("host", ["192.0.2.1", "localhost", "127.0.0.1", None])
def test_what_asks_nobody_may_be_looked_up(host: str | None) -> None:
    assert socket.getaddrinfo(host, 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_loopback_is_let_through(host: str) -> None:
    with socket.create_server(("", 0)) as server, socket.create_connection((host, server.getsockname()[1])) as client:
        assert client.getpeername()[1] == server.getsockname()[1]


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_loopback_is_let_through_by_event_loops(loop_factory: type[asyncio.AbstractEventLoop]) -> None:
    async def connect() -> None:
        _, writer = await asyncio.open_connection("localhost", port)
        writer.close()
        await writer.wait_closed()

    with socket.create_server(("127.0.0.1", 0)) as server, asyncio.Runner(loop_factory=loop_factory) as runner:
        port = server.getsockname()[1]
        runner.run(connect())


def test_unix_sockets_are_let_through(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = str(tmp_path_factory.mktemp("s") / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("host", OUTSIDE)
def test_an_event_loop_refuses_a_socket_of_the_callers(
    loop_factory: type[asyncio.AbstractEventLoop], host: str
) -> None:
    """So does aiohttp connect."""

    async def connect() -> None:
        await asyncio.get_running_loop().sock_connect(sock, (host, 80))

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.setblocking(False)
        with asyncio.Runner(loop_factory=loop_factory) as runner, pytest.raises(OutsideLoopback):
            runner.run(connect())
