"""Holds answers against `openapi/photogpt.yaml`: the schema of that operation and status, or of its `default`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import httpx
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

_FILE = Path(__file__).parents[2] / "openapi" / "photogpt.yaml"
_URI = "urn:photogpt"


class UndeclaredError(AssertionError):
    """The document does not know such an answer."""


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(_FILE.read_text())
    return loaded


@cache
def _registry() -> Registry[Any]:
    resource = Resource.from_contents(document(), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource(_URI, resource)
    return registry


def check(method: str, path: str, answer: httpx.Response) -> None:
    """Raises if an answer is not one that the document declares for the operation at `path`, a template."""
    pointer = _response_pointer(method, path, answer.status_code)
    media_type = answer.headers["content-type"].partition(";")[0]
    if media_type not in _at(pointer)["content"]:
        raise UndeclaredError(f"{method} {path} {answer.status_code} is not declared as {media_type}")
    schema = {"$ref": f"{_URI}#{pointer}/content/{_escaped(media_type)}/schema"}
    body = answer.json() if media_type == "application/json" else answer.text
    Draft202012Validator(schema, registry=_registry()).validate(body)


def properties(schema: str) -> set[str]:
    return set(document()["components"]["schemas"][schema]["properties"])


def _response_pointer(method: str, path: str, status: int) -> str:
    operation = f"/paths/{_escaped(path)}/{method.lower()}"
    try:
        declared = _at(operation)["responses"]
    except KeyError:
        raise UndeclaredError(f"there is no {method} {path}") from None
    chosen = str(status) if str(status) in declared else "default"
    if status < 400 and chosen == "default":
        raise UndeclaredError(f"{method} {path} declares no {status}")
    pointer = f"{operation}/responses/{chosen}"
    reference: str | None = declared[chosen].get("$ref")
    return reference.removeprefix("#") if reference else pointer


def _at(pointer: str) -> dict[str, Any]:
    found = document()
    for step in pointer.split("/")[1:]:
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
