"""What a connection may do before the application hears of it: how much, for how long, and in which HTTP.

uvicorn's protocol parses without bounds: a request line without end grows for ever, a head that drips is waited for, a
body is read on long after its answer. Here each has a bound, and whoever passes it, or speaks broken HTTP, gets a
problem and is let go. What a well-formed request may ask for is decided behind this: `api.edge`, `api.body`.

It leans on this of uvicorn 0.54's HttpToolsProtocol, and `tests/edge/test_uvicorn.py` fails when that changes: the
callbacks of asyncio and of httptools are methods (`on_message_begin`, `on_url`, `on_header`, `on_headers_complete`,
`on_message_complete`); `on_response_complete` is called after each answer; `url` and `headers` hold the head; `cycle`
is the latest request, with `response_started`, `response_complete`, `disconnected`, `keep_alive` and `message_event`,
`default_headers` and `scope`; `pipeline` holds those that wait, newest first; `connections` holds all; everything is
written to and closed on `transport`; `_unset_keepalive_if_required` ends the wait for the next request.
"""

from __future__ import annotations

import asyncio
import math
import re
from enum import Enum, auto
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.api.passing_on import PASSING
from service.api.problems import problem
from service.api.safe_headers import with_safe_headers
from service.listener.limits import CODING, HOST, MALFORMED, TARGET, UNKNOWN_METHOD, VERSION, Limits, Refusal
from service.listener.passing import Passing
from service.listener.wire import Wire
from service.telemetry.logging import get_logger

_log = get_logger("listener")

_CROWD_TOLD_EVERY = 60.0


class _Place(Enum):
    """Where in the stream of requests the next byte belongs."""

    BETWEEN = auto()
    HEAD = auto()
    BODY = auto()


_HOST_SPELLING = re.compile(rb"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")


