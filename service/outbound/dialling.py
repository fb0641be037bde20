"""How a whole exchange gets its connection: straight to an address that was judged, or by way of the egress proxy.

Straight is the event loop's own connect, which costs less than a client's connector. The proxy, and the tunnel
through it, are aiohttp's: `ByProxy` leans on this of its 3.14: of a request the connector asks `url`, `proxy`,
`proxy_auth`, `proxy_headers`, `headers`, `server_hostname`, `loop` and `_ssl`, and what ClientRequest makes of these; a
connection is open until it is closed or released, and its transport may be given another protocol. The tests of
`tests/outbound` fail when that changes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from typing import Any

import aiohappyeyeballs
import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from service.domain.addresses import Address
from service.outbound.connector import to_dial
from service.outbound.guard import Names, family_of
from service.outbound.lines import Line
from service.outbound.origin import Origin
from service.outbound.passage import Passage, passage

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
# RFC 8305, 5.
_HEAD_START_SECONDS = 0.25
# What the other side has to agree to the end of TLS; otherwise 30.
_GOODBYE_SECONDS = 2.0


async def dial(on_its_way: Passage, origin: Origin, *, tls: ssl.SSLContext, names: Names) -> Line:
    """Raises OSError, also for what TLS does not like."""
    addresses: Sequence[Address]
    if origin.literal is not None:
        addresses = [origin.literal]
    else:
        addresses = await names.addresses(origin.host, origin.port, timeout=on_its_way.lookup_timeout)
    on_its_way.approve(addresses)
    chosen = to_dial(addresses)
    where: dict[str, Any]
    if len(chosen) == 1:
        where = {"host": str(chosen[0]), "port": origin.port}  # which is looked up nowhere
    else:
        where = {"sock": await _first_connected(chosen, origin.port)}
    if origin.tls:
        where |= {"ssl": tls, "server_hostname": origin.host.rstrip("."), "ssl_shutdown_timeout": _GOODBYE_SECONDS}
    _, line = await asyncio.get_running_loop().create_connection(Line, **where)
    return line


async def _first_connected(addresses: Sequence[Address], port: int) -> socket.socket:
    where = [
        (family_of(address), socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port)) for address in addresses
    ]
    return await aiohappyeyeballs.start_connection(where, happy_eyeballs_delay=_HEAD_START_SECONDS, interleave=1)


class ByProxy(aiohttp.ClientRequest):
    """What the connector is asked with: only where to, and by way of which `proxy`."""

    def __init__(self, origin: URL, *, proxy: URL) -> None:
        # Without that of its parent, which makes a request that could be sent.
        self.method = hdrs.METH_GET
        self.url = self.original_url = origin
        self.loop = asyncio.get_running_loop()
        self.server_hostname = None
        self.proxy, self.proxy_auth, self.proxy_headers = proxy, None, None
        self._ssl = True
        self.headers: CIMultiDict[str] = CIMultiDict({hdrs.HOST: origin.host_port_subcomponent or ""})

    async def dial(self, on_its_way: Passage, connector: aiohttp.BaseConnector) -> Line:
        """Raises as a session does."""
        token = passage.set(on_its_way)
        try:
            connection = await connector.connect(self, [], _NO_TIMEOUT)
        except aiohttp.ClientError:
            raise
        except OSError as error:
            raise aiohttp.ClientOSError(*error.args) from error
        finally:
            passage.reset(token)
        handler, transport = connection.protocol, connection.transport
        if handler is None or transport is None or handler.should_close:
            # Its other side has ended it, or said something unasked.
            connection.close()
            raise ConnectionResetError("the connection went stale")
        return _LineByProxy(connection, handler, transport)


class _LineByProxy(Line):
    """One that stays on the connector's books."""

    def __init__(self, connection: Connection, handler: ResponseHandler, transport: asyncio.Transport) -> None:
        super().__init__()
        self._connection = connection
        self._handler = handler
        transport.set_protocol(self)
        self.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._handler.connection_lost(exc)  # for which the connector waits when it is closed

    def close(self) -> None:
        self._connection.close()
