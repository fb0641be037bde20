"""What stands between the gateway and the others: takes its time, and loses requests and answers.

A request that has left arrives even if its sender dies meanwhile, as one in the kernel's buffers does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from service.crashpoints import CrashPoint, reached
from service.domain.delivery import ErrorClass
from service.outbound.exchange import Answer, NoAnswer
from tests.simulation.faults import Faults
from tests.simulation.photogpt import Reply

# Shorter than every timeout of the gateway, so that nothing arrives after its sender has given up on it.
_USUAL, _SLOW = 0.2, 1.5


class Line:
    """One process's way out, in place of `service.outbound.exchange.Outbound`; `dead` once that process has ended."""

    def __init__(
        self,
        handle: Callable[[str, Mapping[str, str], bytes], Reply],
        *,
        timeout: float,
        faults: Faults,
        rng: random.Random,
        when_sent: CrashPoint | None = None,
    ) -> None:
        self._handle = handle
        self._when_sent = when_sent
        self._timeout = timeout
        self._faults = faults
        self._rng = rng
        self.dead = False

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", **_: Any) -> Answer:
        if self.dead:
            await asyncio.Event().wait()
        loop = asyncio.get_running_loop()
        started = loop.time()

        def failed(error_class: ErrorClass, *, sent: bool) -> NoAnswer:
            return NoAnswer(error_class, sent=sent, duration=timedelta(seconds=loop.time() - started))

        if self._faults.strikes("connection refused"):
            await asyncio.sleep(self._latency())
            raise failed(ErrorClass.REFUSED, sent=False)
        answered: asyncio.Future[Reply | None] = loop.create_future()
        if not self._faults.strikes("request lost"):
            loop.call_later(self._latency(), self._arrive, answered, (url, headers, body))
        if self._when_sent is not None:
            reached(self._when_sent)
        try:
            async with asyncio.timeout(self._timeout):
                reply = await answered
        except TimeoutError:
            raise failed(ErrorClass.TIMEOUT, sent=True) from None
        if reply is None:
            raise failed(ErrorClass.RESET, sent=True)
        return Answer(*reply, complete=True, duration=timedelta(seconds=loop.time() - started))

    async def close(self) -> None:
        self.dead = True

    def _arrive(self, answered: asyncio.Future[Reply | None], request: tuple[str, Mapping[str, str], bytes]) -> None:
        reply = self._handle(*request)
        if self._faults.strikes("answer lost"):
            return
        reset = self._faults.strikes("connection reset")
        asyncio.get_running_loop().call_later(self._latency(), _come_back, answered, None if reset else reply)

    def _latency(self) -> float:
        return self._rng.uniform(0.001, _SLOW if self._faults.strikes("answer is slow") else _USUAL)


def _come_back(answered: asyncio.Future[Reply | None], reply: Reply | None) -> None:
    """None is a connection that was reset."""
    if not answered.done():
        answered.set_result(reply)
