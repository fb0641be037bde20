"""Requests and their answers over guarded connections: whole ones, and such as stream.

Where they go is judged before they are dialled (`dialling`, `connector`), and once more, by the peer, before a byte of
the request goes out. Everything is off that a client does unasked. What failures mean: `failures`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, Mapping, Sequence

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from service.outbound.connector import connector_to
from service.outbound.dialling import ByProxy, dial
from service.outbound.guard import Guard, Names
from service.outbound.http1 import LONGEST_LINE, MOST_HEADERS, BadAnswer, Received, spelled
from service.outbound.lines import Line, Lines
from service.outbound.origin import Origin, origin_of
from service.outbound.passage import Passage, passage

# A server closes idle connections when it likes; shorter than the usual 5 s or more is our side of that race.
KEEP_ALIVE_SECONDS = 4.0
_UNASKED_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

Body = bytes | AsyncIterable[bytes] | None


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
        self._lines = None if keep_alive is None else Lines(keep_alive)
        self._connector: aiohttp.TCPConnector | None = None
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
        address = URL(url, encoded=True)
        self._aim(on_its_way, url, address)
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
            raise BadAnswer("the other side switched protocols unasked")
        if response.status == 407 and self._proxy is not None:
            response.close()
            raise aiohttp.ClientHttpProxyError(response.request_info, (), status=407)
        return response

    async def exchange(
        self,
        on_its_way: Passage,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        limit: int,
        deadline: float,
    ) -> Received:
        """Send a request, and read its answer: at most `limit` bytes of the body, until `deadline` of the loop's time.

        Raises FAILURES.
        """
        origin = origin_of(url)
        self._aim(on_its_way, url, origin.url)
        request = self._spelled(origin, method, url, headers, body)
        line = None if self._lines is None else self._lines.take(origin.text)
        if line is None:
            async with asyncio.timeout_at(deadline):
                line = await self._dial(on_its_way, origin)
        try:
            on_its_way.leave(line.transport)
            answer = line.ask(request, limit=limit, deadline=deadline, bodiless=method == "HEAD")
            on_its_way.is_out()
            received = await answer
        except BaseException:
            line.close()
            raise
        if self._lines is not None and line.usable:
            self._lines.keep(origin.text, line)
        else:
            line.close()
        if received.status == 407 and self._proxy is not None:
            nothing = CIMultiDictProxy(CIMultiDict[str]())
            raise aiohttp.ClientHttpProxyError(aiohttp.RequestInfo(origin.url, method, nothing), (), status=407)
        return received

    async def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
        session, connector = self._session, self._connector
        self._session = self._connector = None
        if session is not None:
            await session.close()
        if connector is not None:
            await connector.close()

    def _aim(self, on_its_way: Passage, url: str, read: URL) -> None:
        """`read`: `url` as yarl reads it, and by that it is dialled."""
        on_its_way.tls = read.scheme == "https"
        on_its_way.by_proxy = self._proxy is not None
        if self._guard is not None:
            on_its_way.guard = self._guard
            on_its_way.target = self._guard.target(url, read_as=(read.scheme, read.raw_host, read.port))

    def _spelled(self, origin: Origin, method: str, url: str, headers: Mapping[str, str], body: bytes) -> bytes:
        to_proxy = self._proxy is not None and not origin.tls  # over TLS there is a tunnel
        target = url if to_proxy else origin.target(url)
        said = [("Host", origin.header), *headers.items()]
        if body or method not in _WITHOUT_BODY:
            said.append(("Content-Length", str(len(body))))
        if self._lines is None:
            said.append(("Connection", "close"))
        return spelled(method, target, said, body)

    async def _dial(self, on_its_way: Passage, origin: Origin) -> Line:
        if self._proxy is None:
            return await dial(on_its_way, origin, tls=self._tls, names=self._names)
        return await ByProxy(origin.url, proxy=self._proxy).dial(on_its_way, self._connector or self._connect())

    def _connect(self) -> aiohttp.TCPConnector:
        """It can't be had before there is a loop."""
        self._connector = connector_to(tls=self._tls, names=self._names, proxy=self._proxy, keep_alive=self._keep_alive)
        return self._connector

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=self._connector or self._connect(),
            request_class=_Request,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_UNASKED_HEADERS,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            max_headers=MOST_HEADERS,
        )
        # Else it repeats a GET whose connection breaks: a trigger would go out twice. There is no public switch.
        self._session._retry_connection = False  # noqa: SLF001
        return self._session


class _Request(aiohttp.ClientRequest):
    """The request itself, not a CONNECT before it."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        passage.get().leave_by(conn)
        response = await super().send(conn)
        if not self.body:
            passage.get().is_out()
        return response

    async def write_bytes(
        self, writer: AbstractStreamWriter, conn: Connection, content_length: int | None = None
    ) -> None:
        await super().write_bytes(writer, conn, content_length)
        passage.get().is_out()
