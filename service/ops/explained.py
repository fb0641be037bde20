"""A problem as a page, for whoever asked with a browser: what went wrong, and what can be done.

ASGI middleware around everything else, so that whatever refuses a request for a page, it is explained alike.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from service.ops.desk import POLICY, render

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PROBLEM = b"application/problem+json"
_REPLACED = frozenset({b"content-type", b"content-length", b"content-security-policy"})


class Explained:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _asks_for_a_page(scope):
            await self._app(scope, receive, send)
            return
        started: Message | None = None
        body = bytearray()

        async def explain(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start" and (b"content-type", _PROBLEM) in message["headers"]:
                started = message
            elif started is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    await _send_page(started, json.loads(body), send)

        await self._app(scope, receive, explain)


def _asks_for_a_page(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"text/html" in headers.get(b"accept", b"") and b"hx-request" not in headers


async def _send_page(started: Message, problem: dict[str, Any], send: Send) -> None:
    page = render("problem.html", problem=problem).encode()
    headers = [(name, value) for name, value in started["headers"] if name not in _REPLACED]
    headers += [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(page)).encode()),
        (b"content-security-policy", POLICY.encode()),
    ]
    await send({**started, "headers": headers})
    await send({"type": "http.response.body", "body": page})
