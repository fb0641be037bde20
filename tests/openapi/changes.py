"""What changed between two OpenAPI 3.1 documents, and whether it breaks those who rely on the first.

What callers send comes IN, what they are answered goes OUT (`schemas.Direction`). Webhooks and callbacks are the other
way round: their request body is what we send, their responses are what the receiver may answer.

Decided here: a route or a webhook that is gone is breaking, and so is a renamed operationId or path parameter, after
which generated clients name their functions and arguments. A new answer below 400 is breaking and one that is gone
too, because callers branch on them; errors may come and go, because every caller has to take an unknown 4xx for a 400
(RFC 9110, 15). A further media type is harmless where we accept it and breaking where we send it. Words, tags, examples
and `servers` are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.openapi.alternatives import Node, resolve
from tests.openapi.schemas import Change, Comparison, Direction

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_Operation = tuple[dict[str, Any], list[Any]]


def changes(before: Node, after: Node) -> list[Change]:
    """Every change that somebody's code might notice, in the order of the documents."""
    found: list[Change] = []
    for asked, part in ((Direction.IN, "paths"), (Direction.OUT, "webhooks")):
        operations, operations_now = _operations(before, part), _operations(after, part)
        documents = _Documents(before, after, asked)
        found += documents.operations(operations, operations_now)
    return found + list(_schemes(before, after))


class _Documents:
    """Compares operations whose requests travel in the direction `asked`, and whose answers travel back."""

    def __init__(self, before: Node, after: Node, asked: Direction) -> None:
        self._before = before
        self._after = after
        self._asked = asked
        self._requests = Comparison(before, after, asked)
        self._answers = Comparison(before, after, asked.opposite)

    def operations(self, before: dict[str, _Operation], after: dict[str, _Operation]) -> Iterator[Change]:
        for name in dict.fromkeys((*before, *after)):
            if name not in after:
                yield Change(name, "removed", breaking=True)
            elif name not in before:
                yield Change(name, "added", breaking=False)
            else:
                yield from self._operation(name, before[name], after[name])

    def _operation(self, name: str, before: _Operation, after: _Operation) -> Iterator[Change]:
        (old, shared), (new, shared_now) = before, after
        if old.get("operationId") != new.get("operationId"):
            yield Change(name, f"was called {old.get('operationId')}, is {new.get('operationId')}", breaking=True)
        yield from self._requests.schemas(
            name,
            _parameters(self._before, [*shared, *old.get("parameters", ())]),
            _parameters(self._after, [*shared_now, *new.get("parameters", ())]),
        )
        yield from self._bodies(name, old.get("requestBody"), new.get("requestBody"))
        yield from self._responses(name, old.get("responses", {}), new.get("responses", {}))
        yield from _security(name, _requirements(self._before, old), _requirements(self._after, new))
        turned = _Documents(self._before, self._after, self._asked.opposite)
        yield from turned.operations(_callbacks(self._before, name, old), _callbacks(self._after, name, new))

    def _bodies(self, name: str, before: Any, after: Any) -> Iterator[Change]:
        where = f"{name} > request body"
        old, new = resolve(self._before, before or {}), resolve(self._after, after or {})
        needed, needed_now = old.get("required", False), new.get("required", False)
        if before is None or after is None:
            if before is not None:
                yield Change(where, "removed", breaking=True)
            elif after is not None:
                yield Change(where, "added", breaking=needed_now and self._asked is Direction.IN)
            return
        if needed != needed_now:
            what = "became required" if needed_now else "no longer required"
            yield Change(where, what, breaking=needed_now is (self._asked is Direction.IN))
        yield from _contents(self._requests, where, old, new)

    def _responses(self, name: str, before: Node, after: Node) -> Iterator[Change]:
        # A receiver may go on answering whatever it was told that we take.
        answering = self._answers.direction is Direction.OUT
        for status in sorted({*before, *after}):
            where = f"{name} > {status}"
            error = not status.startswith(("1", "2", "3"))
            if status not in after:
                yield Change(where, "removed", breaking=not error or not answering)
            elif status not in before:
                yield Change(where, "added", breaking=answering and not error)
            else:
                old, new = resolve(self._before, before[status]), resolve(self._after, after[status])
                yield from _contents(self._answers, where, old, new)
                yield from self._answers.schemas(where, _headers(self._before, old), _headers(self._after, new))


