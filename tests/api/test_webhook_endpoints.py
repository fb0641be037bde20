"""`/v1/webhook-endpoints`: subscribe, list, read, change, delete. What they are sent: tests/webhooks."""

from __future__ import annotations

import base64
import logging
import re
from typing import Any

import httpx
import pytest

from service.storage.tables import IdempotencyKey, Tenant, WebhookEndpoint
from tests.support.endpoints import ABSENT, PATH, THEIRS, changed, deleted, endpoint_now, rotated, subscribed
from tests.support.gateway import KEY, MODEL, OTHER_SECRET, SECRET, Gateway, World, drive, headers_of

DEFAULT_EVENTS = [
    "training.cancelled",
    "training.deleted",
    "training.expired",
    "training.failed",
    "training.ready",
    "training.rejected",
    "webhook_endpoint.disabled",
]
FIELDS: dict[str, Any] = {
    "url": "https://example.com/hook",
    "events": ["training.ready"],
    "description": "production",
    "metadata": {"team": "a"},
    "headers": {"authorization": "Bearer receiver-token"},
    "retry_schedule": [0, 10.5],
}
TOKEN = "Bearer receiver-token"
KEY_ONE = {"idempotency-key": "key-1"}


# --- create ---


async def test_an_endpoint_needs_no_more_than_a_url(gateway: Gateway) -> None:
    answer = await gateway.http.post(PATH, json={"url": "HTTPS://Example.COM:443?token=hush"})
    endpoint = answer.json()
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["location"] == f"{PATH}/{endpoint['id']}"
    assert re.fullmatch(r"whe_[0-9a-hjkmnp-tv-z]{26}", endpoint["id"])
    assert len(base64.b64decode(endpoint.pop("secret").removeprefix("whsec_"), validate=True)) == 32
    assert endpoint == {
        "id": endpoint["id"],
        "url": "https://example.com/?token=***",
        "events": DEFAULT_EVENTS,
        "description": "",
        "metadata": {},
        "headers": {},
        "retry_schedule": None,
        "status": "active",
        "disabled_reason": None,
        "failing_since": None,
        "last_problem": None,
        "previous_secret_until": None,
        "created_at": "2026-11-22T12:00:00.000Z",
        "updated_at": "2026-11-22T12:00:00.000Z",
        "urls": {"self": f"{PATH}/{endpoint['id']}", "deliveries": f"/v1/deliveries?endpoint_id={endpoint['id']}"},
    }
    assert (await gateway.http.get(answer.headers["location"])).json() == endpoint


async def test_all_that_is_given_is_kept_and_header_values_are_never_shown(gateway: Gateway) -> None:
    headers = {"Authorization": TOKEN, "X-Stage": "two"}
    answer = await gateway.http.post(PATH, json={**FIELDS, "headers": headers, "secret": SECRET})
    endpoint = answer.json()
    assert endpoint["secret"] == SECRET
    shown = {**FIELDS, "headers": {"authorization": "***", "x-stage": "***"}, "retry_schedule": [0.0, 10.5]}
    assert {name: endpoint[name] for name in shown} == shown
    assert TOKEN not in answer.text
    assert await endpoint_now(gateway, endpoint) == {name: endpoint[name] for name in endpoint if name != "secret"}


async def test_null_stands_for_a_secret_and_a_schedule_that_are_left_out(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, secret=None, retry_schedule=None)
    assert endpoint["secret"].startswith("whsec_")
    assert endpoint["retry_schedule"] is None


async def test_no_events_are_the_default_ones_and_each_is_kept_once(gateway: Gateway) -> None:
    assert (await subscribed(gateway, events=[]))["events"] == DEFAULT_EVENTS
    named = await subscribed(gateway, events=["training.started", "training.overdue", "training.started"])
    assert named["events"] == ["training.overdue", "training.started"]


