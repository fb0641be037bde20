"""Every route, asked by one tenant for another's things: nothing tells them from things that are not there.

The routes are the application's own. One that is new, or has a new parameter, fails here until it is told about.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import Engine
from sqlmodel import SQLModel

from service.app import create_app
from service.storage.database import UnitOfWork
from tests.support.endpoints import PATH, another_training, subscribed
from tests.support.gateway import OTHER_KEY, Gateway, headers_of
from tests.support.statements import hearing
from tests.support.streams import following, on_a_socket
from tests.support.tenants import MARK, Operation, Things, Two, operations, two_tenants

# What a parameter names: one of each of these is made for both tenants.
KINDS = {
    "training_id": "trn",
    "endpoint_id": "whe",
    "event_id": "evt",
    "delivery_id": "dlv",
    "recovery_id": "rec",
    "model_id": "model",
}
# Parameters that name nothing of anybody's, and cursors, which have a test of their own.
OTHERS = {"limit", "status", "since", "until", "type", "prefer", "idempotency-key"}
CURSORS = {"cursor", "after", "last-event-id"}
BODIES: Mapping[tuple[str, str], dict[str, Any]] = {
    ("patch", "/v1/webhook-endpoints/{endpoint_id}"): {"description": "mine now", "status": "paused"},
    ("post", "/v1/webhook-endpoints/{endpoint_id}/rotate-secret"): {"overlap_hours": 0},
    ("post", "/v1/webhook-endpoints/{endpoint_id}/recover"): {"since": "2026-11-20T00:00:00Z"},
}
STREAM = "/v1/events/stream"
# PhotoGPT's own ids, which PhotoGPT tells apart by the key that is passed on with them.
PASSED_ON = "/api/{path:path}"


@pytest.fixture
async def two(gateway: Gateway) -> Two:
    return await two_tenants(gateway)


def absent(known_id: str) -> str:
    """A made-up id of the same kind."""
    prefix, _, rest = known_id.partition("_")
    return f"{prefix}_01kb2000000000000000000000" if rest else "model-of-nobody"


_SAVEPOINT = re.compile(r"sa_savepoint_\d+")  # numbered on


@contextmanager
def statements() -> Iterator[list[str]]:
    """The SQL that is executed meanwhile, without its values."""
    executed: list[str] = []

    with hearing(Engine, lambda statement, _: executed.append(_SAVEPOINT.sub("", statement))):
        yield executed


async def everything(gateway: Gateway) -> dict[str, list[Any]]:
    """All rows of all tables."""

    def read(unit: UnitOfWork) -> dict[str, list[Any]]:
        connection = unit.session.connection()
        return {
            table.name: sorted(map(repr, connection.execute(table.select()).all()))
            for table in SQLModel.metadata.sorted_tables
        }

    return await gateway.components.database.read(read)


@dataclass(frozen=True)
class Answered:
    """What an answer tells, but for the ids that were asked for."""

    status: int
    headers: list[tuple[str, str]]
    body: str
    statements: list[str]


async def answered(two: Two, things: Things, operation: Operation, ids: Mapping[str, str], **request: Any) -> Answered:
    """Asked by one tenant for these ids, in the path and in the query."""
    path = operation.path.format(**ids)
    params = {name: ids[name] for name in operation.names["query"] if name in ids}
    with statements() as executed:
        answer = await two.ask(things, operation.method, path, params=params, **request)
    body, headers = answer.text, str(headers_of(answer))
    for name, value in ids.items():
        body, headers = body.replace(value, f"<{name}>"), headers.replace(value, f"<{name}>")
    return Answered(answer.status_code, [("all", headers)], body, executed)


def body_of(operation: Operation) -> dict[str, Any]:
    return {"json": BODIES[operation.method, operation.path]} if operation.has_body else {}


def test_every_route_and_parameter_is_known_here() -> None:
    described = {(operation.method, operation.path) for operation in operations()}
    for route in iter_route_contexts(create_app().routes):
        if "{" in str(route.path) and str(route.path) != PASSED_ON:
            for method in route.methods or ():
                assert (method.lower(), str(route.path)) in described, f"{method} {route.path} is not described"
    for operation in operations():
        assert set(operation.names["path"]) <= set(KINDS), f"{operation}: tell KINDS what its path names"
        for name in (*operation.names["query"], *operation.names["header"]):
            assert name in KINDS or name in OTHERS | CURSORS, f"{operation}: tell KINDS or OTHERS of {name}"
        if operation.has_body and operation.names["path"]:
            assert (operation.method, operation.path) in BODIES, f"{operation}: tell BODIES what to send"


async def test_anothers_id_in_a_path_is_an_id_that_is_not_there(two: Two) -> None:
    before, asked = await everything(two.gateway), 0
    unknown = Things("pgpt-unknown")
    for operation in operations():
        names = operation.names["path"]
        # One's own beside another's, too.
        for whose in itertools.product((two.first, two.second), repeat=len(names)):
            if two.first not in whose:
                continue
            pairs = [(name, things.ids[KINDS[name]]) for name, things in zip(names, whose, strict=True)]
            anothers = dict(pairs)
            nobodys = {
                name: absent(value) if things is two.first else value
                for (name, value), things in zip(pairs, whose, strict=True)
            }
            for caller in (two.second, unknown):
                told = await answered(two, caller, operation, anothers, **body_of(operation))
                expected = await answered(two, caller, operation, nobodys, **body_of(operation))
                assert told == expected, f"{operation} with {anothers}"
                assert told.status == 404, f"{operation} with {anothers}"
                asked += 1
    assert asked >= 28
    assert await everything(two.gateway) == before
    assert len(await two.gateway.receiver.received()) == 4


@pytest.mark.parametrize("headers", [{"prefer": "wait=60"}, {"if-none-match": "*"}, {"idempotency-key": "one"}])
async def test_no_header_of_the_request_changes_that(two: Two, headers: dict[str, str]) -> None:
    for operation in operations():
        names = operation.names["path"]
        if not names:
            continue
        anothers = {name: two.first.ids[KINDS[name]] for name in names}
        nobodys = {name: absent(value) for name, value in anothers.items()}
        request = {"headers": headers, **body_of(operation)}
        told = await answered(two, two.second, operation, anothers, **request)
        assert told == await answered(two, two.second, operation, nobodys, **request), str(operation)
        assert told.status == 404


async def test_a_filter_by_anothers_id_is_a_filter_by_an_id_that_is_not_there(two: Two) -> None:
    filters = [(operation, name) for operation in operations() for name in operation.names["query"] if name in KINDS]
    assert len(filters) == 3
    for operation, name in filters:
        anothers = two.first.ids[KINDS[name]]
        mine = two.second.ids[KINDS[name]]
        told = await answered(two, two.second, operation, {name: anothers})
        assert told == await answered(two, two.second, operation, {name: absent(anothers)}), f"{operation} by {name}"
        assert (told.status, told.body) == (200, '{"data":[],"next_cursor":null}')
        assert (await answered(two, two.second, operation, {name: mine})).body != told.body, "the filter finds nothing"


def lists() -> list[Operation]:
    return [
        operation
        for operation in operations()
        if operation.method == "get" and not operation.names["path"] and operation.path not in {STREAM, "/livez"}
    ]


async def test_what_is_listed_is_ones_own_and_nothing_else(two: Two) -> None:
    shown = ""
    for operation in lists():
        mine = (await two.ask(two.first, "GET", operation.path)).text
        theirs = (await two.ask(two.second, "GET", operation.path)).text
        assert not [found for found in two.first.all_ids if found in theirs], str(operation)
        assert not [found for found in two.second.all_ids if found in mine], str(operation)
        shown += mine
    left = {found for found in two.first.all_ids if found not in shown}
    assert left == {two.first.ids["rec"]}, "what is listed nowhere is not looked for by this test"


async def test_a_cursor_of_anothers_leads_to_nothing_of_theirs(two: Two) -> None:
    for number in range(3):
        two.gateway.http.headers.update(two.first.headers)
        await another_training(two.gateway, f"{MARK}-{number}")
        await subscribed(two.gateway, f"{MARK}-{number}")
        two.gateway.advance(1)
    tried = 0
    for operation in lists():
        for name in CURSORS & set(operation.names["query"]):
            cursor = (await two.ask(two.first, "GET", operation.path, params={"limit": 1})).json()["next_cursor"]
            mine = await two.ask(two.first, "GET", operation.path, params={name: cursor})
            assert MARK in mine.text, "the cursor leads nowhere"
            theirs = await two.ask(two.second, "GET", operation.path, params={name: cursor})
            assert theirs.status_code == 200
            assert not [found for found in two.first.all_ids if found in theirs.text], str(operation)
            tried += 1
    assert tried == 4


async def test_a_stream_tells_of_ones_own_events_alone_wherever_it_begins(two: Two) -> None:
    gateway = two.gateway
    cursor = (await two.ask(two.first, "GET", "/v1/events", params={"limit": 1})).json()["next_cursor"]
    async with on_a_socket(gateway) as url:
        for given in ({}, {"after": cursor}):
            async with following(url, key=OTHER_KEY, **given) as stream:
                for things, model in ((two.first, f"{MARK}-{len(given)}"), (two.second, f"second-{len(given)}")):
                    await gateway.upstream.put_model(model, key=things.key)
                    await two.ask(things, "POST", "/v1/trainings", json={"model_id": model})
                told = {"data": ""}
                while f"second-{len(given)}" not in told["data"]:
                    told = await stream.next()
                    assert (told["event"], MARK in told["data"]) == ("training.started", False)


async def test_an_idempotency_key_is_its_tenants_own(two: Two) -> None:
    creating = [operation for operation in operations() if "idempotency-key" in operation.names["header"]]
    assert [operation.path for operation in creating] == ["/v1/trainings", PATH, f"{PATH}/{{endpoint_id}}/recover"]
    made_ids = []
    for number, things in enumerate((two.first, two.second)):
        model = f"once-{number}"
        await two.gateway.upstream.put_model(model, key=things.key)
        for path, body in (
            ("/v1/trainings", {"model_id": model}),
            (PATH, {"url": two.gateway.receiver.hook()}),
            (f"{PATH}/{things.ids['whe']}/recover", {"since": "2026-11-20T00:00:00Z"}),
        ):
            # One key of each tenant for each route.
            key = {"idempotency-key": f"the same {path[-7:]}"}
            answer = await two.ask(things, "POST", path, json=body, headers=key)
            assert answer.status_code in {201, 202}, answer.text
            made_ids.append(answer.json()["id"])
    assert len(set(made_ids)) == 6


async def test_signing_secrets_and_accounts_are_apart(two: Two) -> None:
    for path in ("/v1/signing-secret", "/v1/account"):
        [mine, theirs] = [(await two.ask(things, "GET", path)).json() for things in (two.first, two.second)]
        assert (mine == theirs) is (path == "/v1/account"), "each has one of everything"
    rotated = await two.ask(two.second, "POST", "/v1/signing-secret/rotate", json={"overlap_hours": 0})
    assert (await two.ask(two.first, "GET", "/v1/signing-secret")).json()["secret"] not in rotated.text


async def test_a_key_by_itself_opens_nothing_of_a_model_of_the_same_name(two: Two) -> None:
    """Whoever knows the model's id of another gets PhotoGPT's word on it, and no training."""
    answer = await two.ask(two.second, "POST", "/v1/trainings", json={"model_id": two.first.ids["model"]})
    assert (answer.status_code, answer.json()["code"]) == (404, "upstream_refused")
    assert not [found for found in two.first.all_ids - {two.first.ids["model"], MARK} if found in answer.text]
