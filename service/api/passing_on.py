"""One exchange between a caller and PhotoGPT, both bodies streaming: an ASGI response, and what can go wrong with it.

A caller who goes ends the request to PhotoGPT; an answer that PhotoGPT cuts off ends the caller's connection, which is
the only way left to say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from starlette.responses import Response

from service.api.body import MOST_SECONDS
from service.api.problems import problem, upstream_unreachable
from service.api.safe_headers import UNTOUCHED
from service.domain.delivery import ErrorClass
from service.outbound.streams import Stream, StreamBroken
from service.photogpt.passing import answer_headers
from service.telemetry.logging import get_logger

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from service.domain.secret import Secret
    from service.photogpt.proxy import Proxy, Target

_log = get_logger("proxy")

_STATUSES_OF_HTTP = range(200, 600)


class _Passing(Protocol):
    """What the listener lets us do with the connection."""

    def keep_date(self) -> None: ...

    def cut(self) -> None: ...


PASSING = "photogpt_webhooks.passing"
"""In the scope's state: the request's _Passing. Other servers have none."""


async def begin(scope: Scope, send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    """Send the head of an answer of PhotoGPT's, with no header of ours."""
    passing: _Passing | None = scope.get("state", {}).get(PASSING)
    if passing is not None and any(name == b"date" for name, _ in headers):
        passing.keep_date()
    await send({"type": "http.response.start", "status": status, "headers": headers, UNTOUCHED: True})


def cut(scope: Scope) -> None:
    """End the caller's connection. A server that has no word for it does so as the answer is not brought to its end."""
    passing: _Passing | None = scope.get("state", {}).get(PASSING)
    if passing is not None:
        passing.cut()


class Witness:
    """Keeps what passes, up to `most_bytes`, and tells of it when all has: its content coding, and its chunks."""

    def __init__(self, most_bytes: int, tell: Callable[[str, list[bytes]], None]) -> None:
        self._left = most_bytes
        self._tell = tell
        self._chunks: list[bytes] = []

    def sees(self, chunk: bytes) -> None:
        self._left -= len(chunk)
        if self._left >= 0:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def has_seen_all(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        codings = [value.decode("latin-1") for name, value in headers if name.lower() == b"content-encoding"]
        if self._left >= 0:
            self._tell(", ".join(codings), self._chunks)


class _Unfinished(Exception):
    """The caller's body will not come, or not as it may be."""


class PassedOn(Response):
    """What PhotoGPT answers to this request."""

    def __init__(self, proxy: Proxy, key: Secret, target: Target, witness: Witness | None = None) -> None:
        super().__init__()
        self._witness = witness
        self._proxy = proxy
        self._key = key
        self._target = target

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        incoming = Incoming(scope, receive, self._proxy.limits.most_bytes)
        work = asyncio.create_task(self._pass_on(scope, incoming, receive, send))
        gone = asyncio.create_task(incoming.gone())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _pass_on(self, scope: Scope, incoming: Incoming, receive: Receive, send: Send) -> None:
        begun = False
        try:
            async with asyncio.timeout(self._proxy.limits.most_seconds):
                answer = await self._ask(scope, incoming)
                if isinstance(answer, Response):
                    await answer(scope, receive, send)
                    return
                begun = True
                await self._hand_on(answer, scope, send)
        except TimeoutError:
            if begun:
                cut(scope)
            else:
                await _timed_out()(scope, receive, send)

    async def _ask(self, scope: Scope, incoming: Incoming) -> Stream | Response:
        """PhotoGPT's answer, or the problem that stands in its place."""
        if incoming.is_too_large:
            return incoming.too_large()
        body = incoming.chunks() if incoming.has_body else None
        try:
            answer = await self._proxy.begin(self._key, scope["method"], self._target, scope["headers"], body)
        except StreamBroken as broken:
            return incoming.refusal or _failed(broken)
        if answer.status in _STATUSES_OF_HTTP:
            return answer
        answer.close()
        return problem(502, "upstream_failed", "PhotoGPT's answer is not HTTP.")

    async def _hand_on(self, answer: Stream, scope: Scope, send: Send) -> None:
        most = self._proxy.limits.most_bytes
        witness = self._witness if answer.status == 200 else None
        try:
            await begin(scope, send, answer.status, answer_headers(answer.headers, answer.status))
            async for chunk in answer.chunks():
                most -= len(chunk)
                if most < 0:
                    _log.warning("answer_too_large", path=self._shown, most=self._proxy.limits.most_bytes)
                    cut(scope)
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if witness is not None:
                    witness.sees(chunk)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            if witness is not None:
                witness.has_seen_all(answer.headers)
        except StreamBroken as broken:
            _log.warning("answer_cut_off", path=self._shown, reason=str(broken))
            cut(scope)
        finally:
            answer.close()

    @property
    def _shown(self) -> str:
        return "/".join(self._target.path)


class Incoming:
    """The caller's body, once, and the caller's end."""

    def __init__(self, scope: Scope, receive: Receive, most_bytes: int) -> None:
        headers = {name: value for name, value in scope["headers"] if name in (b"content-length", b"transfer-encoding")}
        length = headers.get(b"content-length", b"")
        self._length = int(length[:18]) if length.isdigit() else 0
        self._receive = receive
        self._most = most_bytes
        self._is_through = asyncio.Event()
        self._is_gone = False
        self.has_body = bool(self._length) or b"transfer-encoding" in headers
        self.is_too_large = self._length > most_bytes
        self.refusal: Response | None = None
        if not self.has_body or self.is_too_large:
            self._is_through.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        received = 0
        more = True
        while more:
            message = await self._next()
            chunk = message.get("body", b"")
            received += len(chunk)
            if received > self._most:
                self._is_through.set()
                self.refusal = self.too_large()
                raise _Unfinished
            more = message.get("more_body", False)
            if chunk:
                yield chunk
        self._is_through.set()

    async def gone(self) -> None:
        """Return when the caller has gone, which nobody can hear before the body is through."""
        await self._is_through.wait()
        while not self._is_gone:
            self._is_gone = (await self._receive())["type"] == "http.disconnect"

    def too_large(self) -> Response:
        detail = f"A request body has at most {self._most} bytes here (GATEWAY_PROXY_MOST_BYTES)."
        return problem(413, "body_too_large", detail, headers={"connection": "close"})

    async def _next(self) -> Any:
        try:
            async with asyncio.timeout(MOST_SECONDS):
                message = await self._receive()
        except TimeoutError:
            detail = f"Nothing of the request arrived for {MOST_SECONDS:g} seconds."
            self.refusal = problem(408, "request_timeout", detail, headers={"connection": "close"})
            raise _Unfinished from None
        if message["type"] == "http.disconnect":
            self._is_gone = True
            self._is_through.set()
            raise _Unfinished
        return message


def _failed(broken: StreamBroken) -> Response:
    if broken.error_class is ErrorClass.TIMEOUT:
        return _timed_out() if broken.sent else upstream_unreachable("PhotoGPT could not be reached in time.")
    if not broken.sent:
        return upstream_unreachable(f"PhotoGPT could not be reached ({broken.error_class}); try again.")
    detail = f"PhotoGPT's answer was lost ({broken.error_class}): it may have acted on the request, or not."
    return problem(502, "upstream_failed", detail)


def _timed_out() -> Response:
    detail = "PhotoGPT did not answer in time: it may have acted on the request, or not."
    return problem(504, "upstream_timeout", detail)
