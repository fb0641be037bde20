"""The connections: aiohttp's, with everything off that it does unasked, and the guard at each of its seams.

It looks a name up once, lets the guard judge every answer, dials judged addresses only, with the name in TLS and Host,
and compares the peer with what was judged before a byte of the request goes out. What failures mean: `failures`.
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import AsyncIterable, Mapping, Sequence
from ipaddress import IPv6Address

import aiohttp
from aiohttp.abc import AbstractResolver, AbstractStreamWriter, ResolveResult
from aiohttp.connector import AddrInfoType, Connection
from yarl import URL

from service.domain.addresses import Address, read_address
from service.outbound.guard import Guard, Names, Refused
from service.outbound.passage import Passage, passage
from service.outbound.whole import Received, Whole, body_of_answer

# A server closes idle connections when it likes; shorter than the usual 5 s or more is our side of that race.
KEEP_ALIVE_SECONDS = 4.0
_LONGEST_LINE = 8190
_MOST_HEADERS = 100
_SWITCHED = "the other side switched protocols unasked"
_UNASKED_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
# aiohttp dials the addresses of a name again without the one that failed first: n of them make n² / 2 connects.
_MOST_OF_A_FAMILY = 3
# Before that Python left a TLS connection open until its other side agreed to close it.
_LEAVES_TLS_OPEN = sys.version_info < (3, 12, 8)

Body = bytes | AsyncIterable[bytes] | None


def tls_context() -> ssl.SSLContext:
    """The machine's trust store; loading it takes milliseconds, so one context serves everybody."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Engine:
    """With `keep_alive`, in seconds, connections are used again; without, each exchange has one of its own. No exchange
    waits for another's.

    `proxy`: all goes by way of it, and it looks the names up.
    """

    def __init__(
        self, *, tls: ssl.SSLContext, names: Names, guard: Guard | None, proxy: str | None, keep_alive: float | None
    ) -> None:
        self._tls = tls
        self._names = names
        self._guard = guard
        self._proxy = None if proxy is None else URL(proxy)
        self._keep_alive = keep_alive
        self._session: aiohttp.ClientSession | None = None

    async def begin(
        self,
        on_its_way: Passage,
        method: str,
        url: str,
        headers: Mapping[str, str] | Sequence[tuple[str, str]],
        body: Body,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send a request. The answer's body is still to be read, and the answer to be closed. Raises FAILURES."""
        address = self._address(on_its_way, url)
        session = self._session or self._open()
        token = passage.set(on_its_way)
        try:
            response = await session.request(
                method, address, headers=headers, data=body, proxy=self._proxy, allow_redirects=False, timeout=timeout
            )
        finally:
            passage.reset(token)
        if response.status == 101:
            response.close()
            raise aiohttp.ClientError(_SWITCHED)
        if response.status == 407 and self._proxy is not None:
            response.close()
            raise aiohttp.ClientHttpProxyError(response.request_info, (), status=407)
        return response

    async def exchange(
        self, on_its_way: Passage, method: str, url: str, headers: Mapping[str, str], body: bytes, limit: int
    ) -> Received:
        """Send a request, and read its answer: at most `limit` bytes of the body. Raises FAILURES."""
        request = Whole(method, self._address(on_its_way, url), headers, body, proxy=self._proxy)
        session = self._session or self._open()
        if session.connector is None:
            raise aiohttp.ClientConnectionError("closed")
        token = passage.set(on_its_way)
        try:
            connection = await request.connection(session.connector)
        finally:
            passage.reset(token)
        try:
            return await self._answered(on_its_way, connection, request, limit)
        finally:
            connection.close()  # unless it was released

    async def _answered(self, on_its_way: Passage, connection: Connection, request: Whole, limit: int) -> Received:
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None:
            raise ConnectionResetError("the connection is gone")
        spelled = request.spelled(last=self._keep_alive is None)
        protocol.set_response_params(
            skip_payload=request.method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
            max_headers=_MOST_HEADERS,
        )
        on_its_way.leave(connection)
        transport.write(spelled)
        on_its_way.is_out()
        head, content = await request.head_of_answer(protocol)
        if head.code == 101:
            raise aiohttp.ClientError(_SWITCHED)
        if head.code == 407 and self._proxy is not None:
            raise aiohttp.ClientHttpProxyError(request.request_info, (), status=407)
        try:
            received, complete = await body_of_answer(content, limit)
        except aiohttp.ClientError:
            on_its_way.broken_off()
            raise
        if complete and not transport.get_write_buffer_size():
            connection.release()
        return Received(head.code, head.raw_headers, received, complete)

    def _address(self, on_its_way: Passage, url: str) -> URL:
        address = URL(url, encoded=True)
        on_its_way.tls = address.scheme == "https"
        on_its_way.by_proxy = self._proxy is not None
        if self._guard is not None:
            on_its_way.guard = self._guard
            read_as = (address.scheme, address.raw_host, address.port)
            on_its_way.target = self._guard.target(url, read_as=read_as)
        return address

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        """It can't be had before there is a loop."""
        connector = aiohttp.TCPConnector(
            ssl=self._tls,
            resolver=_Resolver(self._names, None if self._proxy is None else self._proxy.raw_host),
            use_dns_cache=False,
            socket_factory=_socket,
            limit=0,
            force_close=self._keep_alive is None,
            keepalive_timeout=self._keep_alive,
            enable_cleanup_closed=_LEAVES_TLS_OPEN,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            request_class=_Request,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_UNASKED_HEADERS,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
            max_headers=_MOST_HEADERS,
        )
        # Else it repeats a GET whose connection breaks: a trigger would go out twice. There is no public switch.
        self._session._retry_connection = False  # noqa: SLF001
        return self._session


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
                family=socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in _to_dial(addresses)
        ]

    async def close(self) -> None:
        pass


def _to_dial(addresses: Sequence[Address]) -> list[Address]:
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


class _Request(aiohttp.ClientRequest):
    """The request itself, not a CONNECT before it."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        passage.get().leave(conn)
        response = await super().send(conn)
        if not self.body:
            passage.get().is_out()
        return response

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        await super().write_bytes(writer, conn, content_length)
        passage.get().is_out()
