"""httpx's API over the engine: for whoever streams bodies through, or wants an `httpx.AsyncClient`.

Its errors are httpx's. ConnectError, ConnectTimeout and ProxyError say that no byte of the request can have reached the
other side; every other says that it can.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx

from service.domain.delivery import ErrorClass
from service.outbound.engine import KEEP_ALIVE_SECONDS, Body, Engine
from service.outbound.failures import FAILURES, error_class_of
from service.outbound.guard import Guard, Names
from service.outbound.lookup import Lookup
from service.outbound.passage import Passage


class DestinationRefused(httpx.ConnectError):
    """The guard did not let it pass."""


class OutboundTransport(httpx.AsyncBaseTransport):
    """Bodies stream both ways: what nobody takes is not read, and what nobody accepts is not asked for."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        keep_alive: float | None = KEEP_ALIVE_SECONDS,
        guard: Guard | None = None,
        lookup: Names | None = None,
        proxy: str | None = None,
    ) -> None:
        self._engine = Engine(tls=tls, names=lookup or Lookup(), guard=guard, proxy=proxy, keep_alive=keep_alive)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        wanted = request.extensions.get("timeout", {})
        passage = Passage(lookup_timeout=wanted.get("connect"))
        timeout = aiohttp.ClientTimeout(sock_connect=wanted.get("connect"), sock_read=wanted.get("read"))
        url = request.url
        plain = f"{url.scheme}://{url.netloc.decode('ascii')}{url.raw_path.decode('ascii')}"
        try:
            response = await self._engine.begin(
                passage, request.method, plain, _headers(request), _body(request), timeout
            )
        except FAILURES as error:
            raise _as_httpx(error, passage, request) from None
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Stream(response, passage, request),
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": (response.reason or "").encode("latin-1")},
        )

    async def aclose(self) -> None:
        await self._engine.close()


class _Stream(httpx.AsyncByteStream):
    """The answer's body as sent: neither chunked nor inflated."""

    def __init__(self, response: aiohttp.ClientResponse, passage: Passage, request: httpx.Request) -> None:
        self._response = response
        self._passage = passage
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except FAILURES as error:
            self._passage.broken_off()
            raise _as_httpx(error, self._passage, self._request) from None

    async def aclose(self) -> None:
        self._response.close()


def _headers(request: httpx.Request) -> list[tuple[str, str]]:
    """As they were given, but for how the body is sent, which is the engine's affair."""
    return [
        (name.decode("ascii"), _text(value))
        for name, value in request.headers.raw
        if name.lower() not in {b"transfer-encoding", b"expect"}
    ]


def _text(value: bytes) -> str:
    """Bytes that the engine, which writes UTF-8, turns into these again where it can."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _body(request: httpx.Request) -> Body:
    length = request.headers.get("content-length")
    if length == "0" or (length is None and "transfer-encoding" not in request.headers):
        return None
    return _exactly(request, None if length is None else int(length))


async def _exactly(request: httpx.Request, length: int | None) -> AsyncIterator[bytes]:
    """The body, or an error if it is not as long as its header says: the other side must not wait for the rest."""
    sent = 0
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise TypeError("an asynchronous body is needed")
    async for chunk in request.stream:
        sent += len(chunk)
        if length is not None and sent > length:
            break
        yield chunk
    if length is not None and sent != length:
        raise ValueError("the body is not as long as its Content-Length says")


def _as_httpx(error: BaseException, passage: Passage, request: httpx.Request) -> httpx.TransportError:
    error_class = error_class_of(error, passage)
    if error_class is ErrorClass.BLOCKED:
        return DestinationRefused(error_class, request=request)
    if error_class is ErrorClass.EGRESS_PROXY:
        return httpx.ProxyError(error_class, request=request)
    if error_class is ErrorClass.TIMEOUT:
        kind: type[httpx.TransportError] = httpx.ReadTimeout if passage.sent else httpx.ConnectTimeout
    elif not passage.sent:
        kind = httpx.ConnectError
    elif error_class is ErrorClass.PROTOCOL:
        kind = httpx.RemoteProtocolError
    else:
        kind = httpx.ReadError
    return kind(error_class, request=request)
