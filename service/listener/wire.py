"""A transport that does not cut off who is still sending: it ends our side, hears the rest out, and closes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Wire:
    """Stands for uvicorn's transport, as far as uvicorn uses one."""

    __slots__ = (
        "_ending", "_lingers", "_loop", "_spare_seconds", "_timer", "_transport", "abort", "get_extra_info",
        "pause_reading", "resume_reading", "write",
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
        self._timer: asyncio.TimerHandle | None = None
        # Bound once: these are on the way of every request.
        self.write = transport.write
        self.abort = transport.abort
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info: Callable[..., Any] = transport.get_extra_info

    def is_closing(self) -> bool:
        return self._ending or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        if not self._lingers():
            self._transport.close()
            return
        self._ending = True
        self._transport.write_eof()
        self._timer = self._loop.call_later(self._spare_seconds, self._transport.abort)

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
