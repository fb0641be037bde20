"""The fence around the tests: no connection leaves this machine, and nobody outside it is asked for a name.

It covers what connects or looks up through Python's `socket`, as asyncio and pure Python libraries do, and the loop of
uvloop, which does both in C. It does not cover child processes, other extension modules with sockets of their own,
datagrams sent without a connect, and `gethostbyaddr`. A literal address may be looked up: that asks nobody.
"""

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop


class OutsideLoopback(RuntimeError):
    """A test tried to leave this machine. Not an OSError: the code under test would take it for a dead host."""

    def __init__(self, target: object) -> None:
        super().__init__(f"the tests' fence refuses {target!r}: only loopback and unix sockets are open")


def install(patch: pytest.MonkeyPatch) -> None:
    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, _guarded_connect(getattr(socket.socket, name)))
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        patch.setattr(socket, name, _guarded_lookup(getattr(socket, name)))
    patch.setattr(uvloop.Loop, "create_connection", _guarded_create_connection(uvloop.Loop.create_connection))
    patch.setattr(uvloop.Loop, "getaddrinfo", _guarded_loop_lookup(uvloop.Loop.getaddrinfo))


def _check_address(family: int, address: Any) -> None:
    if family in {socket.AF_INET, socket.AF_INET6}:
        _check_host(address[0])
    elif family != socket.AF_UNIX:
        raise OutsideLoopback(address)


def _check_host(host: Any) -> None:
    literal = _literal(host)
    if literal is None:
        _check_lookup(host)
    elif not literal.is_loopback:
        raise OutsideLoopback(host)


def _check_lookup(host: Any) -> None:
    # None and "" stand for this machine.
    if host and _literal(host) is None and _text(host).lower() != "localhost":
        raise OutsideLoopback(host)


def _literal(host: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(_text(host))
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def _text(host: str | bytes) -> str:
    return host.decode() if isinstance(host, bytes) else host


def _guarded_connect(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any, /) -> Any:
        try:
            _check_address(self.family, address)
        except OutsideLoopback:
            self.close()  # callers close it after an OSError only
            raise
        return connect(self, address)

    return guarded


def _guarded_lookup(look_up: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(host: Any, *arguments: Any, **options: Any) -> Any:
        _check_lookup(host)
        return look_up(host, *arguments, **options)

    return guarded


def _guarded_create_connection(create_connection: Callable[..., Any]) -> Callable[..., Any]:
    async def guarded(self: uvloop.Loop, factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        if host is not None:
            _check_host(host)
        return await create_connection(self, factory, host, port, **options)

    return guarded


def _guarded_loop_lookup(look_up: Callable[..., Any]) -> Callable[..., Any]:
    async def guarded(self: uvloop.Loop, host: Any, *arguments: Any, **options: Any) -> Any:
        _check_lookup(host)
        return await look_up(self, host, *arguments, **options)

    return guarded
