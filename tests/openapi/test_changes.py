"""Which changes of an API break those who rely on it, by table."""

from __future__ import annotations

from typing import Any

import pytest

from tests.openapi.changes import changes
from tests.openapi.fragments import (
    Document,
    Schema,
    answering,
    asking,
    closed,
    content,
    document,
    header,
    opened,
    query,
    sending,
    with_parameters,
)

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
NULLABLE: Schema = {"anyOf": [TEXT, {"type": "null"}]}
COLOURS: Schema = {"type": "string", "enum": ["red", "green"]}
MORE_COLOURS: Schema = {"type": "string", "enum": ["red", "green", "blue"]}
OPEN, MORE_OPEN = (schema | {"x-extensible-enum": True} for schema in (COLOURS, MORE_COLOURS))
KEY: list[dict[str, list[str]]] = [{"Bearer": []}]
POST, HOOK = "POST /v1/things", "webhook thing-event POST"
FILTER, BODY, ANSWER, SENT = (
    f"{POST} > query parameter q",
    f"{POST} > request body",
    f"{POST} > 200",
    f"{HOOK} > request body",
)


def filtered_by(schema: Schema | None = None, **members: Any) -> Document:
    return with_parameters(query("q", schema, **members))


def answers_with(**statuses: Any) -> Document:
    return document(
        {"responses": {status.removeprefix("s"): {"description": "-"} | it for status, it in statuses.items()}}
    )


