"""Takes request bodies in: bounded in size and time, and strict JSON, before any handler or parser sees them.

The framework's own parser lets NaN, Infinity, lone surrogates and duplicate keys through, and fails with a 500 or
stores what no other parser reads back (failure model 4). What passes here is JSON that every parser agrees on.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from service.api.problems import problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PHOTOGPT = "/api/"
JSON = "photogpt_webhooks.json"
"""In the scope: the value of a body, if there is one, for who need not parse it once more."""
MOST_BYTES = 64 * 1024
MOST_SECONDS = 30.0
_DEEPEST = 32
# NUL, and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_DESCRIBING = frozenset({b"content-length", b"content-type", b"content-encoding"})
_LARGEST_INTEGER = 2**63 - 1  # SQLite's and PostgreSQL's largest


class NotStrictJson(ValueError):
    """The text is not JSON as RFC 8259 and every database have it."""


class BodyGuard:
    """ASGI middleware for every path of ours: no body, wanted or not, is waited for without end.

    What is behind `/api/` is PhotoGPT's to read: `passing_on` bounds it.
    """

    def __init__(self, app: ASGIApp, most_seconds: float = MOST_SECONDS, *, forms: str | None = None) -> None:
        """`forms`: below which path bodies are those of HTML forms, and nothing else."""
        self._app = app
        self._most_seconds = most_seconds
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(PHOTOGPT):
            await self._app(scope, receive, send)
            return
        headers = _of_the_body(scope)
        body = await self._take(headers.get(b"content-length", b"0"), receive)
        if isinstance(body, Response):
            refusal: Response | None = body
        elif self._forms is not None and scope["path"].startswith(f"{self._forms}/"):
            refusal = _refuse_all_but_forms(headers, body)
        else:
            refusal = _refuse(scope, headers, body)
        if refusal is not None:
            # What is left of the request is not worth reading; the connection ends with the answer.
            refusal.headers["connection"] = "close"
            await refusal(scope, receive, send)
        elif isinstance(body, bytes):
            await self._app(scope, _replay(body, receive), send)

    async def _take(self, length: bytes, receive: Receive) -> bytes | Response | None:
        """The whole body, a problem, or None when the caller is gone."""
        if length.isdigit() and int(length[:12]) > MOST_BYTES:
            return _too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._most_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > MOST_BYTES:
                        return _too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            return problem(408, "request_timeout", f"The request did not arrive within {self._most_seconds:g} seconds.")


def _of_the_body(scope: Scope) -> dict[bytes, bytes]:
    """The headers that describe it; one that is given twice as a list, as RFC 9110 has it."""
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _DESCRIBING:
            found[name] = found[name] + b", " + value if name in found else value
    return found


def _too_large() -> Response:
    return problem(413, "body_too_large", f"A request body has at most {MOST_BYTES} bytes.")


def _refuse(scope: Scope, headers: dict[bytes, bytes], body: bytes | None) -> Response | None:
    if not body:
        return None
    encoding = headers.get(b"content-encoding", b"identity").lower()
    if encoding != b"identity" or not _is_json(headers.get(b"content-type", b"").lower()):
        detail = "Send JSON in UTF-8, uncompressed, with Content-Type: application/json."
        return problem(415, "unsupported_media_type", detail)
    try:
        scope[JSON] = strict_json(body)
    except NotStrictJson as reason:
        return problem(400, "malformed_json", f"The body is not valid JSON: {reason}.")
    return None


def _refuse_all_but_forms(headers: dict[bytes, bytes], body: bytes | None) -> Response | None:
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if not body or (media_type == b"application/x-www-form-urlencoded" and b"content-encoding" not in headers):
        return None
    return problem(415, "unsupported_media_type", "Send a form: Content-Type: application/x-www-form-urlencoded.")


def _is_json(content_type: bytes) -> bool:
    """Parameters mean nothing in JSON (RFC 8259), but another charset means that it is not ours to read."""
    media_type, *parameters = content_type.split(b";")
    if media_type.strip() != b"application/json":
        return False
    named = (parameter.partition(b"=") for parameter in parameters)
    return all(value.strip().strip(b'"') == b"utf-8" for name, _, value in named if name.strip() == b"charset")


def _replay(body: bytes, receive: Receive) -> Receive:
    """Hand `body` on once; afterwards the real `receive` tells when the caller has gone."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def strict_json(body: bytes) -> Any:
    """The JSON value in `body`, or NotStrictJson with the reason."""
    try:
        value = _decoded(body.decode("utf-8"))
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


_decoded = json.JSONDecoder(
    parse_constant=_refuse_constant, parse_float=_finite, parse_int=_bounded, object_pairs_hook=_without_duplicates
).decode


def _check(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise NotStrictJson("it is nested too deeply")
    match value:
        case str():
            if _UNSTORABLE.search(value):
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
