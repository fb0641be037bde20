"""Whose signatures a webhook carries while a secret is changed: an endpoint's own, and the tenant's for callbacks."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook

from service.storage.tables import WebhookEndpoint
from tests.support.endpoints import another_training, rotated, subscribed
from tests.support.gateway import NOW, SECRET, Gateway, Receipt, Simulators, World, new_world

HOUR = 3600
ROTATE = "/v1/signing-secret/rotate"


def signed_by(receipt: Receipt, *secrets: str) -> list[bool]:
    """Which secrets make one of its signatures, by the official library and the time that it was sent at."""
    at = datetime.fromtimestamp(int(receipt.headers["webhook-timestamp"]), UTC)
    signatures = receipt.headers["webhook-signature"].split(" ")
    return [Webhook(secret).sign(receipt.id, at, receipt.body) in signatures for secret in secrets]


async def heard_next(gateway: Gateway, model_id: str, *, callback: bool = False) -> Receipt:
    """What an endpoint at the default hook is sent of another training; or a callback without a secret there."""
    body = {"callback": {"url": gateway.receiver.hook(), "events": ["training.started"]}} if callback else {}
    await another_training(gateway, model_id, **body)
    assert await gateway.deliver() == 1
    return (await gateway.receiver.received())[-1]


# --- an endpoint's own ---


async def test_the_installations_key_signs_beside_the_secret(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, events=["training.started"])
    receipt = await heard_next(gateway, "model-2")
    assert receipt.signed_with(endpoint["secret"], NOW)
    async with httpx.AsyncClient(transport=gateway.http._transport, base_url="http://gateway") as anybody:
        [key] = (await anybody.get("/.well-known/webhook-signing-keys")).json()["keys"]
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key["public_key"].removeprefix("whpk_")))
    [signature] = [part for part in receipt.headers["webhook-signature"].split(" ") if part.startswith("v1a,")]
    signed = f"{receipt.id}.{receipt.headers['webhook-timestamp']}.{receipt.body}".encode()
    public.verify(base64.b64decode(signature.removeprefix("v1a,")), signed)


async def test_for_a_day_both_secrets_sign_and_then_the_new_one_alone(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, events=["training.started"])
    new = await rotated(gateway, endpoint)
    secrets = (new["secret"], endpoint["secret"])
    assert new["previous_secret_until"] == "2026-11-23T12:00:00.000Z"
    assert signed_by(await heard_next(gateway, "model-2"), *secrets) == [True, True]
    gateway.advance(24 * HOUR - 1)
    assert signed_by(await heard_next(gateway, "model-3"), *secrets) == [True, True]
    gateway.advance(1)
    assert signed_by(await heard_next(gateway, "model-4"), *secrets) == [True, False]


@pytest.mark.parametrize(
    ("hours", "until"),
    [
        (0.5, "2026-11-22T12:30:00.000Z"),
        (1, "2026-11-22T13:00:00.000Z"),
        (168, "2026-11-29T12:00:00.000Z"),
        (None, "2026-11-23T12:00:00.000Z"),
    ],
)
async def test_the_overlap_is_chosen(gateway: Gateway, hours: float | None, until: str) -> None:
    endpoint = await subscribed(gateway, events=["training.started"])
    new = await rotated(gateway, endpoint, overlap_hours=hours)
    assert new["previous_secret_until"] == until
    gateway.advance((datetime.fromisoformat(until) - NOW).total_seconds() - 1)
    secrets = (new["secret"], endpoint["secret"])
    assert signed_by(await heard_next(gateway, "model-2"), *secrets) == [True, True]
    gateway.advance(1)
    assert signed_by(await heard_next(gateway, "model-3"), *secrets) == [True, False]


async def test_without_an_overlap_the_old_secret_ends_at_once(gateway: Gateway) -> None:
    """For one that leaked. What waits is signed as it is at its attempt."""
    endpoint = await subscribed(gateway, events=["training.started"])
    await rotated(gateway, endpoint, overlap_hours=100)
    await gateway.started()
    new = await rotated(gateway, endpoint, overlap_hours=0)
    assert new["previous_secret_until"] is None
    assert await gateway.deliver() == 1
    [receipt] = await gateway.receiver.received()
    assert receipt.signed_with(new["secret"], NOW)
    [row] = await gateway.rows(WebhookEndpoint)
    assert (row.sealed_previous_secret, row.previous_secret_until) == (None, None)


async def test_of_two_rotations_the_last_two_secrets_sign(gateway: Gateway) -> None:
    first = await subscribed(gateway, events=["training.started"])
    second = await rotated(gateway, first, overlap_hours=100)
    third = await rotated(gateway, first, overlap_hours=1, secret=SECRET)
    assert third["secret"] == SECRET
    secrets = (SECRET, second["secret"], first["secret"])
    assert signed_by(await heard_next(gateway, "model-2"), *secrets) == [True, True, False]
    gateway.advance(HOUR)
    assert signed_by(await heard_next(gateway, "model-3"), *secrets) == [True, False, False]


async def test_a_rotation_changes_no_other_endpoint(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, "a", events=["training.started"])
    other = await subscribed(gateway, "b", events=["training.started"])
    await rotated(gateway, endpoint)
    await gateway.started()
    assert await gateway.deliver() == 2
    [receipt] = await gateway.receiver.received("b")
    assert receipt.signed_with(other["secret"], NOW)


@pytest.fixture
async def today(simulators: Simulators, template: Path) -> AsyncIterator[World]:
    """For verifiers that look at the real clock."""
    now = datetime.now(UTC)  # noqa: TID251  # as said
    async with new_world(simulators, template, now) as world:
        yield world


async def test_a_receiver_changes_over_without_a_refusal(today: World) -> None:
    """The receiver verifies with the official library, whatever the place of its secret's signature."""
    async with today.gateway() as gateway:
        endpoint = await subscribed(gateway, events=["training.started"])
        await gateway.receiver.expect_secret(endpoint["secret"])
        new = await rotated(gateway, endpoint)
        await heard_next(gateway, "model-2")
        await gateway.receiver.expect_secret(new["secret"])
        await heard_next(gateway, "model-3")
        again = await rotated(gateway, endpoint, overlap_hours=0)
        await heard_next(gateway, "model-4")
        await gateway.receiver.expect_secret(again["secret"])
        await heard_next(gateway, "model-5")
        receipts = await gateway.receiver.received()
    assert [receipt.verified for receipt in receipts] == [True, True, False, True]


