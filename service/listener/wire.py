"""A transport that sends an answer's head and body in one piece, and does not cut off who is still sending: it ends our
side, hears the rest out, and closes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Wire:
    """Stands for uvicorn's transport, as far as uvicorn uses one."""

    __slots__ = (
        "_ending", "_held", "_lingers", "_loop", "_spare_seconds", "_timer", "_transport", "get_extra_info",
        "pause_reading", "resume_reading",
    )  # fmt: skip

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        lingers: Callable[[], bool],
        spare_seconds: float,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._lingers = lingers
        self._spare_seconds = spare_seconds
        self._ending = False
        self._held: bytes | None = None
        self._timer: asyncio.TimerHandle | None = None
        # Bound once: these are on the way of every request.
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info: Callable[..., Any] = transport.get_extra_info

    def write(self, data: bytes) -> None:
        """Held until more comes, or the loop's turn ends: each piece that goes out alone is a call to the system, a
        packet, and a wake-up of whoever waits for the answer.
        """
        held, self._held = self._held, None
        if held is None:
            self._held = data
            self._loop.call_soon(self._flush)
        else:
            self._transport.writelines((held, data))

    def abort(self) -> None:
        self._flush()
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._ending or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        self._flush()
        if not self._lingers():
            self._transport.close()
            return
        self._ending = True
        self._transport.write_eof()
        self._timer = self._loop.call_later(self._spare_seconds, self._transport.abort)

    def stop(self) -> None:
        """The connection is gone."""
        self._held = None
        if self._timer is not None:
            self._timer.cancel()

    def _flush(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._transport.write(held)