def _operations(document: Node, part: str) -> dict[str, _Operation]:
    """Each operation with the parameters of its path, by a name such as `GET /v1/trainings`."""
    found = {}
    for path, node in document.get(part, {}).items():
        item = resolve(document, node)
        for method in _METHODS:
            if method in item:
                name = f"{method.upper()} {path}" if part == "paths" else f"webhook {path} {method.upper()}"
                found[name] = (item[method], item.get("parameters", []))
    return found


def _callbacks(document: Node, name: str, operation: Node) -> dict[str, _Operation]:
    found = {}
    for callback, node in operation.get("callbacks", {}).items():
        for inner, one in _operations({**document, "paths": resolve(document, node)}, "paths").items():
            found[f"{name} > callback {callback} {inner}"] = one
    return found


def _parameters(document: Node, given: list[Any]) -> dict[str, Any]:
    """Parameters as what they amount to: an object that refuses further properties."""
    found: dict[str, Any] = {}
    required = set()
    for parameter in (resolve(document, node) for node in given):
        name, place = str(parameter["name"]), str(parameter["in"])
        title = f"{place} parameter {name.lower() if place == 'header' else name}"
        schema = dict(parameter.get("schema") or {})
        found[title] = schema | {f"{word} of a parameter": parameter[word] for word in _SPELLING if word in parameter}
        required |= {title} if parameter.get("required") else set()
    return {"type": "object", "properties": found, "required": sorted(required), "additionalProperties": False}


_SPELLING = ("style", "explode", "content")


def _headers(document: Node, response: Node) -> dict[str, Any]:
    found: dict[str, Any] = {}
    required = []
    for name, node in response.get("headers", {}).items():
        header = resolve(document, node)
        found[f"header {name.lower()}"] = header.get("schema", {})
        required += [f"header {name.lower()}"] if header.get("required") else []
    return {"type": "object", "properties": found, "required": required}


def _contents(comparison: Comparison, where: str, before: Node, after: Node) -> Iterator[Change]:
    old, new = before.get("content", {}), after.get("content", {})
    for media_type in dict.fromkeys((*old, *new)):
        place = f"{where} > {media_type}" if len({*old, *new}) > 1 else where
        if media_type not in new:
            yield Change(place, "removed", breaking=True)
        elif media_type not in old:
            yield Change(place, "added", breaking=comparison.direction is Direction.OUT)
        else:
            schemas = old[media_type].get("schema", {}), new[media_type].get("schema", {})
            yield from comparison.schemas(place, *schemas)


def _requirements(document: Node, operation: Node) -> set[frozenset[tuple[str, str]]]:
    """Each way to be let in: the schemes and scopes that it takes together. None at all is a way too."""
    ways = operation.get("security", document.get("security", ())) or [{}]
    return {frozenset((scheme, scope) for scheme, scopes in way.items() for scope in ("", *scopes)) for way in ways}


def _security(
    name: str, before: set[frozenset[tuple[str, str]]], after: set[frozenset[tuple[str, str]]]
) -> Iterator[Change]:
    if before == after:
        return
    still_in = all(any(now <= way for now in after) for way in before)
    yield Change(f"{name} > security", "asks for no more" if still_in else "asks for more", breaking=not still_in)


def _schemes(before: Node, after: Node) -> Iterator[Change]:
    """A scheme that is added or gone shows where it is asked for."""
    old, new = (document.get("components", {}).get("securitySchemes", {}) for document in (before, after))
    for name in sorted({*old} & {*new}):
        told, tells = (
            {key: value for key, value in schemes[name].items() if key != "description"} for schemes in (old, new)
        )
        if told != tells:
            yield Change(f"security scheme {name}", "changed", breaking=True)
