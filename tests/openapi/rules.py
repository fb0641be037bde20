"""How an OpenAPI document of ours is written: each rule names what offends against it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.openapi.alternatives import Node, resolve

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_LONGEST_SUMMARY = 60
_URI = "urn:document"
_SNAKE_CASE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_KEBAB_CASE = re.compile(r"\.?[a-z0-9]+(-[a-z0-9]+)*")  # a dot in front: /.well-known
_TEMPLATE = re.compile(r"\{(.+?)\}")

Found = tuple[str, str, Node, list[Node]]


def operations(document: Node) -> Iterator[Found]:
    """Each operation: its name, its path, itself, and its parameters."""
    for part in ("paths", "webhooks"):
        for path, node in document.get(part, {}).items():
            item = resolve(document, node)
            for method in _METHODS:
                if method in item:
                    given = [*item.get("parameters", ()), *item[method].get("parameters", ())]
                    name = f"{method.upper()} {path}"
                    yield name, path, item[method], [resolve(document, parameter) for parameter in given]


def schemas(node: Any, where: str = "#") -> Iterator[tuple[str, Node]]:
    """Everything below that is, or might be, a schema, with the JSON pointer to it."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from schemas(item, f"{where}/{number}")
    elif isinstance(node, dict):
        yield where, node
        for name, item in node.items():
            if name not in ("default", "enum", "example", "examples"):  # values, which may look like anything
                yield from schemas(item, f"{where}/{name.replace('~', '~0').replace('/', '~1')}")


# --- the rules --------------------------------------------------------------------------------------------------------


def operation_ids_are_unique_names(document: Node) -> Iterator[str]:
    """A generated client calls its functions by them; method and path, as FastAPI makes them by itself, are no name."""
    names = Counter(operation.get("operationId") for _, _, operation, _ in operations(document))
    for name, _, operation, _ in operations(document):
        given = operation.get("operationId")
        ends_in_method = str(given).endswith(f"_{name.split()[0].lower()}")
        if given is None or not _SNAKE_CASE.fullmatch(given) or ends_in_method or names[given] > 1:
            yield f"{name}: {given}"


def summaries_are_short_titles(document: Node) -> Iterator[str]:
    for name, _, operation, _ in operations(document):
        summary = operation.get("summary", "")
        if not 1 <= len(summary) <= _LONGEST_SUMMARY or summary.endswith("."):
            yield f"{name}: {summary!r}"


def operations_are_tagged(document: Node) -> Iterator[str]:
    """With tags of the document's list, if it has one; and such a list has no tag that nothing uses."""
    declared = [tag["name"] for tag in document.get("tags", ())]
    used = set()
    for name, _, operation, _ in operations(document):
        tags = operation.get("tags", [])
        used |= {*tags}
        if not tags or (declared and not {*tags} <= {*declared}):
            yield f"{name}: {tags}"
    yield from (f"{tag}: unused" for tag in declared if tag not in used)


def refusals_are_documented(document: Node) -> Iterator[str]:
    """Under /v1/ a caller may be unknown, a resource absent, and whatever was sent wrong; each is a problem."""
    for name, path, operation, parameters in operations(document):
        if not path.startswith("/v1/"):
            continue
        expected = {"401": True, "404": "{" in path}
        expected["422"] = "requestBody" in operation or any(one["in"] == "query" for one in parameters)
        expected["413"] = expected["415"] = "requestBody" in operation
        for status, needed in expected.items():
            content = resolve(document, operation["responses"].get(status, {})).get("content", {})
            if needed and "application/problem+json" not in content:
                yield f"{name}: {status}"
        if not operation.get("security", document.get("security")):
            yield f"{name}: needs no key"


def json_answers_have_a_schema(document: Node) -> Iterator[str]:
    for name, path, operation, _ in operations(document):
        for status, response in operation["responses"].items():
            for media_type, content in resolve(document, response).get("content", {}).items():
                if path.startswith("/v1/") and "json" in media_type and not content.get("schema"):
                    yield f"{name}: {status}"


def what_may_be_sent_is_explained(document: Node) -> Iterator[str]:
    """Each property of a request body says what it is for; titles are generated and say nothing new."""
    for name, path, operation, _ in operations(document):
        if path not in document.get("paths", {}) or "requestBody" not in operation:
            continue
        for content in resolve(document, operation["requestBody"]).get("content", {}).values():
            for place, described in _properties(document, content.get("schema", {}), ()):
                if not described:
                    yield f"{name}: {place}"


