"""The FastAPI application: the routes, and what stands before and around them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.api import deliveries, docs, health, problems, signing_secret, trainings
from service.api.body import BodyGuard
from service.api.schemas import EventOut, Problem
from service.bootstrap import Components

_DESCRIPTION = """\
Forwards a train request to PhotoGPT, watches the model every 5 minutes, and POSTs a signed webhook
(Standard Webhooks) when it is ready or deleted. Errors are `application/problem+json` with a stable `code`.
"""


def create_app(components: Components | None = None) -> FastAPI:
    """The application; without components it only serves its own description (`photogpt-webhooks openapi`)."""
    app = FastAPI(
        title="photogpt-webhooks",
        version="1",
        summary="Webhooks for PhotoGPT trainings.",
        description=_DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        docs_url=None,  # FastAPI's own page loads its scripts from elsewhere
        redoc_url=None,
    )
    app.state.components = components
    for module in (trainings, deliveries, signing_secret, health):
        app.include_router(module.router)
    docs.install(app)
    _describe_webhook(app)
    problems.install(app)
    app.add_middleware(BodyGuard, prefix="/v1/")
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    return app


def create_health_app(components: Components) -> FastAPI:
    """What the health port serves: probes, on all interfaces, and nothing else."""
    app = FastAPI(openapi_url=None)
    app.state.components = components
    app.include_router(health.router)
    problems.install(app)
    return app


def _describe_webhook(app: FastAPI) -> None:
    @app.webhooks.post(
        "training-event",
        summary="What your callback URL receives",
        description="Signed by Standard Webhooks 1.0.0: headers `webhook-id` (the same at every attempt), "
        "`webhook-timestamp` and `webhook-signature`. Answer 2xx within 15 s; anything else is tried again, "
        "410 ends it.",
        tags=["Webhooks"],
    )
    def training_event(body: EventOut) -> None:
        """Only described here; FastAPI never calls it."""


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
        )
        schemas = app.openapi_schema["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schemas["Problem"].pop("$defs", {}) | schemas
        _drop_framework_errors(app.openapi_schema)
    return app.openapi_schema


def _drop_framework_errors(document: dict[str, Any]) -> None:
    """FastAPI declares a 422 of its own for whatever has a parameter. Ours are problems, declared where they occur."""
    for operations in (document["paths"] | document["webhooks"]).values():
        for operation in operations.values():
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
