"""What is told of every request to the API, whatever became of it: a count, a time, a line in the log, and its id.

Never the path, the query or a header as they were sent, which may be secret: the route's template says enough, and the
lines that a request leads to have its id.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from service.domain.token_bucket import TokenBucket
from service.domain.traceparent import HEADER as TRACEPARENT
from service.domain.traceparent import parse_traceparent
from service.telemetry.logging import bound, get_logger
from service.telemetry.tracing import Kind

if TYPE_CHECKING:
    import random

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.components import Components
    from service.telemetry.tracing import Span

_log = get_logger("access")

HEADER = b"x-request-id"
# Longer than whatever hands out ids makes them; and nothing in it that a log could be written with.
_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PASSED_ON = "/api/"
_NOWHERE = "none"
# While the database is away every request fails: more lines than these would say no more.
_ERRORS_PER_SECOND, _ERRORS_AT_ONCE = 1.0, 100.0
_TRACEPARENT = TRACEPARENT.encode()


class Access:
    """ASGI middleware, outside of all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._numbers = itertools.count(1)
        self._prefix: str | None = None
        self._lines = TokenBucket(_ERRORS_PER_SECOND, _ERRORS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts: Components | None = scope["app"].state.components if scope["type"] == "http" else None
        if parts is None:
            await self._app(scope, receive, send)
            return
        request_id = _given_id(scope) or self._new_id(parts.rng)
        answer = _Answer(scope, send, request_id, parts, self._lines)
        with (
            bound(request_id=request_id),
            parts.tracer.span("request", parent=_given_trace(scope), kind=Kind.SERVER, request_id=request_id) as span,
        ):
            try:
                await self._app(scope, receive, answer.send)
            finally:
                answer.over(span)

    def _new_id(self, rng: random.Random) -> str:
        """Unique by a part drawn once and a number, since a request is no time to draw 80 bits."""
        if self._prefix is None:
            self._prefix = f"req_{rng.getrandbits(64):016x}"
        return f"{self._prefix}{next(self._numbers):x}"


class _Answer:
    """Sends it on, and knows when it began."""

    def __init__(self, scope: Scope, send: Send, request_id: str, parts: Components, lines: TokenBucket) -> None:
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._parts = parts
        self._lines = lines
        self._began = parts.clock.monotonic()
        # Whoever fails before an answer is answered by the framework, outside of us.
        self._status = 500
        self._counted = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._count()
            if not self._scope["path"].startswith(_PASSED_ON):  # what passes through is left as it is
                message["headers"] = [*message["headers"], (HEADER, self._request_id.encode())]
        await self._send(message)

    def over(self, span: Span) -> None:
        self._count()
        span.name(f"{self._method} {self._route}")
        span.note(**{"http.route": self._route, "http.response.status_code": self._status})
        if self._status >= 500:
            span.fail(f"HTTP {self._status}")
        kept, failed = self._parts.settings.access_log, self._status >= 500
        if kept == "all" or (kept == "errors" and failed and self._lines.take(1, self._parts.clock.monotonic())):
            (_log.warning if failed else _log.info)(
                "request",
                method=self._method,
                route=self._route,
                status=self._status,
                duration_ms=round((self._parts.clock.monotonic() - self._began) * 1000, 1),
            )

    def _count(self) -> None:
        """Once: when the answer begins, or when there will be none."""
        if self._counted:
            return
        self._counted = True
        seconds = self._parts.clock.monotonic() - self._began
        self._parts.metrics.answered(self._route, self._method, self._status, seconds)

    @property
    def _route(self) -> str:
        """The template of the route that was found."""
        path: str | None = getattr(self._scope.get("route"), "path", None)
        return path or _NOWHERE

    @property
    def _method(self) -> str:
        method: str = self._scope["method"]
        return method if method in _METHODS else "other"


def _given_trace(scope: Scope) -> str | None:
    """Of several, which is none of HTTP's, none counts."""
    given = [value for name, value in scope["headers"] if name == _TRACEPARENT]
    found = parse_traceparent(given[0].decode("latin-1")) if len(given) == 1 else None
    return None if found is None else str(found)


def _given_id(scope: Scope) -> str | None:
    """The one that whoever stands before us has given it."""
    for name, value in scope["headers"]:
        if name == HEADER and _GIVEN.fullmatch(value):
            return str(value, "ascii")
    return None
