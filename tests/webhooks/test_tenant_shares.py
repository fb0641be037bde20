"""One tenant has no more attempts under way than its share, whatever it has queued and where, and others go on."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from service.storage.due_delivery import DueDelivery
from service.storage.tables import Delivery, WebhookEndpoint
from tests.support.gateway import Gateway, World
from tests.support.waiting import wait_until
from tests.webhooks.ready_events import becomes_ready, subscribe

NOBODY = "http://127.0.0.1:1/"


async def subscriber(gateway: Gateway, name: str, hook: str | None = None) -> WebhookEndpoint:
    """Of a tenant of its own, at the receiver's hook of the same name."""
    components = gateway.components
    url = hook or gateway.receiver.hook(name)
    return await subscribe(components.database, components.keyring, url, name=name)


async def queue(gateway: Gateway, endpoint: WebhookEndpoint, count: int) -> None:
    rng = random.Random(f"{endpoint.id} {count}")
    for _ in range(count):
        await gateway.components.database.transaction(
            lambda unit: becomes_ready(unit, endpoint, gateway.clock.now(), rng)
        )


async def claimed(gateway: Gateway, limit: int = 256) -> Counter[str]:
    """How many of each tenant one more claim gives. They stay under way."""
    items = (await gateway.components.webhooks.dispatcher.claim(limit)).items
    return Counter(due.tenant_id for due in items)


async def test_a_claim_takes_no_more_than_a_tenants_share(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_DELIVERIES=3, GATEWAY_DELIVERIES_PER_HOST=4) as gateway:
        await queue(gateway, await subscriber(gateway, "a"), 10)
        await queue(gateway, await subscriber(gateway, "b"), 10)
        # The host has room for one more after the first tenant's three.
        assert await claimed(gateway) == {"ten_a": 3, "ten_b": 1}
        assert await claimed(gateway) == {}


async def test_its_share_is_for_all_its_hosts_together(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_DELIVERIES=3) as gateway:
        for port in range(1, 6):
            endpoint = await subscriber(gateway, f"a{port}", f"http://127.0.0.1:{port}/")
            await _belongs_to(gateway, endpoint, "ten_a1")
            await queue(gateway, endpoint, 2)
        assert await claimed(gateway) == {"ten_a1": 3}
        assert await claimed(gateway) == {}


async def test_without_a_limit_only_hosts_bound_it(world: World) -> None:
    async with world.gateway() as gateway:
        await queue(gateway, await subscriber(gateway, "a"), 10)
        assert await claimed(gateway) == {"ten_a": 4}


async def test_when_one_of_its_attempts_ends_another_may_start(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_DELIVERIES=2) as gateway:
        dispatcher = gateway.components.webhooks.dispatcher
        await queue(gateway, await subscriber(gateway, "a"), 5)
        first = await dispatcher.claim(256)
        assert (len(first.items), first.more) == (2, True)
        full = await dispatcher.claim(256)
        assert (len(full.items), full.more) == (0, True), "it is not told that more is due, and would wait for a tick"
        await dispatcher.deliver(first.items[0])
        assert await claimed(gateway) == {"ten_a": 1}


async def test_failures_give_their_places_back(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_DELIVERIES=2) as gateway:
        await queue(gateway, await subscriber(gateway, "a", NOBODY), 4)
        assert await gateway.deliver() == 4
        assert gateway.components.webhooks.dispatcher._shares.rooms() == {}


async def test_a_backlog_at_hanging_receivers_delays_no_other_tenant(world: World) -> None:
    """All of one tenant's is due before what the other's is, and many times what one claim looks at."""
    await world.receiver.fault("hang", name="a", seconds=60, times=None)
    async with world.gateway(loops=True, GATEWAY_TENANT_DELIVERIES=2, GATEWAY_DELIVERIES_IN_FLIGHT=8) as gateway:
        await queue(gateway, await subscriber(gateway, "a"), 30)
        await wait_until(lambda: world.receiver.clock.held == 2, what="the receiver to hang")
        gateway.advance(1)
        await queue(gateway, await subscriber(gateway, "b"), 6)
        await wait_until(lambda: _delivered(gateway, "ten_b", 6), what="the other tenant's webhooks", timeout=30)
        assert world.receiver.clock.held == 2
        await world.receiver.forget_faults()
        world.receiver.clock.release()
        await wait_until(lambda: _delivered(gateway, "ten_a", 28), what="its own, in the end", timeout=30)


async def test_shares_are_not_overstepped_by_claims_and_ends_in_any_order(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_DELIVERIES=2) as gateway:
        dispatcher, rng = gateway.components.webhooks.dispatcher, random.Random(20261123)
        for name in ("a", "b", "c"):
            await queue(gateway, await subscriber(gateway, name), 12)
        under_way: list[DueDelivery] = []
        for _ in range(200):
            if under_way and rng.random() < 0.6:
                await dispatcher.deliver(under_way.pop(rng.randrange(len(under_way))))
            else:
                under_way += (await dispatcher.claim(rng.randrange(1, 6))).items
            assert max(Counter(due.tenant_id for due in under_way).values(), default=0) <= 2
        await asyncio.gather(*(dispatcher.deliver(due) for due in under_way))
        await gateway.deliver()
        assert {row.status for row in await gateway.rows(Delivery)} == {"delivered"}


async def _delivered(gateway: Gateway, tenant_id: str, count: int) -> bool:
    rows = [row for row in await gateway.rows(Delivery) if row.tenant_id == tenant_id and row.status == "delivered"]
    return len(rows) >= count


async def _belongs_to(gateway: Gateway, endpoint: WebhookEndpoint, tenant_id: str) -> None:
    """As if that tenant had subscribed it."""
    endpoint.tenant_id = tenant_id
    await gateway.components.database.transaction(
        lambda unit: unit.endpoints.change(endpoint.id, {"tenant_id": tenant_id})
    )