def references_resolve(document: Node) -> Iterator[str]:
    for where, node in schemas(document):
        if isinstance(node.get("$ref"), str):
            try:
                resolve(document, {"$ref": node["$ref"]})
            except (KeyError, TypeError):
                yield f"{where}: {node['$ref']}"


def components_are_used(document: Node) -> Iterator[str]:
    parts = document.get("components", {})
    reached: set[str] = set()
    waiting: list[Any] = [{name: part for name, part in document.items() if name != "components"}]
    while waiting:
        for _, node in schemas(waiting.pop()):
            reference = node.get("$ref")
            if isinstance(reference, str) and reference not in reached:
                reached.add(reference)
                waiting.append(resolve(document, {"$ref": reference}))
    for kind, members in parts.items():
        if kind != "securitySchemes":
            yield from (f"{kind}/{name}" for name in members if f"#/components/{kind}/{name}" not in reached)


def examples_fit_their_schemas(document: Node) -> Iterator[str]:
    """Those of a schema (`examples`, a list), and those of a body, a parameter or a header (`examples`, named)."""
    resource = Resource.from_contents(dict(document), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource(_URI, resource)
    for where, node in schemas(document):
        examples = node.get("examples")
        if isinstance(examples, list):
            pointer, values = where, examples
        elif "schema" in node and isinstance(examples, dict):
            pointer, values = f"{where}/schema", [resolve(document, one).get("value") for one in examples.values()]
        else:
            continue
        reference = {"$ref": f"{_URI}{pointer}"}
        checker = Draft202012Validator(reference, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)
        yield from (f"{where}: {error.message[:200]}" for value in values for error in checker.iter_errors(value))


def path_parameters_are_declared(document: Node) -> Iterator[str]:
    for name, path, _, parameters in operations(document):
        if path in document.get("paths", {}):
            declared = sorted(one["name"] for one in parameters if one["in"] == "path" and one.get("required"))
            if declared != sorted(_TEMPLATE.findall(path)):
                yield f"{name}: {declared}"


def names_are_written_alike(document: Node) -> Iterator[str]:
    """Paths and headers in kebab-case; properties, path and query parameters in snake_case."""
    for path in document.get("paths", {}):
        for segment in path.strip("/").split("/"):
            template = _TEMPLATE.fullmatch(segment)
            if not (_SNAKE_CASE.fullmatch(template[1]) if template else _KEBAB_CASE.fullmatch(segment)):
                yield f"{path}: {segment}"
    for name, _, _, parameters in operations(document):
        for parameter in parameters:
            form = _KEBAB_CASE if parameter["in"] == "header" else _SNAKE_CASE
            given = parameter["name"].lower() if parameter["in"] == "header" else parameter["name"]
            if not form.fullmatch(given):
                yield f"{name}: {parameter['name']}"
    for where, node in schemas(document):
        properties = node.get("properties")
        if isinstance(properties, dict) and not where.endswith("/properties"):
            yield from (f"{where}: {name}" for name in properties if not _SNAKE_CASE.fullmatch(name))


RULES = (
    operation_ids_are_unique_names,
    summaries_are_short_titles,
    operations_are_tagged,
    refusals_are_documented,
    json_answers_have_a_schema,
    what_may_be_sent_is_explained,
    references_resolve,
    components_are_used,
    examples_fit_their_schemas,
    path_parameters_are_declared,
    names_are_written_alike,
)


def _properties(document: Node, schema: Any, met: tuple[str, ...], where: str = "") -> Iterator[tuple[str, bool]]:
    """Every property below, and whether it or what it refers to is described."""
    if schema.get("$ref") in met:
        return
    met = (*met, *([schema["$ref"]] if "$ref" in schema else ()))
    found = resolve(document, schema)
    for choice in (*found.get("anyOf", ()), *found.get("oneOf", ()), *found.get("allOf", ())):
        yield from _properties(document, choice, met, where)
    if isinstance(found.get("items"), dict):
        yield from _properties(document, found["items"], met, where)
    for name, node in found.get("properties", {}).items():
        yield f"{where}/{name}", bool(resolve(document, node).get("description"))
        yield from _properties(document, node, met, f"{where}/{name}")
