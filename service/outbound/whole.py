"""A request that goes out in one piece, and its answer, over a connection of aiohttp's connector but past its session.

Polls and attempts are such, and what a session does for each, from cookies and redirects to a task that writes, takes
three times as long as sending it. Connecting, TLS, the proxy, what is kept, and the parser stay aiohttp's, and the
guard stands where it stood: `engine`.

It leans on this of aiohttp 3.14: of a request the connector asks `url`, `proxy`, `proxy_auth`, `proxy_headers`,
`headers`, `server_hostname`, `loop` and `_ssl`, and what ClientRequest makes of these; a connection's protocol has
`set_response_params` and `read`. The tests of `tests/outbound` fail when that changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDict
from yarl import URL

_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)


@dataclass(frozen=True, slots=True)
class Received:
    """An answer. `complete`: `body` is all of it."""

    status: int
    raw_headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    complete: bool


class Whole(aiohttp.ClientRequest):
    """`proxy`: by way of which it goes."""

    def __init__(self, method: str, url: URL, headers: Mapping[str, str], body: bytes, *, proxy: URL | None) -> None:
        # Without that of its parent, which does what is to be spared.
        self.method = method
        self.url = self.original_url = url
        self.loop = asyncio.get_running_loop()
        self.server_hostname = None
        self.proxy, self.proxy_auth, self.proxy_headers = proxy, None, None
        self._ssl = True
        self._content = body
        self.headers: CIMultiDict[str] = CIMultiDict({hdrs.HOST: url.host_port_subcomponent or ""})
        self.headers.extend(headers)
        if body or method not in _WITHOUT_BODY:
            self.headers[hdrs.CONTENT_LENGTH] = str(len(body))

    async def connection(self, connector: aiohttp.BaseConnector) -> Connection:
        """One to send it over. Raises as a session does."""
        try:
            return await connector.connect(self, [], _NO_TIMEOUT)
        except aiohttp.ClientError:
            raise
        except OSError as error:
            raise aiohttp.ClientOSError(*error.args) from error

    def spelled(self, *, last: bool) -> bytes:
        """`last`: nothing more is asked over its connection. ValueError for headers that can't be sent."""
        target = str(self.url) if self.proxy is not None and not self.is_ssl() else self.url.raw_path_qs
        lines = [f"{self.method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in self.headers.items()]]
        if last:
            lines.append("Connection: close")
        head = "\n".join(lines)
        # Whoever could put these into a header could write others, or a second request.
        if head.count("\n") >= len(lines) or "\r" in head or "\0" in head:
            raise ValueError("a line break or NUL in a header")
        return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + self._content

    async def head_of_answer(self, protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
        """The head, and what the body is read from. Raises as a session does."""
        try:
            while True:
                head, body = await protocol.read()
                if head.code == 101 or not 100 <= head.code <= 199:
                    return head, body
        except HttpProcessingError as error:
            raise aiohttp.ClientResponseError(self.request_info, (), status=error.code) from error
        except aiohttp.ClientError:
            raise
        except OSError as error:
            raise aiohttp.ClientOSError(*error.args) from error


async def body_of_answer(content: StreamReader, limit: int) -> tuple[bytes, bool]:
    """The first bytes of the body, never inflated, and whether that was all."""
    received = bytearray()
    while chunk := await content.readany():
        received += chunk
        if len(received) > limit:
            return bytes(received[:limit]), False
    return bytes(received), True