@pytest.mark.parametrize("own", [None, SECRET])
async def test_a_secret_and_header_values_are_said_once_and_stored_sealed(
    gateway: Gateway, own: str | None, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint = await subscribed(
        gateway, "a", secret=own, headers={"authorization": TOKEN}, events=["webhook_endpoint.disabled"]
    )
    gone = await subscribed(gateway, "b", secret=own, headers={"authorization": TOKEN}, events=["training.started"])
    await changed(gateway, endpoint, description="mine")
    await gateway.receiver.fault("status", name="b", status=410)
    await gateway.started()
    assert await gateway.deliver() == 2
    paths = [PATH, f"{PATH}/{endpoint['id']}", f"{PATH}/{gone['id']}", "/v1/events", "/v1/deliveries"]
    said = "".join([(await gateway.http.get(path)).text for path in paths])
    said += "".join(receipt.body for receipt in await gateway.receiver.received())
    said += caplog.text + "".join(capsys.readouterr())
    stored = b"".join((row.sealed_secret + (row.sealed_headers or b"")) for row in await gateway.rows(WebhookEndpoint))
    for hidden in (endpoint["secret"], gone["secret"], "receiver-token"):
        assert hidden not in said
        assert hidden.removeprefix("whsec_").encode() not in stored
    assert '"secret"' not in said
    assert "endpoint_disabled" in said


async def test_ninety_endpoints_are_the_most(gateway: Gateway) -> None:
    made = [await subscribed(gateway) for _ in range(90)]
    answer = await gateway.http.post(PATH, json={"url": gateway.receiver.hook()})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_endpoints")
    assert await gateway.count(WebhookEndpoint) == 90
    await subscribed(gateway, headers_of_request=THEIRS)
    await deleted(gateway, made[0])
    await subscribed(gateway)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_never_seen_is_checked_at_photogpt_before_anything_is_stored(gateway: Gateway, status: int) -> None:
    body = '{"status": "NOK", "message": "no such key"}'
    await gateway.upstream.fault("status", path="/models", status=status, body=body)
    answer = await gateway.http.post(PATH, json=FIELDS, headers=KEY_ONE)
    assert (answer.status_code, answer.json()["code"]) == (status, "upstream_refused")
    assert answer.json()["detail"] == "no such key"
    assert [await gateway.count(table) for table in (Tenant, WebhookEndpoint, IdempotencyKey)] == [0, 0, 0]
    gateway.advance(60)  # for so long it is told the same without being asked about
    await subscribed(gateway, headers_of_request=KEY_ONE)
    await subscribed(gateway)
    assert [call["path"] for call in await gateway.upstream.calls()] == ["/models", "/models"]


async def test_a_sidecar_with_a_key_of_its_own_asks_nobody(world: World) -> None:
    async with world.gateway(PHOTOGPT_API_KEY=KEY) as gateway:
        gateway.http.headers.pop("authorization")
        await subscribed(gateway)
        assert await gateway.upstream.calls() == []


# --- Idempotency-Key ---


async def test_the_same_request_makes_one_endpoint_and_shows_its_secret_again(gateway: Gateway) -> None:
    first = await subscribed(gateway, headers_of_request=KEY_ONE, metadata={"a": 1})
    gateway.advance(86_399)
    assert await subscribed(gateway, headers_of_request=KEY_ONE, metadata={"a": 1}) == first
    assert await gateway.count(WebhookEndpoint) == 1
    gateway.advance(2)
    assert (await subscribed(gateway, headers_of_request=KEY_ONE, metadata={"a": 1}))["id"] != first["id"]


async def test_an_endpoint_is_given_again_as_it_is_by_then(gateway: Gateway) -> None:
    first = await subscribed(gateway, headers_of_request=KEY_ONE)
    new = await rotated(gateway, first)
    assert new["secret"] != first["secret"]
    assert await subscribed(gateway, headers_of_request=KEY_ONE) == new


async def test_another_request_with_the_key_is_refused(gateway: Gateway) -> None:
    await subscribed(gateway, headers_of_request=KEY_ONE)
    other = await gateway.http.post(PATH, json=FIELDS, headers=KEY_ONE)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    train = await gateway.train(headers=KEY_ONE)
    assert (train.status_code, train.json()["code"]) == (422, "idempotency_key_reused")
    assert await gateway.upstream.trigger_calls() == 0
    assert await gateway.count(WebhookEndpoint) == 1


async def test_the_key_of_a_train_request_makes_no_endpoint(gateway: Gateway) -> None:
    await gateway.train(headers=KEY_ONE)
    answer = await gateway.http.post(PATH, json=FIELDS, headers=KEY_ONE)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await gateway.count(WebhookEndpoint) == 0


async def test_each_tenant_has_idempotency_keys_of_its_own(gateway: Gateway) -> None:
    mine = await subscribed(gateway, headers_of_request=KEY_ONE)
    theirs = await subscribed(gateway, headers_of_request={**KEY_ONE, **THEIRS})
    assert theirs["id"] != mine["id"]


async def test_what_was_deleted_is_not_made_anew_by_the_same_request(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, headers_of_request=KEY_ONE)
    await deleted(gateway, endpoint)
    answer = await gateway.http.post(PATH, json={"url": gateway.receiver.hook()}, headers=KEY_ONE)
    assert (answer.status_code, answer.json()["code"]) == (409, "target_gone")


# --- list ---


async def test_cursors_lead_through_all_endpoints_once_and_newest_first(gateway: Gateway) -> None:
    await subscribed(gateway, headers_of_request=THEIRS)
    made = []
    for _ in range(5):
        made.append((await subscribed(gateway))["id"])
        gateway.advance(1)
    await deleted(gateway, {"id": made.pop(2)})
    walked: list[str] = []
    cursor: dict[str, str] = {}
    for size in (2, 2):
        page = (await gateway.http.get(PATH, params={"limit": 2, **cursor})).json()
        walked += [endpoint["id"] for endpoint in page["data"]]
        assert len(page["data"]) == size
        cursor = {"cursor": page["next_cursor"]}
    assert cursor == {"cursor": None}
    assert walked == made[::-1]
    everything = (await gateway.http.get(PATH)).json()
    assert [endpoint["id"] for endpoint in everything["data"]] == walked
    assert everything["data"][0] == await endpoint_now(gateway, {"id": walked[0]})


async def test_who_was_never_seen_has_no_endpoints_and_leaves_no_trace(gateway: Gateway) -> None:
    assert (await gateway.http.get(PATH)).json() == {"data": [], "next_cursor": None}
    assert await gateway.count(Tenant) == 0


# --- change ---


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"url": "https://EXAMPLE.org"}, {"url": "https://example.org/"}),
        ({"events": ["training.overdue", "training.overdue"]}, {"events": ["training.overdue"]}),
        ({"events": []}, {"events": DEFAULT_EVENTS}),
        ({"description": "test"}, {"description": "test"}),
        ({"description": ""}, {"description": ""}),
        ({"metadata": {"n": None}}, {"metadata": {"n": None}}),
        ({"metadata": {}}, {"metadata": {}}),
        ({"headers": {"X-A": "1"}}, {"headers": {"x-a": "***"}}),
        ({"headers": {}}, {"headers": {}}),
        ({"retry_schedule": [0, 5]}, {"retry_schedule": [0.0, 5.0]}),
        ({"retry_schedule": None}, {"retry_schedule": None}),
        ({"status": "paused"}, {"status": "paused"}),
        ({"status": "active"}, {}),
        ({}, {}),
    ],
)
async def test_only_what_is_named_changes(gateway: Gateway, change: dict[str, Any], shown: dict[str, Any]) -> None:
    made = await subscribed(gateway, **FIELDS, secret=SECRET)
    del made["secret"]
    gateway.advance(1)
    after = await changed(gateway, made, **change)
    assert after == {**made, **shown, "updated_at": "2026-11-22T12:00:01.000Z"}
    assert await endpoint_now(gateway, made) == after


