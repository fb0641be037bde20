"""What is known of one exchange on its way: where it may go, where it went, and whether it can have been sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field

from aiohttp.connector import Connection

from service.domain.addresses import Address, read_address
from service.domain.egress import Target
from service.outbound.guard import Guard


@dataclass(slots=True)
class Passage:
    """`on_sent` is called when the request is out and its answer is not here.

    `connected`: to the receiver, not only to a proxy, and through with TLS. `unreached`: no socket ever was connected.
    `lookup_timeout`: seconds; None where a deadline round the whole exchange ends a lookup as well.
    """

    on_sent: Callable[[], None] | None = None
    lookup_timeout: float | None = None
    guard: Guard | None = None
    target: Target | None = None
    by_proxy: bool = False
    tls: bool = False
    connected: bool = False
    sent: bool = False
    lost_by: BaseException | None = None
    _approved: set[Address] = field(default_factory=set)
    _connection: Connection | None = None
    _dialled: int = 0
    _failed: int = 0

    def approve(self, addresses: Iterable[Address]) -> None:
        """Before a connect. Raises Refused; the proxy, which the operator chose, is not judged."""
        new = [address for address in addresses if address not in self._approved]
        if new and self.guard is not None and self.target is not None and not self.by_proxy:
            self.guard.let_pass(self.target, new)
        self._approved.update(new)

    def dialling(self) -> None:
        self._dialled += 1

    def dialled_in_vain(self) -> None:
        self._failed += 1

    @property
    def unreached(self) -> bool:
        return self._failed == self._dialled

    def leave(self, transport: asyncio.BaseTransport | None) -> None:
        """After the connect and before the first byte of the request. Raises if it must not go out this way."""
        self.connected = True
        peer = None if transport is None else transport.get_extra_info("peername")
        if transport is None or transport.is_closing() or peer is None:
            raise ConnectionResetError("the connection went stale")
        if self.guard is not None and self.target is not None:
            address = read_address(str(peer[0]))
            if self._approved and address not in self._approved:
                self.guard.refuse(self.target, "connected to another address than the one that was judged")
            self.approve([address])
        self.sent = True

    def leave_by(self, connection: Connection) -> None:
        """The same, over a connection that streams."""
        protocol = connection.protocol
        if protocol is not None and protocol.should_close:
            # The other side has ended it, or said something unasked while it was kept.
            self.connected = True
            raise ConnectionResetError("the connection went stale")
        self.leave(connection.transport)
        self._connection = connection

    def broken_off(self) -> None:
        """In the middle of the answer's body; how is known as long as the connection is not closed here too."""
        protocol = None if self._connection is None else self._connection.protocol
        self.lost_by = None if protocol is None else protocol.exception()

    def is_out(self) -> None:
        if self.on_sent is not None:
            # In the next turn of the loop: in this one its bytes may still be in the loop's own buffer.
            asyncio.get_running_loop().call_soon(self.on_sent)
            self.on_sent = None


passage: ContextVar[Passage] = ContextVar("passage")
"""The one that the code now runs for. aiohttp calls resolver, socket factory and request without it."""
