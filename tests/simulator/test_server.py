"""`tests.support.server`, which the other tests rely on."""

from __future__ import annotations

import threading

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from tests.support.server import serve


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await PlainTextResponse("hello")(scope, receive, send)


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no"})


def test_serves_until_it_is_left() -> None:
    before = threading.active_count()
    with serve(hello) as first, serve(Starlette()) as second:
        assert httpx.get(first, trust_env=False).text == "hello"
        assert httpx.get(second, trust_env=False).status_code == 404
    assert threading.active_count() == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(first, trust_env=False)


def test_an_application_that_does_not_start_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="did not start"), serve(broken):
        pass
