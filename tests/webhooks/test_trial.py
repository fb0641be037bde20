"""Test events, to an endpoint or a URL: sent as any other webhook, with what came of it in the answer, and no trace."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.storage.tables import Attempt, Delivery, Event, Tenant, Training, WebhookEndpoint
from tests.support.endpoints import (
    PATH,
    another_training,
    changed,
    endpoint_now,
    rotated,
    subscribed,
)
from tests.support.gateway import KEY, MASTER_KEY, NOW, SECRET, Gateway, Receipt, World
from tests.support.keysets import another_keyset
from tests.webhooks.test_rotation import signed_by

TO_URL = f"{PATH}/test"
NOTE = "A test event. Answer 2xx; nothing happened to any training."


async def tried(gateway: Gateway, endpoint: dict[str, Any]) -> dict[str, Any]:
    """What came of a test event to this endpoint."""
    answer = await gateway.http.post(f"{PATH}/{endpoint['id']}/test")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def only_receipt(gateway: Gateway) -> Receipt:
    [receipt] = await gateway.receiver.received()
    return receipt


async def assert_nothing_stored(gateway: Gateway) -> None:
    assert [await gateway.count(table) for table in (Event, Delivery, Attempt, Training)] == [0, 0, 0, 0]
    gateway.advance(100_000)
    assert await gateway.deliver() == 0


# --- to an endpoint ---


async def test_a_test_event_is_sent_at_once_with_the_endpoints_headers_and_signature(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, events=["training.ready"], headers={"authorization": "Bearer receiver-token"})
    told = await tried(gateway, endpoint)
    receipt = await only_receipt(gateway)
    assert told == {
        "webhook_id": receipt.id,
        "delivered": True,
        "problem": None,
        "attempt": {
            "started_at": "2026-11-22T12:00:00.000Z",
            "duration_ms": 0,
            "status_code": 204,
            "error_class": None,
            "excerpt": "",
        },
    }
    content = '{"type":"webhook.test","timestamp":"2026-11-22T12:00:00.000Z","data":{"note":"' + NOTE + '"}}'
    assert receipt.body == content
    assert receipt.headers["authorization"] == "Bearer receiver-token"
    assert receipt.headers["content-type"] == "application/json"
    assert receipt.signed_with(endpoint["secret"], NOW)
    assert receipt.id.startswith("evt_")
    await assert_nothing_stored(gateway)


async def test_during_a_rotation_it_has_both_signatures(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway)
    new = await rotated(gateway, endpoint, overlap_hours=1)
    await tried(gateway, endpoint)
    gateway.advance(3600)
    await tried(gateway, endpoint)
    verdicts = [signed_by(receipt, new["secret"], endpoint["secret"]) for receipt in await gateway.receiver.received()]
    assert verdicts == [[True, True], [True, False]]


async def test_a_paused_endpoint_can_be_tested_and_stays_paused(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway)
    paused = await changed(gateway, endpoint, status="paused")
    assert (await tried(gateway, endpoint))["delivered"]
    assert await endpoint_now(gateway, endpoint) == paused


@pytest.mark.parametrize(
    ("fault", "status_code", "error_class", "problem"),
    [
        ({"kind": "status", "status": 500}, 500, "http_5xx", "the receiver answered HTTP 500"),
        ({"kind": "status", "status": 410}, 410, "http_4xx", "the receiver answered HTTP 410"),
        (
            {"kind": "redirect", "location": "/hook/elsewhere"},
            302,
            "http_3xx",
            "HTTP 302: it answered with a redirect, which is not followed: give the final URL",
        ),
        ({"kind": "reset"}, None, "reset", "reset: the connection was closed before an answer came"),
    ],
)
async def test_what_went_wrong_is_said_and_nothing_is_concluded_from_it(
    gateway: Gateway, fault: dict[str, Any], status_code: int | None, error_class: str, problem: str
) -> None:
    endpoint = await subscribed(gateway)
    before = await endpoint_now(gateway, endpoint)
    await gateway.receiver.fault(**fault)
    told = await tried(gateway, endpoint)
    assert (told["delivered"], told["problem"]) == (False, problem)
    assert (told["attempt"]["status_code"], told["attempt"]["error_class"]) == (status_code, error_class)
    assert await endpoint_now(gateway, endpoint) == before
    assert len(await gateway.receiver.received("elsewhere")) == 0
    await assert_nothing_stored(gateway)


async def test_a_success_ends_no_failing_either(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, events=["training.started"], retry_schedule=[0])
    await gateway.receiver.fault("status", status=500)
    await another_training(gateway, "model-2")
    await gateway.deliver()
    before = await endpoint_now(gateway, endpoint)
    assert before["failing_since"] == "2026-11-22T12:00:00.000Z"
    assert (await tried(gateway, endpoint))["delivered"]
    assert await endpoint_now(gateway, endpoint) == before


async def test_where_nobody_listens_the_answer_says_so(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, url="http://127.0.0.1:1/")
    told = await tried(gateway, endpoint)
    assert told["attempt"]["error_class"] == "refused"
    assert told["problem"] == "refused: the connection was refused: nothing listens at that host and port"


async def test_a_secret_that_does_not_open_is_an_outcome_too(world: World) -> None:
    async with world.gateway(PHOTOGPT_API_KEY=KEY) as gateway:
        endpoint = await subscribed(gateway)
    with another_keyset(world.database, MASTER_KEY):
        async with world.gateway(PHOTOGPT_API_KEY=KEY) as gateway:
            told = await tried(gateway, endpoint)
            assert (told["delivered"], told["attempt"]["error_class"]) == (False, "unsigned")
            # The remedy: a new secret is sealed with the key of now.
            await rotated(gateway, endpoint, overlap_hours=0)
            assert (await tried(gateway, endpoint))["delivered"]
    assert len(await world.receiver.received()) == 1


# --- to a URL ---


async def to_url(gateway: Gateway, **body: Any) -> httpx.Response:
    return await gateway.http.post(TO_URL, json={"url": gateway.receiver.hook(), **body})


async def test_a_url_is_tested_as_a_callback_there_would_be_sent(gateway: Gateway) -> None:
    answer = await to_url(gateway, headers={"Authorization": "Bearer receiver-token"})
    receipt = await only_receipt(gateway)
    assert (answer.status_code, answer.json()["delivered"]) == (200, True)
    assert answer.json()["webhook_id"] == receipt.id
    assert receipt.headers["authorization"] == "Bearer receiver-token"
    secret = (await gateway.http.get("/v1/signing-secret")).json()["secret"]
    assert receipt.signed_with(secret, NOW)
    assert await gateway.count(WebhookEndpoint) == 0
    await assert_nothing_stored(gateway)


async def test_a_url_is_tested_with_the_secret_given(gateway: Gateway) -> None:
    answer = await to_url(gateway, secret=SECRET)
    assert (answer.status_code, SECRET in answer.text) == (200, False)
    assert (await only_receipt(gateway)).signed_with(SECRET, NOW)


async def test_where_a_url_leads_is_said(gateway: Gateway) -> None:
    answer = await to_url(gateway, url="http://127.0.0.1:1/")
    assert (answer.status_code, answer.json()["attempt"]["error_class"]) == (200, "refused")
    await gateway.receiver.fault("status", status=404, body="no such\nhook", content_type="text/plain")
    answer = await to_url(gateway)
    assert answer.json()["attempt"]["excerpt"] == "no such hook"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://example.com/", "invalid_callback_url"),
        ("https://127.1/", "invalid_callback_url"),
        ("https://a.example/#x", "invalid_callback_url"),
        ("ftp://a/", "invalid_callback_url"),
        ("", "invalid_callback_url"),
        ("http://10.0.0.1/", "destination_not_allowed"),
        ("https://169.254.169.254/", "destination_not_allowed"),
    ],
)
async def test_a_url_that_no_callback_may_have_is_not_tested(gateway: Gateway, url: str, code: str) -> None:
    answer = await to_url(gateway, url=url)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/url"]
    assert await gateway.count(Tenant) == 0


async def test_who_photogpt_does_not_know_has_nothing_sent(gateway: Gateway) -> None:
    """Else anybody could have this gateway call any URL."""
    for secret in (None, SECRET):
        body = '{"status": "NOK", "message": "no such key"}'
        await gateway.upstream.fault("status", path="/models", status=401, body=body)
        answer = await to_url(gateway, secret=secret)
        assert (answer.status_code, answer.json()["code"]) == (401, "upstream_refused")
    assert await gateway.receiver.received() == []
    assert await gateway.count(Tenant) == 0


async def test_a_stored_secret_that_another_keyset_sealed_is_told_with_its_remedy(world: World) -> None:
    """It is the operator's to mend, and until then what is asked for can't be given."""
    own: dict[str, Any] = {"PHOTOGPT_API_KEY": KEY}
    async with world.gateway(**own) as gateway:
        assert (await gateway.http.get("/v1/signing-secret")).status_code == 200
    with another_keyset(world.database, MASTER_KEY):
        async with world.gateway(**own) as gateway:
            for answer in (
                await gateway.http.get("/v1/signing-secret"),
                await gateway.http.post(TO_URL, json={"url": gateway.receiver.hook()}),
            ):
                assert (answer.status_code, answer.json()["code"]) == (503, "secret_unreadable")
                assert "GATEWAY_MASTER_KEY" in answer.json()["detail"]
            assert await gateway.receiver.received() == []