# --- the tenant's ---


async def test_callbacks_without_a_secret_are_signed_with_both_of_the_tenants(gateway: Gateway) -> None:
    old = (await gateway.http.get("/v1/signing-secret")).json()["secret"]
    answer = await gateway.http.post(ROTATE)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    new = answer.json()["secret"]
    assert answer.json() == {"secret": new, "previous_secret_until": "2026-11-23T12:00:00.000Z"}
    assert new != old
    assert (await gateway.http.get("/v1/signing-secret")).json() == {"secret": new}
    assert signed_by(await heard_next(gateway, "model-2", callback=True), new, old) == [True, True]
    gateway.advance(24 * HOUR - 1)
    assert signed_by(await heard_next(gateway, "model-3", callback=True), new, old) == [True, True]
    gateway.advance(1)
    assert signed_by(await heard_next(gateway, "model-4", callback=True), new, old) == [True, False]


async def test_the_tenants_secrets_sign_neither_endpoints_nor_callbacks_with_their_own(gateway: Gateway) -> None:
    await gateway.http.post(ROTATE)
    endpoint = await subscribed(gateway, "endpoint", events=["training.started"])
    callback = {"url": gateway.receiver.hook("callback"), "events": ["training.started"], "secret": SECRET}
    await gateway.started(callback=callback)
    assert await gateway.deliver() == 2
    [to_endpoint] = await gateway.receiver.received("endpoint")
    [to_callback] = await gateway.receiver.received("callback")
    assert to_endpoint.signed_with(endpoint["secret"], NOW)
    assert to_callback.signed_with(SECRET, NOW)


@pytest.mark.parametrize("before", [[], [100]])
async def test_the_tenants_old_secret_ends_at_once_when_it_has_to(gateway: Gateway, before: list[float]) -> None:
    for hours in before:
        await gateway.http.post(ROTATE, json={"overlap_hours": hours})
    answer = await gateway.http.post(ROTATE, json={"overlap_hours": 0})
    assert answer.json()["previous_secret_until"] is None
    receipt = await heard_next(gateway, "model-2", callback=True)
    assert receipt.signed_with(answer.json()["secret"], NOW)


async def test_of_two_rotations_of_the_tenants_the_last_two_sign(gateway: Gateway) -> None:
    secrets = [(await gateway.http.get("/v1/signing-secret")).json()["secret"]]
    for hours in (100, 1):
        secrets.insert(0, (await gateway.http.post(ROTATE, json={"overlap_hours": hours})).json()["secret"])
    assert signed_by(await heard_next(gateway, "model-2", callback=True), *secrets) == [True, True, False]
    gateway.advance(HOUR)
    assert signed_by(await heard_next(gateway, "model-3", callback=True), *secrets) == [True, False, False]


async def test_a_key_that_photogpt_refuses_rotates_nothing(gateway: Gateway) -> None:
    await gateway.upstream.fault("status", path="/models", status=401, body='{"status": "NOK", "message": "bad key"}')
    answer = await gateway.http.post(ROTATE)
    assert (answer.status_code, answer.json()["code"]) == (401, "upstream_refused")
