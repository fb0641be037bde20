"""Takes request bodies in: bounded in size and time, and strict JSON, before any handler or parser sees them.

The framework's own parser lets NaN, Infinity, lone surrogates and duplicate keys through, and fails with a 500 or
stores what no other parser reads back (failure model 4). What passes here is JSON that every parser agrees on.
"""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from service.api.problems import problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 64 * 1024
MOST_SECONDS = 30.0
_DEEPEST = 32
_LARGEST_INTEGER = 2**63 - 1  # SQLite's and PostgreSQL's largest


class NotStrictJson(ValueError):
    """The text is not JSON as RFC 8259 and every database have it."""


class BodyGuard:
    """ASGI middleware for the paths below `prefix`."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self._prefix):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = await self._take(headers, receive)
        refusal = body if isinstance(body, Response) else _refuse(headers, body)
        if refusal is not None:
            # What is left of the request is not worth reading; the connection ends with the answer.
            refusal.headers["connection"] = "close"
            await refusal(scope, receive, send)
        elif isinstance(body, bytes):
            await self._app(scope, _replay(body, receive), send)

    async def _take(self, headers: dict[str, str], receive: Receive) -> bytes | Response | None:
        """The whole body, a problem, or None when the caller is gone."""
        too_large = problem(413, "body_too_large", f"A request body has at most {MOST_BYTES} bytes.")
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:12]) > MOST_BYTES:
            return too_large
        body = bytearray()
        try:
            async with asyncio.timeout(MOST_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > MOST_BYTES:
                        return too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            return problem(408, "request_timeout", f"The request did not arrive within {MOST_SECONDS:g} seconds.")


def _refuse(headers: dict[str, str], body: bytes | None) -> Response | None:
    if not body:
        return None
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" or headers.get("content-encoding", "identity").lower() != "identity":
        detail = "Send JSON, uncompressed, with Content-Type: application/json."
        return problem(415, "unsupported_media_type", detail)
    try:
        strict_json(body)
    except NotStrictJson as reason:
        return problem(400, "malformed_json", f"The body is not valid JSON: {reason}.")
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand `body` on once; afterwards the real `receive` tells when the caller has gone."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def strict_json(body: bytes) -> Any:
    """The JSON value in `body`, or NotStrictJson with the reason."""
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded,
            object_pairs_hook=_without_duplicates,
        )
        _check(value, depth=0)
    except UnicodeDecodeError:
        raise NotStrictJson("it is not UTF-8") from None
    except RecursionError:
        raise NotStrictJson("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise NotStrictJson(f"{error.msg} at line {error.lineno} column {error.colno}") from None
    return value


def _refuse_constant(name: str) -> float:
    raise NotStrictJson(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotStrictJson("a number is too large")
    return number


def _bounded(text: str) -> int:
    # The length first: turning a million digits into a number is work that an attacker would ask for.
    if len(text) > 20 or abs(int(text)) > _LARGEST_INTEGER:
        raise NotStrictJson("an integer has more than 64 bits")
    return int(text)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictJson("a key occurs twice in one object")
    return found


def _check(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise NotStrictJson("it is nested too deeply")
    match value:
        case str():
            if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
                raise NotStrictJson("a text has a NUL or half a surrogate pair in it")
        case dict():
            for name, member in value.items():
                _check(name, depth)
                _check(member, depth + 1)
        case list():
            for member in value:
                _check(member, depth + 1)
        case _:
            pass
