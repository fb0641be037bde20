"""A receiver of webhooks: verifies each with the official library, remembers it, and answers well or ill on command."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from service.simulator.clock import Clock
from service.simulator.envelope import RefusedError, nok
from service.simulator.faults import FaultableApp, FaultBook, FaultPlan
from service.simulator.receipts import Receipt, Receipts

_HOOK = "/hook"
_DEFAULT = "default"
_VERDICTS: dict[str, set[bool | None]] = {"true": {True}, "false": {False}, "null": {None}, "any": {True, False, None}}


@dataclass(frozen=True)
class ReceiverOptions:
    secret: str | None = None
    """For every name that has no secret of its own."""


class Secrets:
    """The secret of each name; the one of `default` stands in for the names that have none."""

    def __init__(self, default: str | None) -> None:
        self._verifiers: dict[str, Webhook] = {}
        self.put({_DEFAULT: default})

    def put(self, secrets: dict[str, str | None]) -> None:
        try:
            verifiers = {name: Webhook(secret) for name, secret in secrets.items() if secret is not None}
        except (ValueError, EmptyWebhookSecretError):
            raise RefusedError(400, "a secret is whsec_ and base64") from None
        kept = {name: verifier for name, verifier in self._verifiers.items() if name not in secrets}
        self._verifiers = {**kept, **verifiers}

    def judge(self, name: str, body: bytes, headers: dict[str, str]) -> tuple[bool | None, str | None]:
        """Whether a request is what it says, None where no secret is known; and what is wrong with it if it is not."""
        verifier = self._verifiers.get(name) or self._verifiers.get(_DEFAULT)
        if verifier is None:
            return None, None
        try:
            verifier.verify(body, headers, json_parse=False)
        except (WebhookVerificationError, ValueError) as problem:
            return False, str(problem)
        return True, None


def create_receiver(options: ReceiverOptions, clock: Clock) -> FastAPI:
    secrets, receipts = Secrets(options.secret), Receipts()

    async def receive_hook(request: Request) -> Response:
        name, body, headers = request.path_params.get("name", _DEFAULT), await request.body(), dict(request.headers)
        verified, problem = secrets.judge(name, body, headers)
        text = body.decode(errors="replace")
        receipts.add(Receipt(name, headers, text, verified, problem, clock.now(), request.scope["outcome"]))
        return nok(401, problem) if verified is False else Response(status_code=204)

    plan = FaultPlan(FaultBook(), clock, Random(0), subject=_hook_of, app_sees_faulted=True)
    app = FaultableApp(plan, [Route(path, receive_hook, methods=["POST"]) for path in (_HOOK, _HOOK + "/{name}")])
    app.include_router(_control(secrets, receipts))
    return app


def _control(secrets: Secrets, receipts: Receipts) -> APIRouter:
    routes = APIRouter(prefix="/_control")

    @routes.put("/secrets")
    async def put_secrets(given: dict[str, str | None]) -> dict[str, str]:
        secrets.put(given)
        return {"status": "ok"}

    @routes.get("/received")
    async def list_received(
        name: str | None = None,
        verified: Literal["true", "false", "null", "any"] = "any",
        limit: Annotated[int, Query(ge=0)] = 1000,
    ) -> dict[str, Any]:
        return receipts.report(name, _VERDICTS[verified], limit)

    @routes.delete("/received")
    async def forget_received() -> dict[str, str]:
        receipts.forget()
        return {"status": "ok"}

    return routes


def _hook_of(scope: Scope) -> str | None:
    path: str = scope["path"]
    if path == _HOOK:
        return _DEFAULT
    return path.removeprefix(_HOOK + "/") if path.startswith(_HOOK + "/") else None
