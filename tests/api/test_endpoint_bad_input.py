"""Wrong input to the routes of webhook endpoints: refused with the place of what is wrong, and nothing is stored.

One gateway serves the whole table, with one endpoint in it: nothing that is refused may leave a trace.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import SQLModel

from service.storage.tables import Delivery, Event, IdempotencyKey, Recovery, Tenant, Training, WebhookEndpoint
from tests.api.test_fuzz import anything, header_names, text, url
from tests.support.endpoints import PATH, endpoint_now, subscribed
from tests.support.gateway import MODEL, SECRET, Gateway, Simulators, new_world

TABLES: tuple[type[SQLModel], ...] = (Tenant, Training, Event, Delivery, IdempotencyKey, Recovery, WebhookEndpoint)
HOOK = "https://example.com/hook"
INVALID = "invalid_request"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def untouched(simulators: Simulators, template: Path) -> AsyncIterator[Gateway]:
    async with new_world(simulators, template) as world:
        await world.upstream.put_model()
        async with world.gateway() as gateway:
            await subscribed(gateway, headers={"x-a": "1"}, metadata={"a": 1}, description="mine")
            yield gateway


@dataclass(frozen=True)
class Bad:
    """One field that is wrong, and how it is refused: in which bodies it may be is `of`."""

    pointer: str
    fields: dict[str, Any]
    code: str = INVALID
    of: tuple[str, ...] = ("create", "change")


def key_of(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(size)).decode()


def bad_url(value: str) -> Bad:
    return Bad("/url", {"url": value}, "invalid_callback_url", ("create", "change", "test"))


def bad_secret(value: str) -> Bad:
    return Bad("/secret", {"secret": value}, "invalid_secret", ("create", "rotate", "test"))


def bad_header(name: str, value: str = "x", *, pointer: str | None = None) -> Bad:
    where = f"/headers/{name}" if pointer is None else pointer
    return Bad(where, {"headers": {name: value}}, "invalid_header", ("create", "change", "test", "callback"))


def bad_headers(value: Any, pointer: str = "/headers", code: str = INVALID) -> Bad:
    return Bad(pointer, {"headers": value}, code, ("create", "change", "test", "callback"))


def bad_schedule(*steps: float) -> Bad:
    return Bad("/retry_schedule", {"retry_schedule": list(steps)}, "invalid_schedule")


def typed(pointer: str, name: str, value: Any, *of: str) -> Bad:
    return Bad(pointer, {name: value}, of=of or ("create", "change"))


TABLE = {
    # what is no field, and what has another type
    "an unknown field": Bad("/urls", {"urls": "x"}, of=("create", "change", "rotate", "recover", "test")),
    "a status at the beginning": Bad("/status", {"status": "paused"}, of=("create",)),
    "a secret in a change": Bad("/secret", {"secret": SECRET}, of=("change",)),
    "an id": typed("/id", "id", "whe_1"),
    "URL missing": Bad("/url", {"url": ...}, of=("create", "test")),
    "URL null": typed("/url", "url", None, "create", "change", "test"),
    "URL a number": typed("/url", "url", 1, "create", "change", "test"),
    "events null": typed("/events", "events", None),
    "events a text": typed("/events", "events", "training.ready"),
    "events of a number": typed("/events/1", "events", ["training.ready", 1]),
    "21 events": typed("/events", "events", ["training.ready"] * 21),
    "description null": typed("/description", "description", None),
    "description of 501": typed("/description", "description", "x" * 501),
    "metadata null": typed("/metadata", "metadata", None),
    "metadata a list": typed("/metadata", "metadata", []),
    "metadata of a list": typed("/metadata/a", "metadata", {"a": []}),
    "metadata of 51": typed("/metadata", "metadata", {str(number): 1 for number in range(51)}),
    "metadata with a long name": typed("/metadata/" + "x" * 41, "metadata", {"x" * 41: 1}),
    "metadata with an empty name": typed("/metadata/", "metadata", {"": 1}),
    "metadata of a long text": typed("/metadata/a", "metadata", {"a": "x" * 501}),
    "secret a number": typed("/secret", "secret", 1, "create", "rotate", "test"),
    "schedule a number": typed("/retry_schedule", "retry_schedule", 5),
    "schedule of texts": typed("/retry_schedule/0", "retry_schedule", ["5"]),
    "schedule of booleans": typed("/retry_schedule/0", "retry_schedule", [True]),
    "schedule empty": typed("/retry_schedule", "retry_schedule", []),
    "schedule of 21": typed("/retry_schedule", "retry_schedule", [0] * 21),
    "status unknown": typed("/status", "status", "on", "change"),
    "status null": typed("/status", "status", None, "change"),
    "status disabled": typed("/status", "status", "disabled", "change"),
    "overlap a text": typed("/overlap_hours", "overlap_hours", "24", "rotate", "rotate tenant's"),
    "overlap a boolean": typed("/overlap_hours", "overlap_hours", True, "rotate", "rotate tenant's"),
    "a secret for the tenant": typed("/secret", "secret", SECRET, "rotate tenant's"),
    "since missing": Bad("/since", {"since": ...}, of=("recover",)),
    "since null": typed("/since", "since", None, "recover"),
    "since a number": typed("/since", "since", 1_700_000_000, "recover"),
    "since without a zone": typed("/since", "since", "2026-11-22T12:00:00", "recover"),
    "since a number in a text": typed("/since", "since", "1700000000", "recover"),
    "until a number": typed("/until", "until", 1_700_000_000, "recover"),
    "since a date": typed("/since", "since", "2026-11-22", "recover"),
    "since a word": typed("/since", "since", "yesterday", "recover"),
    "until a word": typed("/until", "until", "now", "recover"),
    "until without a zone": typed("/until", "until", "2026-11-22T12:00:00", "recover"),
    "dry_run a text": typed("/dry_run", "dry_run", "true", "recover"),
    "dry_run a number": typed("/dry_run", "dry_run", 1, "recover"),
    # what has the right type
    "an unknown event": Bad("/events", {"events": ["training.ready", "training.done"]}, "unknown_event"),
    "an event in another case": Bad("/events", {"events": ["Training.Ready"]}, "unknown_event"),
    "all events": Bad("/events", {"events": ["*"]}, "unknown_event"),
    "a test event": Bad("/events", {"events": ["webhook.test"]}, "unknown_event"),
    "an empty event": Bad("/events", {"events": [""]}, "unknown_event"),
    "an endpoint's event for a callback": Bad(
        "/events", {"events": ["webhook_endpoint.disabled"]}, "unknown_event", ("callback",)
    ),
    "URL empty": bad_url(""),
    "URL plain http to the world": bad_url("http://example.com/"),
    "URL plain http to a private address": replace(bad_url("http://10.0.0.1/"), code="destination_not_allowed"),
    "URL ftp": bad_url("ftp://example.com/"),
    "URL with a password": bad_url("https://user:hush@example.com/"),
    "URL with a fragment": bad_url("https://example.com/#a"),
    "URL with a newline": bad_url("https://example.com/\r\nX-Injected: 1"),
    "URL with a short address": bad_url("https://127.1/"),
    "URL of 2,049 characters": bad_url("https://example.com/" + "a" * 2029),
    "secret empty": bad_secret(""),
    "secret without its prefix": bad_secret(SECRET.removeprefix("whsec_")),
    "secret with a prefix in capitals": bad_secret(SECRET.replace("whsec", "WHSEC")),
    "secret with another prefix": bad_secret(SECRET.replace("whsec", "whpk")),
    "secret of no base64": bad_secret("whsec_" + "!" * 44),
    "secret of base64 for URLs": bad_secret("whsec_" + "-_" * 22),
    "secret without its padding": bad_secret(key_of(32).rstrip("=")),
    "secret with a blank": bad_secret(key_of(32) + " "),
    "secret of 23 bytes": bad_secret(key_of(23)),
    "secret of 65 bytes": bad_secret(key_of(65)),
    "headers null": bad_headers(None),
    "headers a list": bad_headers([["x-a", "1"]]),
    "headers of a number": bad_headers({"x-a": 1}, "/headers/x-a"),
    "headers of null": bad_headers({"x-a": None}, "/headers/x-a"),
    "21 headers": bad_headers({f"x-{number}": "1" for number in range(21)}),
    "4,097 characters of headers": bad_headers({"x-a": "x" * 4094}, code="invalid_header"),
    "a header twice": bad_headers({"x-a": "1", "X-A": "2"}, "/headers/X-A", "invalid_header"),
    "a header without a name": bad_header("", pointer="/headers"),
    "a header's name with a blank": bad_header("x a", pointer="/headers"),
    "a header's name with a colon": bad_header("x-a:", pointer="/headers"),
    "a header's name with a newline": bad_header("x-a\r\nx-b", pointer="/headers"),
    "a header's name with an accent": bad_header("x-é", pointer="/headers"),
    "a header's name of 65": bad_header("x" * 65, pointer="/headers"),
    "a header's value with CR and LF": bad_header("x-a", "1\r\nx-b: 2"),
    "a header's value with LF": bad_header("x-a", "1\nx-b: 2"),
    "a header's value with LF behind": bad_header("x-a", "1\n"),
    "a header's value with CR": bad_header("x-a", "1\r"),
    "a header's value with a control character": bad_header("x-a", "1\x01"),
    "a header's value with DEL": bad_header("x-a", "1\x7f"),
    "a header's value with a blank in front": bad_header("x-a", " 1"),
    "a header's value with an accent": bad_header("x-a", "é"),
    "a header's empty value": bad_header("x-a", ""),
    **{
        f"the header {name}": bad_header(name)
        for name in (
            *("Host", "host", "HOST", "Content-Length", "content-type", "Content-Encoding", "Transfer-Encoding"),
            *("Connection", "KEEP-ALIVE", "Te", "trailer", "Upgrade", "Proxy-Authorization", "proxy-connection"),
            *("webhook-id", "Webhook-Timestamp", "WEBHOOK-SIGNATURE", "webhook-anything", "User-Agent", "Expect"),
            *("X-Forwarded-For", "Forwarded", "Via", "Date", "Cookie", "Accept-Encoding", "Sec-Fetch-Mode"),
        )
    },
    "a step below 0": bad_schedule(0, -1),
    "a step above a day": bad_schedule(86_401),
    "a schedule above 5 days": bad_schedule(*[86_400] * 5, 1),
    "overlap below 0": Bad("/overlap_hours", {"overlap_hours": -0.1}, "invalid_overlap", ("rotate", "rotate tenant's")),
    "overlap above 7 days": Bad(
        "/overlap_hours", {"overlap_hours": 168.01}, "invalid_overlap", ("rotate", "rotate tenant's")
    ),
}
CASES = {f"{name}, {route}": (bad, route) for name, bad in TABLE.items() for route in bad.of}


def request_of(bad: Bad, route: str, endpoint_id: str) -> tuple[str, str, dict[str, Any]]:
    """Method, path and body: right but for what is bad."""
    method, path, right = {
        "create": ("POST", PATH, {"url": HOOK}),
        "change": ("PATCH", f"{PATH}/{endpoint_id}", {}),
        "rotate": ("POST", f"{PATH}/{endpoint_id}/rotate-secret", {}),
        "rotate tenant's": ("POST", "/v1/signing-secret/rotate", {}),
        "recover": ("POST", f"{PATH}/{endpoint_id}/recover", {"since": "2026-01-01T00:00:00Z"}),
        "test": ("POST", f"{PATH}/test", {"url": HOOK}),
        "callback": ("POST", "/v1/trainings", {"url": HOOK}),
    }[route]
    body = {name: value for name, value in {**right, **bad.fields}.items() if value is not ...}
    return method, path, {"model_id": MODEL, "callback": body} if route == "callback" else body


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("bad", "route"), CASES.values(), ids=CASES.keys())
async def test_bad_input_is_refused_and_named_and_leaves_no_trace(untouched: Gateway, bad: Bad, route: str) -> None:
    before = await traces(untouched)
    [endpoint] = (await untouched.http.get(PATH)).json()["data"]
    method, path, body = request_of(bad, route, endpoint["id"])
    answer = await untouched.http.request(method, path, json=body, headers={"idempotency-key": "key-1"})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, bad.code), answer.text
    pointer = f"/callback{bad.pointer}" if route == "callback" else bad.pointer
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert all(error["detail"] for error in problem["errors"])
    assert await traces(untouched) == before
    for value in (bad.fields.get("secret"), *(bad.fields.get("headers") or {"": ""})):
        assert not isinstance(value, str) or len(value) < 20 or value not in answer.text


async def traces(gateway: Gateway) -> tuple[Any, ...]:
    rows = [await gateway.rows(table) for table in TABLES]
    return (*rows, len(await gateway.upstream.calls()), len(await gateway.receiver.received()))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("route", ["create", "change", "rotate", "rotate tenant's", "recover", "test"])
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"url": ', "application/json", 400),
        (b'{"url": NaN}', "application/json", 400),
        (b"[]", "application/json", 422),
        (b"url=https://example.com/", "application/x-www-form-urlencoded", 415),
        (b'{"description": "' + b"x" * 65_536 + b'"}', "application/json", 413),
    ],
)
async def test_a_body_that_is_none_is_refused(
    untouched: Gateway, route: str, body: bytes, content_type: str, status: int
) -> None:
    before = await traces(untouched)
    [endpoint] = (await untouched.http.get(PATH)).json()["data"]
    method, path, _ = request_of(TABLE["URL empty"], route, endpoint["id"])
    answer = await untouched.http.request(method, path, content=body, headers={"content-type": content_type})
    assert answer.status_code == status, answer.text
    assert await traces(untouched) == before


# --- whatever is sent ---

endpoint_body = st.fixed_dictionaries(
    {},
    optional={
        "url": url | st.just(HOOK) | anything,
        "events": st.lists(st.sampled_from(["training.ready", "*"]) | text, max_size=3) | anything,
        "description": text | anything,
        "metadata": st.dictionaries(text, st.integers() | st.floats() | text, max_size=3) | anything,
        "headers": st.dictionaries(header_names | text, text, max_size=3) | anything,
        "secret": st.just(SECRET) | text | anything,
        "retry_schedule": st.lists(st.floats() | st.integers(), max_size=4) | anything,
        "status": st.sampled_from(["active", "paused", "disabled"]) | anything,
        "overlap_hours": st.floats() | st.integers() | anything,
        "since": st.datetimes(timezones=st.timezones() | st.none()).map(lambda at: at.isoformat()) | anything,
        "until": st.datetimes(timezones=st.timezones() | st.none()).map(lambda at: at.isoformat()) | anything,
        "dry_run": st.booleans() | anything,
        "surprise": anything,
    },
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=endpoint_body | anything, route=st.sampled_from(["create", "change", "rotate", "rotate tenant's", "recover"])
)
async def test_no_body_gives_a_5xx(gateway: Gateway, body: Any, route: str) -> None:
    made = (await gateway.http.get(PATH)).json()["data"] or [await subscribed(gateway)]
    method, path, right = request_of(TABLE["URL empty"], route, made[0]["id"])
    if isinstance(body, dict) and route in ("create", "recover"):
        body = {**{name: value for name, value in right.items() if name != "url"}, "url": HOOK, **body}
        body = {name: value for name, value in body.items() if route == "create" or name != "url"}
    headers = {"content-type": "application/json"}
    answer = await gateway.http.request(method, path, content=json.dumps(body), headers=headers)
    assert answer.status_code < 500, answer.text
    if answer.status_code == 201:
        endpoint = answer.json()
        shown = {name: endpoint[name] for name in endpoint if name != "secret"}
        assert await endpoint_now(gateway, endpoint) == shown
        await gateway.http.delete(f"{PATH}/{endpoint['id']}")
