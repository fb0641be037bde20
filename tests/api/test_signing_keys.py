"""The public keys: open to anybody, the same for everybody, and those that the vault signs with."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from service.storage.tables import Tenant
from tests.support.gateway import KEY, Gateway, World
from tests.support.outage import lose_database

PATH = "/.well-known/webhook-signing-keys"


async def test_anybody_may_read_the_key_that_verifies_what_is_signed(gateway: Gateway) -> None:
    gateway.http.headers.pop("authorization")
    answer = await gateway.http.get(PATH)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert list(answer.json()) == ["keys"]
    [key] = answer.json()["keys"]
    raw = base64.b64decode(key["public_key"].removeprefix("whpk_"), validate=True)
    assert key == {
        "id": "whk_" + hashlib.sha256(raw).hexdigest()[:16],
        "public_key": "whpk_" + base64.b64encode(raw).decode(),
        "active": True,
    }
    Ed25519PublicKey.from_public_bytes(raw).verify(gateway.components.keyring.sign(b"data"), b"data")


async def test_nobody_is_asked_and_nothing_is_stored_for_it(gateway: Gateway) -> None:
    await gateway.http.get(PATH)
    assert await gateway.count(Tenant) == 0
    assert await gateway.upstream.calls() == []


@pytest.mark.parametrize("settings", [{}, {"PHOTOGPT_API_KEY": KEY, "GATEWAY_TOKEN": "the-token-of-callers"}])
async def test_the_key_outlives_a_restart(world: World, settings: dict[str, Any]) -> None:
    async with world.gateway(seed=1, **settings) as gateway:
        first = (await gateway.http.get(PATH)).json()
    async with world.gateway(seed=2, **settings) as gateway:
        gateway.http.headers.pop("authorization", None)
        assert (await gateway.http.get(PATH)).json() == first


async def test_the_key_can_be_read_while_the_database_is_away(world: World, gateway: Gateway) -> None:
    before = await gateway.http.get(PATH)
    await lose_database(world, gateway)
    assert (await gateway.http.get(PATH)).json() == before.json()