# What, before, after, the changes that break, the changes that do not.
Row = tuple[str, Document, Document, list[str], list[str]]
ROUTES: list[Row] = [
    ("route gone", document(), document(paths={}), [f"{POST}: removed"], []),
    ("route added", document(paths={}), document(), [], [f"{POST}: added"]),
    (
        "route called otherwise",
        document({"operationId": "old"}),
        document({"operationId": "new"}),
        [f"{POST}: was called old, is new"],
        [],
    ),
    ("parameter added, required", document(), filtered_by(required=True), [f"{FILTER}: added, required"], []),
    ("parameter added", document(), filtered_by(), [], [f"{FILTER}: added, optional"]),
    ("parameter gone", filtered_by(), document(), [f"{FILTER}: removed"], []),
    (
        "parameter of another type",
        filtered_by(TEXT),
        filtered_by(NUMBER),
        [f"{FILTER}: may no longer be string"],
        [f"{FILTER}: may be integer now"],
    ),
    ("parameter needed now", filtered_by(), filtered_by(required=True), [f"{FILTER}: became required"], []),
    (
        "other default",
        filtered_by(NUMBER | {"default": 50}),
        filtered_by(NUMBER | {"default": 20}),
        [f"{FILTER}: default was 50, is 20"],
        [],
    ),
    ("header spelt otherwise", with_parameters(header("X-Id")), with_parameters(header("x-id")), [], []),
    (
        "parameter spelt otherwise",
        filtered_by({"type": "array"}, explode=True),
        filtered_by({"type": "array"}, explode=False),
        [f"{FILTER}: explode of a parameter changed"],
        [],
    ),
    (
        "parameter of the path",
        document(paths={"/v1/things": {"parameters": [query("q")], "post": {}}}),
        document(paths={"/v1/things": {"post": {}}}),
        [f"{FILTER}: removed"],
        [],
    ),
    ("key asked for", document(), document(security=KEY), [f"{POST} > security: asks for more"], []),
    (
        "key no longer asked for",
        document(security=KEY),
        document({"security": [*KEY, {}]}, security=KEY),
        [],
        [f"{POST} > security: asks for no more"],
    ),
    (
        "another scheme",
        document(components={"securitySchemes": {"Bearer": {"type": "http", "scheme": "bearer"}}}),
        document(components={"securitySchemes": {"Bearer": {"type": "http", "scheme": "basic"}}}),
        ["security scheme Bearer: changed"],
        [],
    ),
]
REQUESTS: list[Row] = [
    (
        "new required property",
        asking(closed(a=TEXT)),
        asking(closed(("b",), a=TEXT, b=TEXT)),
        [f"{BODY} > b: added, required"],
        [],
    ),
    ("new property", asking(closed()), asking(closed(b=TEXT)), [], [f"{BODY} > b: added, optional"]),
    ("property gone", asking(closed(b=TEXT)), asking(closed()), [f"{BODY} > b: removed"], []),
    ("property ignored", asking(opened(b=TEXT)), asking(opened()), [], [f"{BODY} > b: removed"]),
    ("property needed", asking(closed(b=TEXT)), asking(closed(("b",), b=TEXT)), [f"{BODY} > b: became required"], []),
    ("value gone", asking(MORE_COLOURS), asking(COLOURS), [f"{BODY}: enum value 'blue' removed"], []),
    ("value added", asking(COLOURS), asking(MORE_COLOURS), [], [f"{BODY}: enum value 'blue' added"]),
    ("value added to an open enum", asking(OPEN), asking(MORE_OPEN), [], [f"{BODY}: enum value 'blue' added"]),
    ("null refused", asking(NULLABLE), asking(TEXT), [f"{BODY}: may no longer be null"], []),
    ("null accepted", asking(TEXT), asking(NULLABLE), [], [f"{BODY}: may be null now"]),
    ("whole numbers only", asking({"type": "number"}), asking(NUMBER), [f"{BODY}: type was number, is integer"], []),
    (
        "further properties refused",
        asking(opened()),
        asking(closed()),
        [f"{BODY}: further properties are refused now"],
        [],
    ),
    ("format wanted", asking(TEXT), asking(TEXT | {"format": "uri"}), [f"{BODY}: format was none, is uri"], []),
    ("body needed not", asking(TEXT), asking(TEXT, required=False), [], [f"{BODY}: no longer required"]),
    ("new body", document(), asking(TEXT, required=False), [], [f"{BODY}: added"]),
    ("new body, needed", document(), asking(TEXT), [f"{BODY}: added"], []),
    (
        "another media type taken",
        document({"requestBody": {"content": {"text/csv": {}}}}),
        document({"requestBody": {"content": {"text/csv": {}, "text/html": {}}}}),
        [],
        [f"{BODY} > text/html: added"],
    ),
    ("body needed", asking(TEXT, required=False), asking(TEXT), [f"{BODY}: became required"], []),
    ("body gone", asking(TEXT), document(), [f"{BODY}: removed"], []),
]
LIMITS: list[Row] = [
    (
        f"{limit} from {before} to {after}",
        asking({} if before is None else {limit: before}),
        asking({} if after is None else {limit: after}),
        [f"{BODY}: {limit} was {before or 'none'}, is {after or 'none'}"] if breaking else [],
        [] if breaking else [f"{BODY}: {limit} was {before or 'none'}, is {after or 'none'}"],
    )
    for limit, before, after, breaking in [
        ("maxLength", 9, 8, True),
        ("maxLength", 8, 9, False),
        ("maxLength", None, 9, True),
        ("maxLength", 9, None, False),
        ("maximum", 9, 8, True),
        ("minimum", 1, 2, True),
        ("minimum", 2, 1, False),
        ("minLength", 1, 2, True),
        ("maxItems", 20, 10, True),
        ("maxProperties", 20, 10, True),
        ("pattern", "^a$", "^b$", True),
        ("pattern", None, "^b$", True),
        ("pattern", "^b$", None, False),
    ]
]
ANSWERS: list[Row] = [
    ("property gone", answering(opened(b=TEXT)), answering(opened()), [f"{ANSWER} > b: removed"], []),
    ("new property", answering(opened()), answering(opened(b=TEXT)), [], [f"{ANSWER} > b: added, optional"]),
    (
        "new property, always there",
        answering(opened()),
        answering(opened(("b",), b=TEXT)),
        [],
        [f"{ANSWER} > b: added, required"],
    ),
    (
        "property may be missing",
        answering(opened(("b",), b=TEXT)),
        answering(opened(b=TEXT)),
        [f"{ANSWER} > b: no longer required"],
        [],
    ),
    (
        "said to be closed",
        answering(opened()),
        answering(closed()),
        [],
        [f"{ANSWER}: further properties are refused now"],
    ),
    ("may be null", answering(TEXT), answering(NULLABLE), [f"{ANSWER}: may be null now"], []),
    ("is never null", answering(NULLABLE), answering(TEXT), [], [f"{ANSWER}: may no longer be null"]),
    ("value added", answering(COLOURS), answering(MORE_COLOURS), [f"{ANSWER}: enum value 'blue' added"], []),
    ("value added, as was told", answering(OPEN), answering(MORE_OPEN), [], [f"{ANSWER}: enum value 'blue' added"]),
    ("value added, told late", answering(COLOURS), answering(MORE_OPEN), [f"{ANSWER}: enum value 'blue' added"], []),
    ("value gone", answering(MORE_COLOURS), answering(COLOURS), [], [f"{ANSWER}: enum value 'blue' removed"]),
    ("fraction", answering(NUMBER), answering({"type": "number"}), [f"{ANSWER}: type was integer, is number"], []),
    ("success gone", answers_with(s200={}, s202={}), answers_with(s200={}), [f"{POST} > 202: removed"], []),
    ("new success", answers_with(s200={}), answers_with(s200={}, s202={}), [f"{POST} > 202: added"], []),
    ("new error", answers_with(s200={}), answers_with(s200={}, s409={}), [], [f"{POST} > 409: added"]),
    ("error gone", answers_with(s200={}, s409={}), answers_with(s200={}), [], [f"{POST} > 409: removed"]),
    (
        "header gone",
        answers_with(s200={"headers": {"Location": {"schema": TEXT}}}),
        answers_with(s200={}),
        [f"{ANSWER} > header location: removed"],
        [],
    ),
    (
        "other media type",
        answering(TEXT),
        answers_with(s200={"content": {"text/plain": {"schema": TEXT}}}),
        [f"{ANSWER} > application/json: removed", f"{ANSWER} > text/plain: added"],
        [],
    ),
]
WEBHOOKS: list[Row] = [
    ("webhook gone", sending(TEXT), document(paths={}), [f"{HOOK}: removed"], []),
    ("new webhook", document(paths={}), sending(TEXT), [], [f"{HOOK}: added"]),
    ("property gone", sending(opened(b=TEXT)), sending(opened()), [f"{SENT} > b: removed"], []),
    ("new property", sending(opened()), sending(opened(b=TEXT)), [], [f"{SENT} > b: added, optional"]),
    ("new, always there", sending(opened()), sending(opened(("b",), b=TEXT)), [], [f"{SENT} > b: added, required"]),
    (
        "property may be missing",
        sending(opened(("b",), b=TEXT)),
        sending(opened(b=TEXT)),
        [f"{SENT} > b: no longer required"],
        [],
    ),
    ("value added", sending(COLOURS), sending(MORE_COLOURS), [f"{SENT}: enum value 'blue' added"], []),
    ("value gone", sending(MORE_COLOURS), sending(COLOURS), [], [f"{SENT}: enum value 'blue' removed"]),
    ("longer texts", sending({"maxLength": 8}), sending({"maxLength": 9}), [f"{SENT}: maxLength was 8, is 9"], []),
    (
        "header no longer sent",
        sending(TEXT, parameters=[header("webhook-id")]),
        sending(TEXT),
        [f"{HOOK} > header parameter webhook-id: removed"],
        [],
    ),
    (
        "answer no longer taken",
        sending(TEXT, responses={"200": {}, "410": {}}),
        sending(TEXT, responses={"200": {}}),
        [f"{HOOK} > 410: removed"],
        [],
    ),
    (
        "another answer taken",
        sending(TEXT, responses={"200": {}}),
        sending(TEXT, responses={"200": {}, "204": {}}),
        [],
        [f"{HOOK} > 204: added"],
    ),
    (
        "new body",
        sending(TEXT, requestBody=None),
        sending(TEXT, requestBody=content(TEXT) | {"required": True}),
        [],
        [f"{SENT}: added"],
    ),
    (
        "body may be missing",
        sending(TEXT, requestBody=content(TEXT) | {"required": True}),
        sending(TEXT),
        [f"{SENT}: no longer required"],
        [],
    ),
    (
        "callback of an operation",
        document({"callbacks": {"done": {"{$request.body#/url}": {"post": {"requestBody": content(TEXT)}}}}}),
        document({"callbacks": {"done": {"{$request.body#/url}": {"post": {"requestBody": content(NULLABLE)}}}}}),
        [f"{POST} > callback done POST {{$request.body#/url}} > request body: may be null now"],
        [],
    ),
]
TABLE = [
    pytest.param(*row, id=f"{name}: {what}")
    for name, rows in {"route": ROUTES, "request": REQUESTS + LIMITS, "answer": ANSWERS, "webhook": WEBHOOKS}.items()
    for what, *row in rows
]


@pytest.mark.parametrize(("before", "after", "breaking", "harmless"), TABLE)
def test_a_change_is_seen_at_its_place_and_judged(
    before: Document, after: Document, breaking: list[str], harmless: list[str]
) -> None:
    found = changes(before, after)
    assert [f"{change.where}: {change.what}" for change in found if change.breaking] == breaking
    assert [f"{change.where}: {change.what}" for change in found if not change.breaking] == harmless
