"""One request on its way through the fault layer, and all that can be done to it: answer, hold back, cut."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.simulator.clock import Clock


@dataclass(slots=True)
class Outcome:
    """What the caller was answered in fact; None as long as nothing was."""

    status: int | None = None


@dataclass(frozen=True)
class Surroundings:
    """What every exchange of one application has in common."""

    app: ASGIApp
    clock: Clock
    random: Random


class Exchange:
    def __init__(self, around: Surroundings, scope: Scope, receive: Receive, send: Send, outcome: Outcome) -> None:
        self.clock = around.clock
        self.random = around.random
        self._app = around.app
        self._scope = scope
        self._receive = receive
        self._send = send
        self._outcome = outcome
        self._withheld: list[Message] | None = None

    async def forward(self) -> None:
        """The application's own answer, withheld until now or made now."""
        if self._withheld is None:
            await self._app(self._scope, self._receive, self._noting_send)
            return
        for message in self._withheld:
            await self._noting_send(message)

    async def apply(self) -> None:
        """Let the application act on the request, once, and withhold its answer."""
        if self._withheld is not None:
            return
        withheld: list[Message] = []

        async def withhold(message: Message) -> None:
            withheld.append(message)

        await self._app(self._scope, self._receive, withhold)
        self._withheld = withheld

    async def answer(self, response: Response) -> None:
        await response(self._scope, self._receive, self._noting_send)

    async def begin_endless(self) -> None:
        headers = [(b"content-type", b"text/plain")]
        await self._noting_send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send_part(self, content: bytes) -> None:
        await self._noting_send({"type": "http.response.body", "body": content, "more_body": True})

    async def hold(self, seconds: float) -> bool:
        """Wait; true if the caller was gone before the time was over."""
        over = asyncio.ensure_future(self.clock.sleep(seconds))
        gone = asyncio.ensure_future(self._caller_gone())
        try:
            await asyncio.wait({over, gone}, return_when=asyncio.FIRST_COMPLETED)
            return gone.done()
        except asyncio.CancelledError:
            # Only a server that stops cancels. Ending in order lets the caller see a cut; uvicorn would answer 500.
            return True
        finally:
            over.cancel()
            gone.cancel()
            await asyncio.gather(over, gone, return_exceptions=True)

    async def cut(self) -> None:
        """Drop the connection without one more byte.

        ASGI has no message for it: an application that ends without an answer, or raises, makes uvicorn send a 500.
        But uvicorn's `send` is a method of its request cycle, which holds the transport. This is why the fault layer
        is the outermost one: any other in front would pass on a function of its own.
        """
        transport = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport is None:
            raise ConnectionError("the connection was cut by an ordered fault")
        transport.abort()
        # To return before uvicorn knows that the connection is lost looks to it like a forgotten answer.
        await self._caller_gone()

    async def _noting_send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._outcome.status = message["status"]
        await self._send(message)

    async def _caller_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
