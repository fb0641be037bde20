"""Compares two JSON schemas as OpenAPI 3.1 has them: what the second accepts less than the first, and what more.

Which of the two breaks somebody is a matter of direction. What comes IN to us may only be accepted more widely, what
goes OUT from us may only become narrower. Two things are no matter of sets: readers skip properties that they do not
know, and whoever leaves a value out gets the default.

A value added to an enum that goes OUT breaks strict readers. It is harmless if the enum was marked
`x-extensible-enum: true` in the document before: its readers have been told.

What is not understood (`not`, `if`, several `allOf`) is breaking wherever it changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any

from tests.openapi.alternatives import Alternative, Node, alternatives, expanded, pairs, resolve

_UPPER_LIMITS = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum")
_LOWER_LIMITS = {"minLength": 0, "minItems": 0, "minProperties": 0, "minimum": -inf, "exclusiveMinimum": -inf}
_EXACT = ("pattern", "format", "multipleOf", "uniqueItems")
_STRUCTURE = ("additionalProperties", "enum", "items", "properties", "propertyNames", "required")
_ANNOTATIONS = (
    "$comment", "contentMediaType", "default", "deprecated", "description", "discriminator", "example", "examples",
    "externalDocs", "readOnly", "title", "writeOnly", "xml",
)  # fmt: skip
_UNDERSTOOD = frozenset({*_UPPER_LIMITS, *_LOWER_LIMITS, *_EXACT, *_STRUCTURE, *_ANNOTATIONS})

_Met = frozenset[tuple[str, str]]


class Direction(Enum):
    IN = "others send it to us"
    OUT = "we send it to others"

    @property
    def opposite(self) -> Direction:
        return Direction.OUT if self is Direction.IN else Direction.IN


class Effect(Enum):
    NARROWED = "less is possible than before"
    WIDENED = "more is possible than before"
    REPLACED = "nobody can tell whether what was possible still is"


@dataclass(frozen=True, slots=True)
class Change:
    """`where` leads to the place: `POST /v1/trainings > request body > callback > url`."""

    where: str
    what: str
    breaking: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of schemas in these two documents, for what travels in this direction."""

    before: Node
    after: Node
    direction: Direction

    def change(self, where: str, what: str, effect: Effect) -> Change:
        harmless = Effect.WIDENED if self.direction is Direction.IN else Effect.NARROWED
        return Change(where, what, effect is not harmless)

    def schemas(self, where: str, before: Any, after: Any, met: _Met = frozenset()) -> Iterator[Change]:
        """The changes from one schema to the other; `met` are the references that led here."""
        names = tuple(schema.get("$ref", "") if isinstance(schema, dict) else "" for schema in (before, after))
        if all(names):
            if names in met:
                return
            met |= {(names[0], names[1])}
        yield from self._alternatives(where, before, after, met)
        old, new = (
            resolve(document, schema).get("default")
            for document, schema in ((self.before, before), (self.after, after))
        )
        if self.direction is Direction.IN and old is not None and old != new:
            yield self.change(where, f"default was {old!r}, is {new!r}", Effect.REPLACED)

    def _alternatives(self, where: str, before: Any, after: Any, met: _Met) -> Iterator[Change]:
        olds, news = alternatives(self.before, before), alternatives(self.after, after)
        paired = pairs(olds, news)
        for old, new in paired:
            yield from self._pair(where, old, new, met)
        known = {id(one) for pair in paired for one in pair}
        for old in olds:
            if id(old) not in known and not _covered(old, news, known):
                yield self.change(where, f"may no longer be {_called(old)}", Effect.NARROWED)
        for new in news:
            if id(new) not in known and not _covered(new, olds, known):
                yield self.change(where, f"may be {_called(new)} now", Effect.WIDENED)

    def _pair(self, where: str, old: Alternative, new: Alternative, met: _Met) -> Iterator[Change]:
        if old.kind != new.kind:
            effect = Effect.WIDENED if new.covers(old) else Effect.NARROWED
            yield self.change(where, f"type was {old.kind}, is {new.kind}", effect)
        yield from self._enums(where, old.schema, new.schema)
        yield from self._limits(where, old.schema, new.schema)
        if "array" in (old.kind, new.kind):
            yield from self.schemas(f"{where} > []", old.schema.get("items", {}), new.schema.get("items", {}), met)
        if "object" in (old.kind, new.kind):
            yield from self._objects(where, old.schema, new.schema, met)
        for keyword in sorted({*old.schema, *new.schema} - _UNDERSTOOD):
            told, tells = (
                expanded(document, schema.get(keyword))
                for document, schema in ((self.before, old.schema), (self.after, new.schema))
            )
            if told != tells and not keyword.startswith("x-"):
                yield self.change(where, f"{keyword} changed", Effect.REPLACED)

    def _enums(self, where: str, old: Node, new: Node) -> Iterator[Change]:
        before, after = old.get("enum"), new.get("enum")
        if before is None and after is None:
            return
        if after is None:
            yield self.change(where, "no longer an enum", Effect.WIDENED)
        elif before is None:
            yield self.change(where, f"became an enum of {after}", Effect.NARROWED)
        else:
            for value in before:
                if value not in after:
                    yield self.change(where, f"enum value {value!r} removed", Effect.NARROWED)
            breaking = self.direction is Direction.OUT and old.get("x-extensible-enum") is not True
            for value in after:
                if value not in before:
                    yield Change(where, f"enum value {value!r} added", breaking)

    def _limits(self, where: str, old: Node, new: Node) -> Iterator[Change]:
        for limit in _UPPER_LIMITS:
            before, after = old.get(limit, inf), new.get(limit, inf)
            if before != after:
                effect = Effect.NARROWED if after < before else Effect.WIDENED
                yield self.change(where, f"{limit} was {_figure(before)}, is {_figure(after)}", effect)
        for limit, lowest in _LOWER_LIMITS.items():
            before, after = old.get(limit, lowest), new.get(limit, lowest)
            if before != after:
                effect = Effect.NARROWED if after > before else Effect.WIDENED
                yield self.change(where, f"{limit} was {_figure(before)}, is {_figure(after)}", effect)
        for keyword in _EXACT:
            was, now = old.get(keyword), new.get(keyword)
            if was != now:
                effect = Effect.NARROWED if not was else Effect.REPLACED if now else Effect.WIDENED
                yield self.change(where, f"{keyword} was {was or 'none'}, is {now or 'none'}", effect)

    def _objects(self, where: str, old: Node, new: Node, met: _Met) -> Iterator[Change]:
        required, required_now = set(old.get("required", ())), set(new.get("required", ()))
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in dict.fromkeys((*before, *after, *sorted(required), *sorted(required_now))):
            place = f"{where} > {name}"
            is_there, was_there = name in after or name in required_now, name in before or name in required
            if not is_there:
                ignored = self.direction is Direction.IN and new.get("additionalProperties", True) is not False
                yield Change(place, "removed", breaking=not ignored)
            elif not was_there:
                needed = name in required_now
                yield Change(
                    place,
                    f"added, {'required' if needed else 'optional'}",
                    breaking=needed and self.direction is Direction.IN,
                )
            else:
                if (name in required) != (name in required_now):
                    effect, what = (
                        (Effect.WIDENED, "no longer required")
                        if name in required
                        else (Effect.NARROWED, "became required")
                    )
                    yield self.change(place, what, effect)
                yield from self.schemas(place, before.get(name, {}), after.get(name, {}), met)
        yield from self._other_properties(where, old, new, met)

    def _other_properties(self, where: str, old: Node, new: Node, met: _Met) -> Iterator[Change]:
        before, after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if False not in (before, after):
            yield from self.schemas(f"{where} > *", before, after, met)
        elif before is not after:
            opened = before is False
            # Going out it changes nothing: readers skip what they do not know.
            breaking = self.direction is Direction.IN and not opened
            yield Change(where, f"further properties are {'allowed' if opened else 'refused'} now", breaking)
        names, names_now = old.get("propertyNames", {}), new.get("propertyNames", {})
        yield from self.schemas(f"{where} (names)", names, names_now, met)


def _covered(one: Alternative, others: list[Alternative], known: set[int]) -> bool:
    """Whether another alternative, taken already, holds all that this one does."""
    return any(id(other) in known and other.kind != one.kind and other.covers(one) for other in others)


def _called(one: Alternative) -> str:
    return one.name.rpartition("/")[2] or one.kind


def _figure(limit: float) -> str:
    return "none" if limit in (inf, -inf) else str(limit)
