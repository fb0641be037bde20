"""Pruning: what is over, long enough, goes with all that belongs to it; everything else stays."""

from datetime import datetime, timedelta

import pytest
from sqlmodel import SQLModel

from service.domain.delivery import DeliveryStatus
from service.domain.endpoint import EndpointStatus
from service.domain.event import EventType
from service.domain.training import Status
from service.storage.database import Database
from service.storage.tables import (
    Attempt,
    Callback,
    Delivery,
    Event,
    IdempotencyKey,
    Recovery,
    Tenant,
    Training,
    WebhookEndpoint,
)
from tests.support.rows import (
    NOW,
    a_callback,
    a_delivery,
    a_recovery,
    a_tenant,
    a_training,
    an_endpoint,
    an_event,
    an_idempotency_key,
    store,
    stored,
)

MOMENT = timedelta(microseconds=1)
# What ended before NOW goes.
OLD, RECENT = NOW - MOMENT, NOW
EVERYTHING = (Tenant, WebhookEndpoint, Recovery, Training, Callback, Event, Delivery, Attempt, IdempotencyKey)


async def prune(database: Database, *, limit: int = 100, keys_before: datetime = NOW) -> int:
    return await database.transaction(lambda unit: unit.history.prune(NOW, keys_before=keys_before, limit=limit))


async def left(database: Database, table: type[SQLModel] = Training) -> set[str]:
    return {row.model_dump()["key" if table is IdempotencyKey else "id"] for row in await stored(database, table)}


def whole(
    name: str,
    *,
    tenant: str = "ten_a",
    ended: datetime | None = OLD,
    status: DeliveryStatus = DeliveryStatus.DELIVERED,
    finished: datetime = OLD,
    due_at: datetime | None = OLD,
    endpoint: str | None = None,
) -> list[SQLModel]:
    """A training with one of each that belongs to one; its delivery was finished then, if it is."""
    training = a_training(f"trn_{name}", tenant=tenant, status=Status.TRAINING if ended is None else Status.READY)
    training.finished_at = ended
    delivery = a_delivery(
        f"dlv_{name}",
        event=f"evt_{name}",
        callback=f"cbk_{name}",
        endpoint=endpoint,
        training=training.id,
        tenant=tenant,
        status=status,
        due_at=due_at,
    )
    if status is not DeliveryStatus.PENDING:
        delivery.finished_at = finished
    return [
        training,
        a_callback(f"cbk_{name}", training=training.id, tenant=tenant),
        an_event(f"evt_{name}", training=training.id, tenant=tenant),
        delivery,
        *(Attempt(id=f"att_{name}_{one}", delivery_id=delivery.id, number=one, started_at=OLD) for one in (1, 2)),
    ]


def of_endpoint(
    name: str,
    *,
    made: datetime = OLD,
    status: DeliveryStatus = DeliveryStatus.DELIVERED,
    finished: datetime = OLD,
    due_at: datetime | None = OLD,
) -> list[SQLModel]:
    """An event of a webhook endpoint, which belongs to no training, with what belongs to it."""
    event = an_event(f"evt_{name}", type=EventType.ENDPOINT_DISABLED, sequence=0)
    event.training_id, event.created_at = None, made
    delivery = a_delivery(f"dlv_{name}", event=event.id, endpoint="whe_1", status=status, due_at=due_at)
    delivery.training_id = None
    if status is not DeliveryStatus.PENDING:
        delivery.finished_at = finished
    return [event, delivery, Attempt(id=f"att_{name}", delivery_id=delivery.id, number=1, started_at=OLD)]


class TestTrainings:
    async def test_go_with_all_that_belongs_to_them(self, database: Database) -> None:
        await store(database, a_tenant(), an_endpoint(), *whole("old"), *whole("sent", endpoint="whe_1"))
        assert await prune(database) == 2 * 6
        assert {table.__name__: await left(database, table) for table in EVERYTHING} == {
            **{table.__name__: set() for table in EVERYTHING},
            "Tenant": {"ten_a"},
            "WebhookEndpoint": {"whe_1"},
        }
        assert await prune(database) == 0

    @pytest.mark.parametrize("kind", list(DeliveryStatus)[1:])
    async def test_go_whatever_became_of_their_deliveries(self, database: Database, kind: DeliveryStatus) -> None:
        await store(database, a_tenant(), *whole("old", status=kind))
        await prune(database)
        assert await left(database) == set()

    async def test_that_nobody_was_told_of_go_too(self, database: Database) -> None:
        training = a_training(status=Status.REJECTED)
        training.finished_at = OLD
        await store(database, a_tenant(), training)
        assert await prune(database) == 1
        assert await left(database) == set()

    @pytest.mark.parametrize(
        "rows",
        [
            lambda: whole("kept", ended=None, finished=OLD),
            lambda: whole("kept", ended=RECENT),
            lambda: whole("kept", status=DeliveryStatus.PENDING),
            lambda: whole("kept", status=DeliveryStatus.PENDING, due_at=None, endpoint="whe_1"),
            lambda: whole("kept", finished=RECENT),
            lambda: whole("kept", status=DeliveryStatus.DEAD, finished=RECENT),
        ],
        ids=["active", "ended since", "to be delivered", "held for a paused endpoint", "delivered since", "dead since"],
    )
    async def test_stay_whole_when(self, database: Database, rows: object) -> None:
        await store(database, a_tenant(), an_endpoint(), *rows(), *whole("gone"))  # type: ignore[operator]
        assert await prune(database) == 6
        assert await prune(database) == 0
        assert [len(await stored(database, table)) for table in (Training, Callback, Event, Delivery, Attempt)] == [
            1,
            1,
            1,
            1,
            2,
        ]
        assert await left(database) == {"trn_kept"}

    async def test_one_delivery_of_several_keeps_them_whole(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            an_endpoint(),
            *whole("kept"),
            a_delivery("dlv_held", event="evt_kept", training="trn_kept", endpoint="whe_1", due_at=None),
        )
        assert await prune(database) == 0
        assert await left(database, Delivery) == {"dlv_kept", "dlv_held"}

    async def test_go_a_batch_at_a_time_and_the_oldest_first(self, database: Database) -> None:
        rows = [whole(str(number), ended=OLD - timedelta(days=number)) for number in range(5)]
        await store(database, a_tenant(), *(row for training in rows for row in training))
        assert await prune(database, limit=2) == 12
        assert await left(database) == {"trn_0", "trn_1", "trn_2"}
        assert [await prune(database, limit=2) for _ in range(3)] == [12, 6, 0]

    async def test_that_are_kept_stand_in_nobodys_way(self, database: Database) -> None:
        held = [
            whole(f"held_{number}", ended=OLD - timedelta(days=9), status=DeliveryStatus.PENDING) for number in range(3)
        ]
        await store(database, a_tenant(), *(row for rows in held for row in rows), *whole("gone"))
        assert await prune(database, limit=1) == 6
        assert "trn_gone" not in await left(database)

    async def test_go_by_their_time_whosever_they_are(self, database: Database) -> None:
        await store(
            database,
            a_tenant("ten_a"),
            a_tenant("ten_b"),
            *whole("a_old"),
            *whole("b_old", tenant="ten_b"),
            *whole("a_new", ended=RECENT),
            *whole("b_new", tenant="ten_b", ended=RECENT),
        )
        await prune(database)
        assert await left(database) == {"trn_a_new", "trn_b_new"}
        assert await left(database, Tenant) == {"ten_a", "ten_b"}