class Protocol(HttpToolsProtocol):
    """One connection."""

    limits = Limits()
    crowd_told_at = -math.inf

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._wire: Wire = None  # type: ignore[assignment]  # set by connection_made, as uvicorn's own transport is
        self._place = _Place.BETWEEN
        self._deaf = False
        self._refusal: Refusal | None = None
        self._received = 0
        self._header_bytes = 0
        self._spare = self.limits.spare
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    # --- asyncio's callbacks ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._wire = Wire(transport, self.loop, self._lingers, self.limits.spare_seconds)
        super().connection_made(self._wire)  # type: ignore[arg-type]
        if len(self.connections) > self.limits.connections:
            self._turn_away(transport)
            return
        self._head_timer = self.loop.call_later(self.limits.head_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_write_timer()
        self._wire.stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._spare -= len(data)
            if self._spare < 0:
                self._wire.abort()
            return
        self._unset_keepalive_if_required()
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Answered as if it had not been asked for; what follows is in another protocol.
            self._deaf = True
        except httptools.HttpParserInvalidMethodError:
            self._refuse(UNKNOWN_METHOD)
        except httptools.HttpParserError:
            self._refuse(self._refusal or MALFORMED)
        else:
            self._bound_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.limits.unread_seconds, self._wire.abort)

    def resume_writing(self) -> None:
        self._stop_write_timer()
        super().resume_writing()

    # --- the parser's callbacks: what they raise ends the parsing ---

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._place = _Place.HEAD
        self._received = self._received or 1
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.limits.target:
            raise self._fault(self.limits.target_too_long())

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name) + len(value)
        self._header_bytes += size + 4
        if size > self.limits.header or self._header_bytes > self.limits.headers:
            raise self._fault(self.limits.headers_too_large())
        if self._place is _Place.BODY:
            return  # a trailer: in its place it could pass for a header that nobody before us had seen
        super().on_header(name, value)
        if len(self.headers) > self.limits.header_count:
            raise self._fault(self.limits.headers_too_large())

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        refusal = self._wrong_head()
        if refusal is not None:
            raise self._fault(refusal)
        if len(self.pipeline) >= self.limits.pipelined:
            self._deaf = True  # those before are answered; the last answer says that there is no other
            self.pipeline[0][0].keep_alive = False
            raise ValueError("too many requests at once")
        super().on_headers_complete()
        self.cycle.scope.setdefault("state", {})[PASSING] = Passing(self.cycle, self._wire)
        self._place = _Place.BODY
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._place = _Place.BETWEEN
        self._received = 0
        if not self.cycle.keep_alive:
            self._deaf = True

    # --- after an answer ---

    def on_response_complete(self) -> None:
        others_wait = bool(self.pipeline)
        super().on_response_complete()
        if others_wait or self._wire.is_closing():
            return
        if self._refusal is not None:
            self._part(self._refusal)
        elif self._place is _Place.BODY:
            self._wire.close()

    # --- ours ---

    def _busy(self) -> bool:
        """Whether an answer is owed. The latest request has it last."""
        latest: RequestResponseCycle | None = self.cycle
        return latest is not None and not latest.response_complete

    def _lingers(self) -> bool:
        """At the end: whether the caller may still be sending. Either way it is not listened to any longer."""
        self._deaf = True
        self.flow.resume_reading()
        return self._refusal is not None or self._place is not _Place.BETWEEN

    def _wrong_head(self) -> Refusal | None:
        version = self.parser.get_http_version()
        hosts = []
        for name, value in self.headers:
            if name == b"host":
                hosts.append(value)
            elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version != "1.1"):
                return CODING
        if version not in {"1.1", "1.0"}:
            return VERSION
        if len(hosts) != 1 and (hosts or version == "1.1"):
            return HOST
        if hosts and _HOST_SPELLING.fullmatch(hosts[0]) is None:
            return HOST
        return self._wrong_target(hosts)

    def _wrong_target(self, hosts: list[bytes]) -> Refusal | None:
        """A URL in place of a path has to be taken too (RFC 9112 3.2.2), and is turned into one."""
        if b"#" in self.url:
            return TARGET
        if not self.url.startswith(b"/"):
            scheme, found, rest = self.url.partition(b"://")
            authority = re.split(rb"[/?]", rest, maxsplit=1)[0]
            if (
                not found
                or scheme.lower() not in {b"http", b"https"}
                or [authority.lower()] != [host.lower() for host in hosts]
            ):
                return TARGET
            path = rest[len(authority) :]
            self.url = path if path.startswith(b"/") else b"/" + path
        return None

    def _bound_head(self) -> None:
        """After what was received in one go: a head that is still open may be neither long nor late."""
        if self._place is _Place.BODY or not self._received:
            return
        if self._received > self.limits.target + self.limits.headers:
            self._refuse(self.limits.headers_too_large())  # a target that is too long was found by on_url
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._place is _Place.HEAD:
            self._refuse(self.limits.head_too_late())
        elif not self._busy():
            self._wire.close()

    def _fault(self, refusal: Refusal) -> Exception:
        """To be raised in the parser, which does not say of an exception more than that there was one."""
        self._refusal = refusal
        return ValueError(refusal.code)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer this after what is owed for requests before it, and hear no more."""
        if self._deaf:
            return
        self._deaf = True
        self._refusal = refusal
        self._stop_head_timer()
        if self._place is _Place.BODY and self._busy():  # of a request that the application has begun with, or is to
            if self.pipeline:
                self.pipeline.popleft()
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self._wire.abort()
            else:
                self._part(refusal)
        elif not self._busy():
            self._part(refusal)

    def _turn_away(self, transport: asyncio.Transport) -> None:
        """Close at once, without lingering: their number is what must not grow."""
        self._deaf = True
        transport.write(self._answer(self.limits.crowded()))
        transport.close()
        now = self.loop.time()
        if now - Protocol.crowd_told_at > _CROWD_TOLD_EVERY:
            Protocol.crowd_told_at = now
            _log.warning("too_many_connections", most=self.limits.connections)

    def _part(self, refusal: Refusal) -> None:
        _log.debug("refused", status=refusal.status, code=refusal.code)
        self._wire.write(self._answer(refusal))
        self._wire.close()

    def _answer(self, refusal: Refusal) -> bytes:
        retry = {"retry-after": "1"} if refusal.status == 503 else {}
        response = problem(refusal.status, refusal.code, refusal.detail, headers={"connection": "close", **retry})
        headers = [*self.server_state.default_headers, *with_safe_headers(response.raw_headers)]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return STATUS_LINE[refusal.status] + lines + b"\r\n" + bytes(response.body)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
