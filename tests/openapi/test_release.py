"""Within a major version nothing breaks: `openapi/service.yaml` against `openapi/released.yaml`, the last release's.

Whether the rule bites is tried on copies of our document that are broken, or extended, on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.openapi.changes import changes
from tests.openapi.committed import RELEASED, read, service
from tests.openapi.fragments import query
from tests.openapi.schemas import Change

Document = dict[str, Any]
Edit = Callable[[Document], None]


def broken(released: Document, now: Document) -> list[Change]:
    """The changes that callers of this release would notice, unless a new major version has warned them."""
    if _major(now) > _major(released):
        return []
    return [change for change in changes(released, now) if change.breaking]


def test_nothing_breaks_those_who_rely_on_the_last_release() -> None:
    if not RELEASED.exists():
        pytest.skip("openapi/released.yaml does not exist: nothing has been released yet that could be broken")
    assert broken(read(RELEASED), service()) == []


# --- the rule, tried on copies ----------------------------------------------------------------------------------------


def test_the_document_does_not_break_itself() -> None:
    assert changes(service(), deepcopy(service())) == []


def operation(document: Document, name: str = "POST /v1/trainings") -> Any:
    method, path = name.split()
    return document["paths"][path][method.lower()]


def schema(document: Document, name: str) -> Any:
    return document["components"]["schemas"][name]


def delete_property(name: str, member: str) -> Edit:
    def edit(document: Document) -> None:
        found = schema(document, name)
        del found["properties"][member]
        if member in found.get("required", ()):
            found["required"].remove(member)

    return edit


def add_property(name: str, member: str, content: Any, *, required: bool = False) -> Edit:
    def edit(document: Document) -> None:
        found = schema(document, name)
        found["properties"][member] = content
        if required:
            found.setdefault("required", []).append(member)

    return edit


def change_property(name: str, member: str, content: Any) -> Edit:
    return lambda document: schema(document, name)["properties"].update({member: content})


TEXT = {"type": "string"}
# What is done to the copy, and the beginning of one of the places where that must be seen; WEBHOOK is our first one.
BREAKING: list[tuple[str, Edit, str]] = [
    (
        "a property of a training is gone",
        delete_property("TrainingOut", "finished_at"),
        "GET /v1/trainings/{training_id} > 200 > finished_at",
    ),
    (
        "... so it is gone from the webhook",
        delete_property("TrainingOut", "finished_at"),
        "WEBHOOK > request body > data > finished_at",
    ),
    (
        "a member of a webhook is gone",
        delete_property("EventOut", "timestamp"),
        "WEBHOOK > request body > timestamp",
    ),
    (
        "an id may be null",
        change_property("TrainingOut", "id", {"anyOf": [TEXT, {"type": "null"}]}),
        "GET /v1/trainings > 200 > data > [] > id",
    ),
    (
        "a time is a number",
        change_property("TrainingOut", "created_at", {"type": "integer"}),
        "GET /v1/trainings > 200 > data > [] > created_at",
    ),
    (
        "metadata has to be sent",
        lambda document: schema(document, "TrainRequestIn")["required"].append("metadata"),
        "POST /v1/trainings > request body > metadata",
    ),
    (
        "something new has to be sent",
        add_property("TrainRequestIn", "reason", TEXT, required=True),
        "POST /v1/trainings > request body > reason",
    ),
    (
        "something may no longer be sent",
        delete_property("TrainRequestIn", "callback_url"),
        "POST /v1/trainings > request body > callback_url",
    ),
    (
        "fewer metadata are taken",
        lambda document: schema(document, "TrainRequestIn")["properties"]["metadata"].update(maxProperties=1),
        "POST /v1/trainings > request body > metadata",
    ),
    (
        "a callback's secret has to be sent",
        lambda document: schema(document, "CallbackIn").update(required=["url", "secret"]),
        "POST /v1/trainings > request body > callback > secret",
    ),
    (
        "a route is gone",
        lambda document: document["paths"].pop("/v1/trainings/{training_id}"),
        "GET /v1/trainings/{training_id}",
    ),
    (
        "a method is gone",
        lambda document: document["paths"]["/v1/trainings/{training_id}"].pop("delete"),
        "DELETE /v1/trainings/{training_id}",
    ),
    (
        "a filter is gone",
        lambda document: _drop_parameter(operation(document, "GET /v1/trainings"), "status"),
        "GET /v1/trainings > query parameter status",
    ),
    (
        "pages are smaller",
        lambda document: _parameter(operation(document, "GET /v1/trainings"), "limit")["schema"].update(maximum=10),
        "GET /v1/trainings > query parameter limit",
    ),
    (
        "an answer is gone",
        lambda document: operation(document)["responses"].pop("202"),
        "POST /v1/trainings > 202",
    ),
    (
        "a code is no longer told",
        delete_property("Problem", "code"),
        "POST /v1/trainings > 422 > code",
    ),
    (
        "the webhook is gone",
        lambda document: document["webhooks"].pop(next(iter(service()["webhooks"]))),
        "WEBHOOK",
    ),
    (
        "a key of another kind",
        lambda document: next(iter(document["components"]["securitySchemes"].values())).update(type="openIdConnect"),
        "security scheme ",
    ),
]
HARMLESS: list[tuple[str, Edit]] = [
    ("a training says more", add_property("TrainingOut", "colour", TEXT)),
    ("a training always says more", add_property("TrainingOut", "colour", TEXT, required=True)),
    ("a webhook always says more", add_property("EventOut", "colour", TEXT, required=True)),
    ("something new may be sent", add_property("TrainRequestIn", "colour", TEXT)),
    (
        "more metadata are taken",
        lambda document: schema(document, "TrainRequestIn")["properties"]["metadata"].pop("maxProperties"),
    ),
    ("a model need not be named", lambda document: schema(document, "TrainRequestIn").update(required=[])),
    ("a time is always there", change_property("TrainingOut", "triggered_at", TEXT | {"format": "date-time"})),
    ("a new filter", lambda document: operation(document, "GET /v1/trainings")["parameters"].append(query("colour"))),
    ("a new route", lambda document: document["paths"].update({"/v1/colours": document["paths"]["/v1/trainings"]})),
    ("a new webhook", lambda document: document["webhooks"].update(new={"post": {}})),
    ("a new error", lambda document: operation(document)["responses"].update({"418": {"description": "Tea."}})),
    ("a key is no longer asked for", lambda document: operation(document).update(security=[])),
    ("other words", lambda document: schema(document, "TrainingOut").update(description="A training.")),
]


@pytest.mark.parametrize(("edit", "place"), [pytest.param(*row, id=what) for what, *row in BREAKING])
def test_what_breaks_callers_is_reported(edit: Edit, place: str) -> None:
    place = place.replace("WEBHOOK", f"webhook {next(iter(service()['webhooks']))} POST")
    places = [change.where for change in broken(service(), edited(edit))]
    assert [where for where in places if where.startswith(place)], places


@pytest.mark.parametrize("edit", [pytest.param(edit, id=what) for what, edit in HARMLESS])
def test_what_breaks_nobody_is_let_through(edit: Edit) -> None:
    assert edited(edit) != service()
    assert broken(service(), edited(edit)) == []


def test_a_new_major_version_may_break_and_a_new_minor_one_may_not() -> None:
    released, now = deepcopy(service()), edited(BREAKING[0][1])
    found = {}
    for version in ("1", "1.9", "2", "2.0.1", "10"):
        released["info"]["version"], now["info"]["version"] = "1.4.0", version
        found[version] = bool(broken(released, now))
    assert found == {"1": True, "1.9": True, "2": False, "2.0.1": False, "10": False}


def edited(edit: Edit) -> Document:
    copy = deepcopy(service())
    edit(copy)
    return copy


def _major(document: Document) -> int:
    return int(str(document["info"]["version"]).partition(".")[0])


def _parameter(operation: Any, name: str) -> Any:
    [found] = [parameter for parameter in operation["parameters"] if parameter["name"] == name]
    return found


def _drop_parameter(operation: Any, name: str) -> None:
    operation["parameters"].remove(_parameter(operation, name))
