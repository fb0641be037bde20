"""How schemas are read before they are compared: references, unions, maps, and whatever is not understood."""

from __future__ import annotations

import pytest

from tests.openapi.changes import changes
from tests.openapi.fragments import Document, Schema, asking, closed, opened

TEXT: Schema = {"type": "string"}
NULL: Schema = {"type": "null"}
NULLABLE: Schema = {"anyOf": [TEXT, NULL]}
CAT: Schema = {"$ref": "#/components/schemas/Cat"}
DOG: Schema = {"$ref": "#/components/schemas/Dog"}
BODY = "POST /v1/things > request body"


def pets(schema: Schema, cat: Schema, dog: Schema = TEXT) -> Document:
    return asking(schema) | {"components": {"schemas": {"Cat": cat, "Dog": dog}}}


def items(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


@pytest.mark.parametrize(
    ("before", "after", "breaking"),
    [
        pytest.param(
            pets(items(CAT), closed(a=NULLABLE)), pets(items(CAT), closed(a=TEXT)), ["[] > a: may no longer be null"],
            id="in a list, behind a reference",
        ),
        pytest.param(
            pets(CAT, closed(kitten=CAT, a=TEXT)), pets(CAT, closed(kitten=CAT)), ["a: removed"],
            id="in something that holds itself",
        ),
        pytest.param(
            pets({"not": CAT}, opened(kitten=CAT, a=TEXT)), pets({"not": CAT}, opened(kitten=CAT)), ["not changed"],
            id="not understood, and holds itself",
        ),
        pytest.param(
            pets({"not": CAT}, opened(kitten=CAT)), pets({"not": CAT}, opened(kitten=CAT)), [],
            id="not understood, but the same",
        ),
        pytest.param(
            pets(CAT | {"maxLength": 5}, TEXT), pets(CAT | {"maxLength": 4}, TEXT), ["maxLength was 5, is 4"],
            id="beside a reference",
        ),
        pytest.param(
            asking(NULLABLE | {"maxLength": 5}), asking(NULLABLE | {"maxLength": 4}), ["maxLength was 5, is 4"],
            id="beside a union",
        ),
        pytest.param(
            asking({"anyOf": [closed(a=TEXT), closed(b=TEXT)]}), asking({"oneOf": [closed(b=TEXT), closed(a=TEXT)]}),
            [],
            id="in another order",
        ),
        pytest.param(
            pets({"anyOf": [CAT, DOG]}, closed(a=TEXT, b=TEXT), closed(c=TEXT)),
            pets({"anyOf": [DOG, CAT]}, closed(a=TEXT), closed(c=TEXT, d=TEXT)),
            ["b: removed"],
            id="in another order, and both are changed",
        ),
        pytest.param(
            pets({"anyOf": [CAT, DOG]}, closed(a=TEXT), closed(c=TEXT)), pets(CAT, closed(a=TEXT)),
            ["may no longer be Dog"],
            id="one choice less",
        ),
        pytest.param(
            asking({"type": "object", "additionalProperties": NULLABLE}),
            asking({"type": "object", "additionalProperties": TEXT}),
            ["*: may no longer be null"],
            id="values of a map",
        ),
        pytest.param(
            asking({"type": "object", "propertyNames": {"maxLength": 40}}),
            asking({"type": "object", "propertyNames": {"maxLength": 30}}),
            ["(names): maxLength was 40, is 30"],
            id="names of a map",
        ),
    ],
)  # fmt: skip
def test_a_change_is_found_wherever_it_hides(before: Document, after: Document, breaking: list[str]) -> None:
    found = [f"{change.where}: {change.what}" for change in changes(before, after) if change.breaking]
    assert [one.removeprefix(BODY).lstrip(" >:") for one in found] == breaking


def test_how_a_schema_is_written_does_not_matter() -> None:
    texts: list[Schema] = [
        NULLABLE,
        {"type": ["string", "null"]},
        {"oneOf": [NULL, {"allOf": [TEXT], "description": "A text."}]},
    ]
    enums: list[Schema] = [
        {"enum": ["a", None]},
        {"type": ["null", "string"], "enum": ["a", None]},
        {"anyOf": [{"const": "a"}, NULL]},
    ]
    for ways in (texts, enums):
        assert [changes(asking(one), asking(other)) for one in ways for other in ways] == [[]] * 9
