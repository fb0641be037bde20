"""`openapi/service.yaml` keeps the rules of `rules.py`, and each rule sees what offends against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest

from tests.openapi import rules
from tests.openapi.committed import service
from tests.openapi.rules import RULES

Document = dict[str, Any]
Rule = Callable[[Document], Iterator[str]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.__name__))
def test_our_document_keeps_the_rule(rule: Rule) -> None:
    assert list(rule(service())) == []


# --- each rule, tried on a document that offends against it -----------------------------------------------------------


def problem() -> Any:
    return {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def tidy() -> Document:
    """A small document that keeps every rule."""
    return {
        "tags": [{"name": "Things"}],
        "security": [{"Bearer": []}],
        "paths": {
            "/v1/old-things/{thing_id}": {
                "put": {
                    "operationId": "put_thing",
                    "summary": "Put a thing",
                    "tags": ["Things"],
                    "parameters": [
                        {"name": "thing_id", "in": "path", "required": True, "schema": {"type": "string"}},
                        {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}},
                    ],
                    "requestBody": {
                        "content": {
                            "application/json": {
                                "schema": {"$ref": "#/components/schemas/Thing"},
                                "examples": {"red": {"value": {"colour": "red"}}},
                            }
                        }
                    },
                    "responses": {
                        "200": {"content": {"application/json": {"schema": {"type": "string"}}}},
                        **{status: problem() for status in ("401", "404", "413", "415", "422")},
                    },
                }
            },
            "/.well-known/things": {
                "get": {
                    "operationId": "list_things",
                    "summary": "List things",
                    "tags": ["Things"],
                    "responses": {"200": {"description": "All."}},
                }
            },
        },
        "components": {
            "schemas": {
                "Thing": {
                    "type": "object",
                    "properties": {
                        "colour": {"type": "string", "description": "Its colour.", "examples": ["red"]},
                        "part": {
                            "anyOf": [{"$ref": "#/components/schemas/Thing"}, {"type": "null"}],
                            "description": "-",
                        },
                        "kind": {"$ref": "#/components/schemas/Kind"},
                    },
                },
                "Kind": {"type": "string", "enum": ["a"], "description": "What it is."},
                "Problem": {"type": "object"},
            }
        },
    }


def put(document: Document) -> Any:
    return document["paths"]["/v1/old-things/{thing_id}"]["put"]


def thing(document: Document) -> Any:
    return document["components"]["schemas"]["Thing"]["properties"]


def moved(document: Document, path: str) -> None:
    document["paths"][path] = document["paths"].pop("/v1/old-things/{thing_id}")


OFFENCES: list[tuple[Rule, Callable[[Document], Any], str]] = [
    (rules.operation_ids_are_unique_names, lambda d: put(d).pop("operationId"), "PUT"),
    (rules.operation_ids_are_unique_names, lambda d: put(d).update(operationId="list_things"), "list_things"),
    (rules.operation_ids_are_unique_names, lambda d: put(d).update(operationId="put_thing_v1__id_"), "__id_"),
    (rules.operation_ids_are_unique_names, lambda d: put(d).update(operationId="thing_v1_things_put"), "_put"),
    (rules.summaries_are_short_titles, lambda d: put(d).update(summary="Put a thing."), "a thing."),
    (rules.summaries_are_short_titles, lambda d: put(d).update(summary="x" * 61), "xxx"),
    (rules.summaries_are_short_titles, lambda d: put(d).pop("summary"), "PUT"),
    (rules.operations_are_tagged, lambda d: put(d).update(tags=[]), "PUT"),
    (rules.operations_are_tagged, lambda d: put(d).update(tags=["Others"]), "Others"),
    (rules.operations_are_tagged, lambda d: d["tags"].append({"name": "Others"}), "Others: unused"),
    *(
        (rules.refusals_are_documented, lambda d, status=status: put(d)["responses"].pop(status), status)
        for status in ("401", "404", "413", "415", "422")
    ),
    (rules.refusals_are_documented, lambda d: put(d)["responses"].update({"401": {"description": "No."}}), "401"),
    (rules.refusals_are_documented, lambda d: put(d).update(security=[]), "needs no key"),
    (
        rules.json_answers_have_a_schema,
        lambda d: put(d)["responses"]["200"]["content"]["application/json"].update(schema={}),
        "PUT /v1/old-things/{thing_id}: 200",
    ),
    (rules.what_may_be_sent_is_explained, lambda d: thing(d)["colour"].pop("description"), "/colour"),
    (rules.what_may_be_sent_is_explained, lambda d: d["components"]["schemas"]["Kind"].pop("description"), "/kind"),
    (
        rules.what_may_be_sent_is_explained,
        lambda d: thing(d).update(list={"description": "-", "items": {"properties": {"in": {}}}}),
        "/list/in",
    ),
    (rules.references_resolve, lambda d: d["components"]["schemas"].pop("Problem"), "#/components/schemas/Problem"),
    (rules.components_are_used, lambda d: d["components"]["schemas"].update(Lost={}), "schemas/Lost"),
    (
        rules.components_are_used,
        lambda d: d["components"]["schemas"].update(Loop={"items": {"$ref": "#/components/schemas/Loop"}}),
        "schemas/Loop",
    ),
    (rules.examples_fit_their_schemas, lambda d: thing(d)["colour"].update(examples=[3]), "3 is not of type"),
    (
        rules.examples_fit_their_schemas,
        lambda d: put(d)["requestBody"]["content"]["application/json"]["examples"]["red"].update(value=[]),
        "[] is not of type",
    ),
    (rules.path_parameters_are_declared, lambda d: put(d)["parameters"].pop(0), "PUT"),
    (rules.path_parameters_are_declared, lambda d: put(d)["parameters"][0].update(required=False), "PUT"),
    (rules.path_parameters_are_declared, lambda d: moved(d, "/v1/things"), "thing_id"),
    (rules.names_are_written_alike, lambda d: moved(d, "/v1/old_things/{thing_id}"), "old_things"),
    (rules.names_are_written_alike, lambda d: moved(d, "/v1/things/{thingId}"), "{thingId}"),
    (rules.names_are_written_alike, lambda d: put(d)["parameters"][1].update(name="Idempotency_Key"), "_Key"),
    (rules.names_are_written_alike, lambda d: thing(d).update(madeAt={"type": "string"}), "madeAt"),
]


def test_a_tidy_document_offends_against_no_rule() -> None:
    assert {rule.__name__: found for rule in RULES if (found := list(rule(tidy())))} == {}


@pytest.mark.parametrize(("rule", "offend", "named"), OFFENCES)
def test_a_rule_sees_what_offends_against_it(rule: Rule, offend: Callable[[Document], Any], named: str) -> None:
    document = deepcopy(tidy())
    offend(document)
    assert [violation for violation in rule(document) if named in violation]


def test_each_rule_is_tried_above() -> None:
    assert {rule for rule, _, _ in OFFENCES} == {*RULES}
