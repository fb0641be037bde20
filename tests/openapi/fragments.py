"""Small OpenAPI documents around a schema, for tests of the rules."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
Document = dict[str, Any]


def document(operation: dict[str, Any] | None = None, **members: Any) -> Document:
    """A document with the route `POST /v1/things`, or with what `members` say instead."""
    paths = {"/v1/things": {"post": {"responses": {"200": {"description": "Done."}}} | (operation or {})}}
    return {"openapi": "3.1.0", "info": {"title": "A", "version": "1"}, "paths": paths} | members


def content(schema: Schema) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def asking(schema: Schema, *, required: bool = True) -> Document:
    return document({"requestBody": content(schema) | {"required": required}})


def answering(schema: Schema, status: str = "200") -> Document:
    return document({"responses": {status: content(schema) | {"description": "Done."}}})


def with_parameters(*parameters: dict[str, Any]) -> Document:
    return document({"parameters": list(parameters)})


def query(name: str, schema: Schema | None = None, **members: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema or {"type": "string"}} | members


def header(name: str) -> dict[str, Any]:
    return query(name) | {"in": "header"}


def sending(schema: Schema, **members: Any) -> Document:
    """The schema is the body of a webhook."""
    operation = {"requestBody": content(schema), "responses": {"200": {"description": "Heard."}}} | members
    return document(paths={}, webhooks={"thing-event": {"post": operation}})


def closed(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return opened(required, **properties) | {"additionalProperties": False}


def opened(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required)}
