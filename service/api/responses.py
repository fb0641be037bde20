"""The problems that a route can answer with, for the OpenAPI document."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from service.api.problems import MEDIA_TYPE

_REFERENCE = {"$ref": "#/components/schemas/Problem"}


def problems(*statuses: int, others: dict[int | str, dict[str, Any]] | None = None) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` for problems with these statuses, beside `others`."""
    return (others or {}) | {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": _REFERENCE}}}
        for status in statuses
    }
