"""What an answer that is another's may do with its connection, and ASGI has no message for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from service.listener.wire import Wire


class Passing:
    """Of one request; `api.passing_on` finds it in the scope."""

    def __init__(self, cycle: RequestResponseCycle, wire: Wire) -> None:
        self._cycle = cycle
        self._wire = wire

    def keep_date(self) -> None:
        """The answer has a Date: do not add the server's own."""
        self._cycle.default_headers = []

    def cut(self) -> None:
        """End the connection in the middle of the answer, as its source did: nothing else can say so."""
        self._cycle.disconnected = True
        self._cycle.message_event.set()
        self._wire.close()