# --- delete ---


async def test_a_deleted_endpoint_is_gone_and_its_secrets_are_erased(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, headers={"authorization": TOKEN})
    await rotated(gateway, endpoint, secret=OTHER_SECRET)
    await deleted(gateway, endpoint)
    for answer in await asked_everywhere(gateway, endpoint["id"]):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    [row] = await gateway.rows(WebhookEndpoint)
    assert (row.sealed_secret, row.sealed_previous_secret, row.sealed_headers) == (b"", None, None)
    assert row.header_names == []


# --- another tenant's ---


async def asked_everywhere(
    gateway: Gateway, endpoint_id: str, recovery_id: str = "rec_01kb2000000000000000000000"
) -> list[httpx.Response]:
    """What every route that names an endpoint says of this one."""
    since = {"since": "2026-01-01T00:00:00Z"}
    requests: list[tuple[str, str, dict[str, Any] | None]] = [
        ("GET", "", None),
        ("PATCH", "", {"description": "mine"}),
        ("PATCH", "", {"status": "paused"}),
        ("POST", "/rotate-secret", None),
        ("POST", "/test", None),
        ("POST", "/recover", since),
        ("POST", "/recover", {**since, "dry_run": True}),
        ("GET", f"/recoveries/{recovery_id}", None),
        ("DELETE", "", None),
    ]
    return [
        await gateway.http.request(method, f"{PATH}/{endpoint_id}{path}", json=body) for method, path, body in requests
    ]


async def test_anothers_endpoint_looks_exactly_like_an_absent_one(gateway: Gateway) -> None:
    theirs = await subscribed(gateway, headers_of_request=THEIRS)
    gateway.advance(1)
    asked = {"json": {"since": "2026-01-01T00:00:00Z"}, "headers": THEIRS}
    job = (await gateway.http.post(f"{PATH}/{theirs['id']}/recover", **asked)).json()  # type: ignore[arg-type]
    before = await gateway.rows(WebhookEndpoint)
    absent = await asked_everywhere(gateway, ABSENT)
    anothers = await asked_everywhere(gateway, theirs["id"], job["id"])
    for one, other in zip(anothers, absent, strict=True):
        assert one.status_code == other.status_code == 404
        assert one.content == other.content
        assert headers_of(one) == headers_of(other)
    assert await gateway.rows(WebhookEndpoint) == before
    assert await gateway.receiver.received() == []
    assert (await gateway.http.get(job["urls"]["self"], headers=THEIRS)).json() == job
    assert await drive(gateway.components.loops.recoveries) == 1


@pytest.mark.parametrize("endpoint_id", ["whe_", "x", "trn_" + "0" * 26, "WHE_01KB2000000000000000000000"])
async def test_what_is_no_id_is_not_found(gateway: Gateway, endpoint_id: str) -> None:
    for answer in await asked_everywhere(gateway, endpoint_id):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert MODEL not in await gateway.upstream.triggers()
