"""The pruner: every five minutes, in batches until nothing is left, with its chores. What is over: tests/storage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import TypeVar

import pytest
from sqlalchemy import Connection
from sqlmodel import SQLModel

from service.domain.delivery import DeliveryStatus
from service.domain.training import Status
from service.pruner import Pruner
from service.storage.database import Database
from service.storage.sqlite import Sqlite
from service.storage.tables import (
    Attempt,
    Callback,
    Delivery,
    Event,
    IdempotencyKey,
    Recovery,
    Training,
    WebhookEndpoint,
)
from tests.support import gateway as support
from tests.support.clock import FakeClock
from tests.support.endpoints import PATH, another_training, cancelled, changed, deleted, statuses, subscribed
from tests.support.gateway import Gateway, World, drive
from tests.support.rows import NOW, a_tenant, a_training, an_idempotency_key, store, stored

T = TypeVar("T")

simulators = support.simulators
template = support.template
world = support.world
gateway = support.gateway

RETENTION = timedelta(days=30)
DAY = 86_400


class CountingSqlite(Sqlite):
    """A database that counts the transactions that write."""

    writes = 0

    async def write(self, work: Callable[[Connection], T], of: str | None = None) -> T:
        self.writes += 1
        return await super().write(work, of)


@pytest.fixture
async def sqlite(world: World) -> AsyncIterator[CountingSqlite]:
    runner = CountingSqlite(f"sqlite:///{world.database}")
    yield runner
    await runner.close()


class Chore:
    """Something that takes some calls until nothing is left of it."""

    def __init__(self, *batches: int) -> None:
        self.left = [*batches, 0]

    async def __call__(self) -> int:
        return self.left.pop(0)


def pruner(runner: CountingSqlite, clock: FakeClock, *chores: Chore) -> Pruner:
    return Pruner(database=Database(runner), retention=RETENTION, chores=chores, clock=clock)


# --- when ---


async def test_it_has_work_once_in_five_minutes(sqlite: CountingSqlite) -> None:
    clock = FakeClock(NOW)
    prunes = pruner(sqlite, clock)
    assert list((await prunes.claim(1)).items) == [NOW - RETENTION]
    assert list((await prunes.claim(1)).items) == []
    clock.advance(299.9)
    assert list((await prunes.claim(1)).items) == []
    clock.advance(0.1)
    assert list((await prunes.claim(1)).items) == [clock.now() - RETENTION]
    assert list((await prunes.claim(1)).items) == []


async def test_a_jump_of_the_wall_clock_changes_nothing_about_that(sqlite: CountingSqlite) -> None:
    clock = FakeClock(NOW)
    prunes = pruner(sqlite, clock)
    await prunes.claim(1)
    clock.jump(100_000)
    assert not (await prunes.claim(1)).items
    clock.jump(-200_000)
    clock.advance(300)
    assert len((await prunes.claim(1)).items) == 1


# --- how much at once ---


@pytest.mark.parametrize(("rows", "transactions"), [(0, 1), (1, 2), (200, 2), (201, 3), (450, 4)])
async def test_it_deletes_in_small_transactions_until_nothing_is_left(
    sqlite: CountingSqlite, rows: int, transactions: int
) -> None:
    ended = [a_training(f"trn_{number:03}", status=Status.READY) for number in range(rows)]
    active = a_training("trn_active")
    await store(Database(sqlite), a_tenant(), active, *ended)
    sqlite.writes = 0
    await pruner(sqlite, FakeClock(NOW)).prune(NOW + timedelta(seconds=1))
    assert sqlite.writes == transactions
    assert [row.id for row in await stored(Database(sqlite), Training)] == ["trn_active"]


async def test_idempotency_keys_are_kept_for_a_day_whatever_the_retention(sqlite: CountingSqlite) -> None:
    clock = FakeClock(NOW)
    old = an_idempotency_key("old", created_at=NOW - timedelta(hours=24, seconds=1))
    young = an_idempotency_key("young", created_at=NOW - timedelta(hours=24))
    await store(Database(sqlite), a_tenant(), old, young)
    await pruner(sqlite, clock).prune(NOW - RETENTION)
    assert [row.key for row in await stored(Database(sqlite), IdempotencyKey)] == ["young"]


async def test_each_chore_is_done_until_nothing_is_left(sqlite: CountingSqlite) -> None:
    chores = Chore(500, 500, 3), Chore(), Chore(1)
    await pruner(sqlite, FakeClock(NOW), *chores).prune(NOW - RETENTION)
    assert [chore.left for chore in chores] == [[], [], []]


# --- in a gateway ---


async def pruned(gateway: Gateway) -> None:
    assert await drive(gateway.components.loops.pruning) == 1


async def counts(gateway: Gateway, *tables: type[SQLModel]) -> list[int]:
    return [await gateway.count(table) for table in tables]


async def test_what_ended_30_days_ago_is_deleted_and_nothing_else(gateway: Gateway) -> None:
    await subscribed(gateway)
    callback = {"url": gateway.receiver.hook()}
    ended = await another_training(gateway, "model-2", headers={"idempotency-key": "key-1"}, callback=callback)
    active = await another_training(gateway, "model-3", callback=callback)
    await cancelled(gateway, ended)
    assert await gateway.deliver() == 1
    gateway.advance(30 * DAY)
    await pruned(gateway)
    assert await counts(gateway, Training, Callback, Event, Delivery, Attempt) == [2, 2, 3, 1, 1]
    assert await gateway.count(IdempotencyKey) == 0
    gateway.advance(300)
    await pruned(gateway)
    assert [row.id for row in await gateway.rows(Training)] == [active["id"]]
    assert await counts(gateway, Callback, Event, Delivery, Attempt, WebhookEndpoint) == [1, 1, 0, 0, 1]
    assert (await gateway.http.get(f"/v1/trainings/{ended['id']}")).status_code == 404
    assert (await gateway.http.get("/v1/deliveries")).json()["data"] == []
    assert len((await gateway.http.get("/v1/events")).json()["data"]) == 1


async def test_what_is_still_to_be_delivered_is_kept(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway)
    await changed(gateway, endpoint, status="paused")
    await cancelled(gateway, await gateway.started())
    gateway.advance(40 * DAY)
    await pruned(gateway)
    assert await counts(gateway, Training, Event, Delivery) == [1, 2, 1]
    await changed(gateway, endpoint, status="active")
    assert await gateway.deliver() == 1
    gateway.advance(30 * DAY + 1)
    await pruned(gateway)
    assert await counts(gateway, Training, Event, Delivery, Attempt) == [0, 0, 0, 0]


async def test_a_deleted_endpoint_goes_with_its_last_delivery_and_job(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway)
    await cancelled(gateway, await gateway.started())
    await gateway.deliver()
    gateway.advance(1)
    await gateway.http.post(f"{PATH}/{endpoint['id']}/recover", json={"since": "2026-01-01T00:00:00Z"})
    await drive(gateway.components.loops.recoveries)
    await deleted(gateway, endpoint)
    gateway.advance(29 * DAY)
    await pruned(gateway)
    assert await counts(gateway, WebhookEndpoint, Recovery) == [1, 1]
    gateway.advance(2 * DAY)
    await pruned(gateway)
    assert await counts(gateway, WebhookEndpoint, Recovery, Delivery) == [0, 0, 0]


async def test_what_waited_5_days_for_a_host_that_is_not_there_is_given_up(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, url="http://127.0.0.1:1/", events=["training.started"])
    for number in range(2, 9):
        await another_training(gateway, f"model-{number}")
    assert await gateway.deliver() == 7
    gateway.advance(5 * DAY - 1)
    await pruned(gateway)
    assert {status for _, status in await statuses(gateway, endpoint)} == {DeliveryStatus.PENDING}
    gateway.advance(301)
    await pruned(gateway)
    assert {status for _, status in await statuses(gateway, endpoint)} == {DeliveryStatus.DEAD}
    assert await gateway.deliver() == 0


async def test_a_gateway_prunes_from_its_start_on(world: World) -> None:
    async with world.gateway() as gateway:
        await gateway.upstream.put_model()
        await cancelled(gateway, await gateway.started())
    world.clock.advance(31 * DAY)
    async with world.gateway(seed=2) as gateway:
        await pruned(gateway)
        assert await gateway.count(Training) == 0
