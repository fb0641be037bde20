"""Reads a schema of OpenAPI 3.1 as the list of things that a value may be, and pairs two such lists.

`anyOf`, `oneOf`, a list of types and an enum of mixed types all say the same: one of several. Written as alternatives
of a single type each, they can be compared with one another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Node = Mapping[str, Any]

_KINDS: Mapping[type, str] = {
    str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", list: "array", dict: "object",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alternative:
    """One thing that a value may be: a schema of a single type, or of `any`. `name` is its component's, if any."""

    kind: str
    name: str
    schema: Node

    def covers(self, other: Alternative) -> bool:
        """Whether every value of the other's kind is of this kind."""
        return self.kind in (other.kind, "any") or (self.kind, other.kind) == ("number", "integer")


def resolve(document: Node, node: Any) -> Node:
    """What a `$ref` leads to in this document, with whatever stands beside the `$ref`."""
    if isinstance(node, bool):
        return {} if node else {"not": {}}
    beside = dict(node)
    if len(beside.get("allOf", ())) == 1:
        [only] = beside.pop("allOf")
        return resolve(document, {**only, **beside})
    if "$ref" not in beside:
        return beside
    found: Any = document
    for step in beside.pop("$ref").removeprefix("#/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return {**resolve(document, found), **beside}


def expanded(document: Node, value: Any, met: tuple[str, ...] = ()) -> Any:
    """The value with every `$ref` in it replaced, but for one that leads back into itself."""
    if isinstance(value, list):
        return [expanded(document, item, met) for item in value]
    if not isinstance(value, dict):
        return value
    name = value.get("$ref")
    if isinstance(name, str):
        return value if name in met else expanded(document, dict(resolve(document, value)), (*met, name))
    return {key: expanded(document, item, met) for key, item in value.items()}


def alternatives(document: Node, schema: Any, name: str = "") -> list[Alternative]:
    if isinstance(schema, dict) and "$ref" in schema:
        name = schema["$ref"]
    found = dict(resolve(document, schema))
    for keyword in ("anyOf", "oneOf"):
        if choices := found.pop(keyword, None):
            return [one for choice in choices for one in _choice(document, choice, found, name)]
    if "const" in found:
        found["enum"] = [found.pop("const")]
    return list(_of_one_kind(found, name))


def pairs(before: list[Alternative], after: list[Alternative]) -> list[tuple[Alternative, Alternative]]:
    """Which alternative became which: the same one first, then one of the same name, of the same type, of a wider."""
    found = []
    olds, news = list(before), list(after)
    for alike in _LIKENESSES:
        for old in list(olds):
            new = next((new for new in news if alike(old, new)), None)
            if new is not None:
                found.append((old, new))
                olds = [one for one in olds if one is not old]
                news = [one for one in news if one is not new]
    return found


_LIKENESSES: tuple[Callable[[Alternative, Alternative], bool], ...] = (
    lambda old, new: old == new,
    lambda old, new: old.kind == new.kind and old.name == new.name != "",
    lambda old, new: old.kind == new.kind,
    lambda old, new: old.covers(new) or new.covers(old),
)


def _choice(document: Node, choice: Any, beside: Node, name: str) -> list[Alternative]:
    """What stands beside `anyOf` holds for every choice; a choice says more, or the same again."""
    if isinstance(choice, dict) and "$ref" in choice:
        name = choice["$ref"]
    return alternatives(document, {**beside, **resolve(document, choice)}, name)


def _of_one_kind(schema: dict[str, Any], name: str) -> Iterator[Alternative]:
    values = schema.get("enum")
    declared = schema.pop("type", None)
    if isinstance(declared, str):
        kinds = [declared]
    elif declared:
        kinds = declared
    elif values is not None:
        kinds = list(dict.fromkeys(_KINDS[type(value)] for value in values))
    elif "properties" in schema:
        kinds = ["object"]
    else:
        kinds = ["any"]
    for kind in kinds:
        one = Alternative(kind, name, schema)
        if kind == "null":  # there is but one, whatever else is said
            if values is None or None in values:
                yield Alternative(kind, name, {})
        elif values is not None and len(kinds) > 1:
            ours = [value for value in values if one.covers(Alternative(_KINDS[type(value)], "", {}))]
            if ours:
                yield Alternative(kind, name, {**schema, "enum": ours})
        else:
            yield one
