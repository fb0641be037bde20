"""aiohttp's connector, with the guard at its seams.

It looks a name up once, lets the guard judge every answer, and dials judged addresses only, with the name in TLS and
Host.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Sequence

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import AddrInfoType
from yarl import URL

from service.domain.addresses import Address, read_address
from service.outbound.guard import Names, Refused, family_of
from service.outbound.passage import Passage, passage

# aiohttp dials the addresses of a name again without the one that failed first: n of them make n² / 2 connects.
_MOST_OF_A_FAMILY = 3
# Before that Python left a TLS connection open until its other side agreed to close it.
_LEAVES_TLS_OPEN = sys.version_info < (3, 12, 8)


def tls_context() -> ssl.SSLContext:
    """The machine's trust store; loading it takes milliseconds, so one context serves everybody."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def connector_to(
    *, tls: ssl.SSLContext, names: Names, proxy: URL | None, keep_alive: float | None
) -> aiohttp.TCPConnector:
    """Its callers set the `passage` that it dials for. `keep_alive`: seconds that it keeps what is released to it."""
    return aiohttp.TCPConnector(
        ssl=tls,
        resolver=_Resolver(names, None if proxy is None else proxy.raw_host),
        use_dns_cache=False,
        socket_factory=_socket,
        limit=0,
        force_close=keep_alive is None,
        keepalive_timeout=keep_alive,
        enable_cleanup_closed=_LEAVES_TLS_OPEN,
    )


class _Resolver(AbstractResolver):
    """Asked at each new connection to a name; literal addresses pass it by."""

    def __init__(self, names: Names, proxy_host: str | None) -> None:
        self._names = names
        self._proxy_host = proxy_host

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  # aiohttp's signature
    ) -> list[ResolveResult]:
        at_work = passage.get()
        if at_work.by_proxy and host != self._proxy_host:
            raise Refused("behind a proxy only the proxy's name is looked up")
        addresses = await self._names.addresses(host, port, timeout=at_work.lookup_timeout)
        at_work.approve(addresses)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=family_of(address),
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in to_dial(addresses)
        ]

    async def close(self) -> None:
        pass


def to_dial(addresses: Sequence[Address]) -> list[Address]:
    """The first few of each family, in their order."""
    left = {4: _MOST_OF_A_FAMILY, 6: _MOST_OF_A_FAMILY}
    chosen = []
    for address in addresses:
        if left[address.version]:
            left[address.version] -= 1
            chosen.append(address)
    return chosen


def _socket(address: AddrInfoType) -> socket.socket:
    """For one connect, to exactly this address."""
    family, kind, protocol, _, sockaddr = address
    passage.get().approve([read_address(str(sockaddr[0]))])
    return _Socket(passage.get(), family, kind, protocol)


class _Socket(socket.socket):
    """Tells its passage if it is closed without ever having been connected."""

    def __init__(self, on_its_way: Passage, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._passage: Passage | None = on_its_way
        on_its_way.dialling()

    def close(self) -> None:
        if self._passage is not None and self.fileno() >= 0:
            try:
                self.getpeername()
            except OSError:
                self._passage.dialled_in_vain()
            self._passage = None
        super().close()
