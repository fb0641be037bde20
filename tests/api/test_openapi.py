"""`openapi/service.yaml` is what the code says, and is what its specification wants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.app import create_app

FILE = Path(__file__).parents[2] / "openapi" / "service.yaml"


def written() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return document


def test_the_file_is_what_the_code_says() -> None:
    assert written() == create_app().openapi(), "openapi/service.yaml is out of date: run `make openapi`"


def test_the_document_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(written()).validate()


def test_the_document_describes_these_routes_and_no_others() -> None:
    routes = {(method.upper(), path) for path, methods in written()["paths"].items() for method in methods}
    assert routes == {
        ("POST", "/v1/trainings"),
        ("GET", "/v1/trainings"),
        ("GET", "/v1/trainings/{training_id}"),
        ("DELETE", "/v1/trainings/{training_id}"),
        ("GET", "/v1/deliveries"),
        ("GET", "/v1/deliveries/{delivery_id}"),
        ("POST", "/v1/deliveries/{delivery_id}/retry"),
        ("POST", "/v1/webhook-endpoints"),
        ("GET", "/v1/webhook-endpoints"),
        ("POST", "/v1/webhook-endpoints/test"),
        ("GET", "/v1/webhook-endpoints/{endpoint_id}"),
        ("PATCH", "/v1/webhook-endpoints/{endpoint_id}"),
        ("DELETE", "/v1/webhook-endpoints/{endpoint_id}"),
        ("POST", "/v1/webhook-endpoints/{endpoint_id}/rotate-secret"),
        ("POST", "/v1/webhook-endpoints/{endpoint_id}/test"),
        ("POST", "/v1/webhook-endpoints/{endpoint_id}/recover"),
        ("GET", "/v1/webhook-endpoints/{endpoint_id}/recoveries/{recovery_id}"),
        ("GET", "/v1/events"),
        ("GET", "/v1/events/stream"),
        ("GET", "/v1/events/{event_id}"),
        ("GET", "/v1/signing-secret"),
        ("POST", "/v1/signing-secret/rotate"),
        ("GET", "/.well-known/webhook-signing-keys"),
        ("GET", "/v1/account"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
    }


def test_the_document_describes_the_webhooks_that_receivers_get() -> None:
    schemas = {
        name: webhook["post"]["requestBody"]["content"]["application/json"]["schema"]
        for name, webhook in written()["webhooks"].items()
    }
    assert schemas == {
        "training-event": {"$ref": "#/components/schemas/EventOut"},
        "webhook-endpoint-event": {"$ref": "#/components/schemas/EndpointEventOut"},
    }
    types = written()["components"]["schemas"]["EventType"]["enum"]
    assert sorted(types) == [
        "training.cancelled",
        "training.deleted",
        "training.expired",
        "training.failed",
        "training.overdue",
        "training.ready",
        "training.rejected",
        "training.started",
        "training.suspended",
        "webhook_endpoint.disabled",
    ]


def test_every_error_is_described_as_a_problem() -> None:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, methods in written()["paths"].items():
        for method, operation in methods.items():
            if not path.startswith("/v1/"):
                continue
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert response["content"] == problem, (method, path, status)
