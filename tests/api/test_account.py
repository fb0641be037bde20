"""`/v1/account`: what is kept for the caller, and its limits."""

from __future__ import annotations

from typing import Any

from service.storage.tables import Tenant
from tests.support.endpoints import THEIRS, another_training, cancelled, deleted, subscribed
from tests.support.gateway import KEY, OTHER_KEY, Gateway, World

NO_LIMITS = {
    "active_trainings": None,
    "webhook_endpoints": 90,
    "requests_per_second": None,
    "deliveries_in_flight": None,
}


async def account(gateway: Gateway, **headers: str) -> dict[str, Any]:
    answer = await gateway.http.get("/v1/account", headers=headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def counts(told: dict[str, Any]) -> tuple[bool, int, int]:
    return told["key_stored"], told["active_trainings"], told["webhook_endpoints"]


async def test_of_a_key_that_was_never_used_nothing_is_kept(gateway: Gateway) -> None:
    assert await account(gateway) == {
        "key_stored": False,
        "active_trainings": 0,
        "webhook_endpoints": 0,
        "limits": NO_LIMITS,
    }
    assert await gateway.count(Tenant) == 0
    assert await gateway.upstream.calls() == []


async def test_the_key_is_kept_while_a_training_is_active(gateway: Gateway) -> None:
    first, second = await another_training(gateway, "a"), await another_training(gateway, "b")
    assert counts(await account(gateway)) == (True, 2, 0)
    await cancelled(gateway, first)
    assert counts(await account(gateway)) == (True, 1, 0)
    await cancelled(gateway, second)
    assert counts(await account(gateway)) == (False, 0, 0)


async def test_endpoints_that_are_there_are_counted(gateway: Gateway) -> None:
    first = await subscribed(gateway)
    await subscribed(gateway)
    assert counts(await account(gateway)) == (False, 0, 2)
    await deleted(gateway, first)
    assert counts(await account(gateway)) == (False, 0, 1)


async def test_of_another_tenant_it_tells_nothing(gateway: Gateway) -> None:
    await another_training(gateway, "a")
    await subscribed(gateway)
    assert counts(await account(gateway, **THEIRS)) == (False, 0, 0)
    await gateway.upstream.put_model("theirs", key=OTHER_KEY)
    await gateway.train("theirs", headers=THEIRS)
    assert counts(await account(gateway, **THEIRS)) == (True, 1, 0)
    assert counts(await account(gateway)) == (True, 1, 1)


async def test_the_limits_are_the_settings(world: World) -> None:
    async with world.gateway(
        GATEWAY_TENANT_TRAININGS=7,
        GATEWAY_TENANT_ENDPOINTS=3,
        GATEWAY_TENANT_REQUESTS_PER_SECOND=2.5,
        GATEWAY_TENANT_DELIVERIES=5,
    ) as gateway:
        assert (await account(gateway))["limits"] == {
            "active_trainings": 7,
            "webhook_endpoints": 3,
            "requests_per_second": 2.5,
            "deliveries_in_flight": 5,
        }


async def test_a_sidecars_own_key_stays_in_its_environment(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(PHOTOGPT_API_KEY=KEY) as gateway:
        await gateway.started()
        assert counts(await account(gateway)) == (False, 1, 0)
