"""The FastAPI application: the routes, and what stands before and around them."""

from __future__ import annotations

import random
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.telemetry import TelemetryConfig

from service import ops
from service.api import (
    account,
    deliveries,
    docs,
    events,
    health,
    metrics,
    problems,
    proxy,
    signing_keys,
    signing_secret,
    trainings,
    webhook_endpoints,
)
from service.api.access import Access
from service.api.body import BodyGuard
from service.api.direct import DirectRoutes
from service.api.edge import Edge
from service.api.schemas import EndpointEventOut, EventOut, Problem
from service.components import Components
from service.ops.awaited import Awaited

_TAGS = {
    "Trainings": "Train a model and watch it.",
    "Webhook endpoints": "Lasting subscriptions: every training of yours.",
    "Events": "What happened, for those who can't be called back.",
    "Deliveries": "What was sent where, what came of it, and sending it again.",
    "Signing": "What webhooks are verified with.",
    "Account": "What is kept for you, and your limits.",
    "Health": "For probes.",
    "Webhooks": "What we send you.",
}
# FastAPI's own, which asks at each request whether somebody wants it. Ours is `service.telemetry`.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
_DESCRIPTION = """\
Forwards a train request to PhotoGPT, watches the model every 5 minutes, and POSTs a signed webhook
(Standard Webhooks) when it is ready or deleted. Errors are `application/problem+json` with a stable `code`.

Any route may also answer 400, 408, 413, 414, 415 or 431 to a request that is malformed, slow or too large, 406 to an
`Accept` that admits none of its answers, 429 to a caller who sends too many, and, on an open sidecar, 421 to a
foreign `Host` and 403 to a browser's cross-site request.

`/api/...` is PhotoGPT's own API, passed on as it is; `GET /api/models/{id}/train` starts a training that is watched,
and answers as PhotoGPT does, with the headers `Training-Id` and `Link`.
"""


def create_app(components: Components | None = None, rng: random.Random | None = None) -> FastAPI:
    """The application; without components it only serves its own description (`photogpt-webhooks openapi`).

    `rng`: what the operator's sessions are made with; must be cryptographically strong outside of tests.
    """
    documented = components is None or components.settings.docs
    page = ops.PREFIX if components is not None and components.settings.ops else None
    app = FastAPI(
        title="photogpt-webhooks",
        version="1",
        summary="Webhooks for PhotoGPT trainings.",
        description=_DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_url="/openapi.json" if documented else None,
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to whatever the Host header says
        generate_unique_id_function=lambda route: route.name,
        openapi_tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
        telemetry=_NO_TELEMETRY,
    )
    app.state.components = components
    app.router.routes.append(proxy.photogpt)
    for module in (trainings, webhook_endpoints, events, deliveries, signing_secret, signing_keys, account, health):
        app.include_router(module.router)
    if documented:
        docs.install(app)
    _describe_webhooks(app)
    problems.install(app)
    app.add_middleware(DirectRoutes, routes=[trainings.start, trainings.read, proxy.photogpt])
    app.add_middleware(BodyGuard, forms=page)
    app.add_middleware(
        Edge,
        open_sidecar=components is not None and components.settings.open_to_this_machine,
        page=page,
        open_page=components is not None and components.settings.open_ops,
    )
    app.add_middleware(Access)
    if components is not None and page is not None:
        app.add_middleware(Awaited, application=app, components=components, rng=rng or random.SystemRandom())
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return app


def create_health_app(components: Components) -> FastAPI:
    """What the health port serves: probes and metrics, on all interfaces, and nothing else."""
    app = FastAPI(openapi_url=None, redirect_slashes=False, telemetry=_NO_TELEMETRY)
    app.state.components = components
    app.include_router(health.router)
    app.include_router(metrics.router)
    problems.install(app)
    app.add_middleware(BodyGuard)
    app.add_middleware(Edge)
    return app


def _describe_webhooks(app: FastAPI) -> None:
    """Only described here; FastAPI never calls them."""
    signed = (
        "Signed by Standard Webhooks 1.0.0: headers `webhook-id` (the same at every attempt), `webhook-timestamp` and "
        "`webhook-signature`. Answer 2xx within 15 s; anything else is tried again, 410 ends it."
    )

    @app.webhooks.post(
        "training-event",
        operation_id="training_event",
        summary="What happened to a training",
        description=signed,
        tags=["Webhooks"],
    )
    def training_event(body: EventOut) -> None: ...

    @app.webhooks.post(
        "webhook-endpoint-event",
        operation_id="webhook_endpoint_event",
        summary="A webhook endpoint of yours was disabled",
        description=f"Sent to your other webhook endpoints. {signed}",
        tags=["Webhooks"],
    )
    def webhook_endpoint_event(body: EndpointEventOut) -> None: ...


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        app.openapi_schema = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            license_info=app.license_info,
            routes=app.routes,
            webhooks=app.webhooks.routes,
            tags=app.openapi_tags,
        )
        schemas = app.openapi_schema["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schemas["Problem"].pop("$defs", {}) | schemas
        _drop_framework_errors(app.openapi_schema)
        _describe_streams(app.openapi_schema)
    return app.openapi_schema


def _drop_framework_errors(document: dict[str, Any]) -> None:
    """FastAPI declares a 422 of its own for whatever has a parameter. Ours are problems, declared where they occur."""
    for operations in (document["paths"] | document["webhooks"]).values():
        for operation in operations.values():
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)


def _describe_streams(document: dict[str, Any]) -> None:
    """FastAPI says of a stream what OpenAPI 3.2 has a word for and 3.1, which this document is, has not."""
    for operations in document["paths"].values():
        for operation in operations.values():
            stream = operation["responses"].get("200", {}).get("content", {}).get("text/event-stream", {})
            if stream.pop("itemSchema", None):
                stream["schema"] = {"type": "string", "description": "Server-sent events with `id`, `event`, `data`."}