class TestEventsOfEndpoints:
    async def test_go_with_their_deliveries(self, database: Database) -> None:
        await store(database, a_tenant(), an_endpoint(), *of_endpoint("1"), *of_endpoint("2"), *of_endpoint("3"))
        assert [await prune(database, limit=2) for _ in range(3)] == [6, 3, 0]
        for table in (Event, Delivery, Attempt):
            assert await left(database, table) == set()

    @pytest.mark.parametrize(
        "rows",
        [
            lambda: of_endpoint("kept", made=RECENT),
            lambda: of_endpoint("kept", status=DeliveryStatus.PENDING),
            lambda: of_endpoint("kept", status=DeliveryStatus.PENDING, due_at=None),
            lambda: of_endpoint("kept", finished=RECENT),
        ],
        ids=["made since", "to be delivered", "held for a paused endpoint", "delivered since"],
    )
    async def test_stay_when(self, database: Database, rows: object) -> None:
        await store(database, a_tenant(), an_endpoint(), *rows())  # type: ignore[operator]
        assert await prune(database) == 0
        assert await left(database, Event) == {"evt_kept"}


async def test_idempotency_keys_go_after_their_own_time(database: Database) -> None:
    yesterday = NOW - timedelta(hours=24)
    await store(
        database,
        a_tenant(),
        an_idempotency_key("old", created_at=yesterday - MOMENT),
        an_idempotency_key("kept", created_at=yesterday),
        an_idempotency_key("new", created_at=NOW),
        # The same key of another tenant is another key.
        an_idempotency_key("new", tenant="ten_b", created_at=yesterday - MOMENT),
    )
    assert await prune(database, keys_before=yesterday) == 2
    assert [(row.tenant_id, row.key) for row in await stored(database, IdempotencyKey)] == [
        ("ten_a", "kept"),
        ("ten_a", "new"),
    ]


async def test_recoveries_go_once_they_are_done(database: Database) -> None:
    await store(
        database,
        a_tenant(),
        an_endpoint(),
        a_recovery("rec_old", finished_at=OLD),
        a_recovery("rec_new", finished_at=RECENT),
        a_recovery("rec_running"),
    )
    assert await prune(database) == 1
    assert await left(database, Recovery) == {"rec_new", "rec_running"}


class TestEndpoints:
    async def test_go_once_they_are_deleted_and_nothing_names_them(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            an_endpoint("whe_gone", deleted_at=OLD),
            an_endpoint("whe_recent", deleted_at=RECENT),
            an_endpoint("whe_active"),
            an_endpoint("whe_disabled", status=EndpointStatus.DISABLED),
            an_endpoint("whe_paused", status=EndpointStatus.PAUSED),
        )
        assert await prune(database) == 1
        assert await left(database, WebhookEndpoint) == {"whe_recent", "whe_active", "whe_disabled", "whe_paused"}

    async def test_stay_while_a_delivery_or_a_recovery_names_them(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            an_endpoint("whe_1", deleted_at=OLD),
            an_endpoint("whe_2", deleted_at=OLD),
            *whole("kept", ended=RECENT, endpoint="whe_1"),
            a_recovery(endpoint="whe_2"),
        )
        assert await prune(database) == 0
        assert await left(database, WebhookEndpoint) == {"whe_1", "whe_2"}

    async def test_go_together_with_the_last_that_named_them(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            an_endpoint("whe_1", deleted_at=OLD),
            *whole("old", endpoint="whe_1"),
            a_recovery(finished_at=OLD),
        )
        while await prune(database):
            pass
        assert await left(database, WebhookEndpoint) == set()
