"""A simulated PhotoGPT on a real socket that notes each request and its connection, and clients of ours for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from service.domain.secret import Secret
from service.outbound.connector import tls_context
from service.outbound.exchange import Outbound
from service.photogpt.client import PhotoGPT
from tests.support.clock import FakeClock

KEY, WRONG_KEY = Secret("key-one"), Secret("key-unknown")
TLS = tls_context()


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    peer: tuple[str, int]
    """Two requests from one peer came over one connection."""


class Recorder:
    """The simulator, with everything noted that comes for PhotoGPT's own routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requests: list[Request] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            path = scope["raw_path"].decode().removeprefix("/api")
            self.requests.append(Request(scope["method"], path, headers, scope["client"]))
        await self._app(scope, receive, send)


@dataclass(frozen=True)
class Upstream:
    """The simulator as a test sees it, with one model of its own for each test."""

    recorder: Recorder
    http: httpx.Client
    model_id: str

    @property
    def url(self) -> str:
        return str(self.http.base_url).rstrip("/")

    @property
    def base_url(self) -> str:
        return f"{self.url}/api"

    def order(self, kind: str, **fault: Any) -> None:
        answer = self.http.post("/_control/faults", json={"kind": kind, **fault})
        assert answer.status_code == 200, answer.text

    def put_model(self, **order: Any) -> None:
        answer = self.http.put(f"/_control/models/{self.model_id}", json={"key": KEY.reveal(), **order})
        assert answer.status_code == 200, answer.text

    def requests(self) -> list[Request]:
        """The requests about this test's model, in order."""
        own = f"/models/{self.model_id}"
        return [request for request in self.recorder.requests if request.path in (own, f"{own}/train")]

    def trainings(self) -> int:
        """How many trainings of the model were started."""
        triggers: dict[str, int] = self.http.get("/_control/triggers").json()
        return triggers.get(self.model_id, 0)


@asynccontextmanager
async def client(base_url: str, *, timeout: float = 10, body_limit: int = 65536) -> AsyncIterator[PhotoGPT]:
    clock = FakeClock()
    reads = Outbound(timeout=timeout, body_limit=body_limit, keep_alive=True, clock=clock, tls=TLS)
    triggers = Outbound(timeout=timeout, body_limit=body_limit, keep_alive=False, clock=clock, tls=TLS)
    photogpt = PhotoGPT(base_url, reads=reads, triggers=triggers, clock=clock)
    try:
        yield photogpt
    finally:
        await photogpt.close()
