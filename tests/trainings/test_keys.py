"""PhotoGPT keys: sealed in the database while a training needs them, then erased; the sidecar's own never stored."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from service.storage.tables import Tenant
from tests.support.gateway import KEY, MASTER_KEY, OTHER_KEY, SECRET, Gateway, World


def stored_bytes(world: World) -> bytes:
    """Everything in the folder of the database: the file, its write-ahead log, and whatever else there may be."""
    files = [path for path in world.folder.rglob("*") if path.is_file()]
    assert world.database in files
    return b"".join(path.read_bytes() for path in files)


async def sealed_key(gateway: Gateway) -> bytes | None:
    [tenant] = await gateway.rows(Tenant)
    return tenant.sealed_key


async def test_a_callers_key_is_kept_sealed(world: World, gateway: Gateway) -> None:
    await gateway.started(callback={"url": gateway.receiver.hook(), "secret": SECRET})
    sealed = await sealed_key(gateway)
    assert sealed is not None
    stored = stored_bytes(world)
    assert sealed in stored
    for secret in (KEY, SECRET, SECRET.removeprefix("whsec_"), MASTER_KEY):
        assert secret.encode() not in stored
        assert base64.b64encode(secret.encode()).rstrip(b"=") not in stored
    assert base64.b64decode(SECRET.removeprefix("whsec_")) not in stored


async def test_two_trainings_seal_a_key_differently(gateway: Gateway) -> None:
    await gateway.upstream.put_model("model-2")
    await gateway.started()
    first = await sealed_key(gateway)
    await gateway.started("model-2")
    assert await sealed_key(gateway) != first


@pytest.mark.parametrize("end", ["ready", "deleted", "cancelled", "expired", "failed", "rejected", "unconfirmed"])
async def test_a_key_is_erased_with_the_end_of_the_last_training(gateway: Gateway, end: str) -> None:
    if end == "rejected":
        await gateway.upstream.fault_trigger("status", status=402)
        assert (await gateway.train()).status_code == 402
    elif end == "unconfirmed":
        await gateway.upstream.fault_trigger("reset")
        training = await gateway.started()
        for _ in range(3):
            assert await sealed_key(gateway) is not None
            await gateway.next_poll(training["id"])
    else:
        training = await gateway.started()
        assert await sealed_key(gateway) is not None
        await come_to(gateway, training, end)
        assert (await gateway.training(training["id"]))["status"] == end
    assert await sealed_key(gateway) is None


async def come_to(gateway: Gateway, training: dict[str, Any], end: str) -> None:
    if end == "cancelled":
        await gateway.http.delete(f"/v1/trainings/{training['id']}")
        return
    if end == "expired":
        await gateway.upstream.put_model(raw_status="training")
        gateway.advance(86_400)
        await gateway.poll()
        await gateway.next_poll(training["id"])
        return
    await gateway.upstream.put_model(raw_status=end)
    await gateway.next_poll(training["id"])


async def test_a_key_is_kept_while_another_training_needs_it(gateway: Gateway) -> None:
    await gateway.upstream.put_model("model-2", duration_minutes=600)
    first = await gateway.started()
    second = await gateway.started("model-2")
    await gateway.upstream.say("ready")
    await gateway.next_poll(first["id"])
    assert (await gateway.training(first["id"]))["status"] == "ready"
    assert await sealed_key(gateway) is not None
    gateway.advance(330)
    assert await gateway.poll() == 1
    await gateway.http.delete(f"/v1/trainings/{second['id']}")
    assert await sealed_key(gateway) is None


async def test_a_suspended_training_keeps_its_key_to_be_resumed(gateway: Gateway) -> None:
    training = await gateway.started()
    await gateway.upstream.fault_reading("status", status=401, times=3)
    for _ in range(3):
        await gateway.next_poll(training["id"])
    assert (await gateway.training(training["id"]))["suspended"] is True
    assert await sealed_key(gateway) is not None


async def test_one_tenants_end_leaves_anothers_key(gateway: Gateway) -> None:
    await gateway.upstream.put_model("model-2", key=OTHER_KEY)
    training = await gateway.started()
    await gateway.train("model-2", headers={"authorization": f"Bearer {OTHER_KEY}"})
    await gateway.http.delete(f"/v1/trainings/{training['id']}")
    kept = [tenant.sealed_key is not None for tenant in await gateway.rows(Tenant)]
    assert sorted(kept) == [False, True]


async def test_the_sidecars_own_key_is_never_stored(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(PHOTOGPT_API_KEY=KEY, GATEWAY_TOKEN="the-token-of-callers") as gateway:
        gateway.http.headers["authorization"] = "Bearer the-token-of-callers"
        training = await gateway.started(callback_url=gateway.receiver.hook())
        assert await sealed_key(gateway) is None
        gateway.advance(330)
        assert await gateway.poll() == 1
        stored = stored_bytes(world)
        assert training["id"].encode() in stored
        assert KEY.encode() not in stored
        assert b"the-token-of-callers" not in stored


async def test_the_sidecars_own_key_may_change_between_two_starts(world: World) -> None:
    await world.upstream.put_model(key=KEY)
    async with world.gateway(PHOTOGPT_API_KEY=KEY) as gateway:
        training = await gateway.started()
    await world.upstream.control("DELETE", "/calls")
    async with world.gateway(PHOTOGPT_API_KEY=OTHER_KEY) as gateway:
        gateway.advance(330)
        assert await gateway.poll() == 1
        assert (await gateway.training(training["id"]))["status"] == "training"
    assert {call["key"] for call in await world.upstream.calls()} == {OTHER_KEY}
