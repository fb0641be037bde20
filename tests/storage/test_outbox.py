"""Into the outbox: an event becomes a delivery for each target that hears of its type, and its tenant's next event."""

import asyncio
from datetime import timedelta

import pytest

from service.domain.delivery import DeliveryStatus
from service.domain.endpoint import EndpointStatus
from service.domain.event import DEFAULT_CALLBACK_EVENTS, EventType
from service.storage.database import Database, UnitOfWork
from service.storage.outbox import News
from service.storage.tables import Delivery, Event, Tenant
from tests.storage.interleaving import read_elsewhere, uncommitted, wait_for_a_blocked_transaction
from tests.storage.sending import Heard, adds, claim, to_an_endpoint, to_endpoint
from tests.support.rows import (
    NOW,
    a_callback,
    a_tenant,
    a_training,
    an_endpoint,
    an_event,
    store,
    stored,
    stored_one,
)

SECOND = timedelta(seconds=1)


async def add(database: Database, event: Event) -> None:
    await database.transaction(adds(event))


class TestCallbacks:
    async def test_a_delivery_is_made_for_each_that_hears_of_the_type(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            a_training(),
            a_callback("cbk_all"),
            a_callback("cbk_ready", events=[EventType.READY]),
            a_callback("cbk_deleted", events=[EventType.DELETED]),
            a_callback("cbk_none", events=[]),
        )
        await add(database, an_event(type=EventType.READY))
        assert {delivery.callback_id for delivery in await stored(database, Delivery)} == {"cbk_all", "cbk_ready"}

    async def test_none_is_made_for_one_that_has_ended(self, database: Database) -> None:
        await store(
            database, a_tenant(), a_training(), a_callback("cbk_1"), a_callback("cbk_ended", ended_at=NOW - SECOND)
        )
        await add(database, an_event())
        assert (await stored_one(database, Delivery)).callback_id == "cbk_1"

    async def test_none_is_made_for_another_trainings(self, database: Database) -> None:
        await store(database, a_tenant(), a_training(), a_training("trn_2"), a_callback("cbk_2", training="trn_2"))
        await add(database, an_event())
        assert (await stored_one(database, Event)).id == "evt_1"
        assert await stored(database, Delivery) == []

    async def test_every_end_but_a_cancellation_is_heard_of_by_default(self, database: Database) -> None:
        await store(database, a_tenant(), a_training(), a_callback(events=DEFAULT_CALLBACK_EVENTS))
        await add(database, an_event("evt_1", type=EventType.STARTED, sequence=1))
        await add(database, an_event("evt_2", type=EventType.CANCELLED, sequence=2))
        assert await stored(database, Delivery) == []

    async def test_a_delivery_is_due_at_once_and_knows_its_event(self, database: Database) -> None:
        await store(database, a_tenant(), a_training(), a_callback())
        await add(database, an_event("evt_1", type=EventType.FAILED, sequence=7))
        delivery = await stored_one(database, Delivery)
        assert delivery.id.startswith("dlv_")
        assert delivery.model_dump(exclude={"id"}) == {
            "tenant_id": "ten_a",
            "event_id": "evt_1",
            "training_id": "trn_1",
            "callback_id": "cbk_1",
            "endpoint_id": None,
            "event_type": "training.failed",
            "sequence": 7,
            "host": "receiver.example:443",
            "status": "pending",
            "attempts_made": 0,
            "attempts_started": 0,
            "created_at": NOW,
            "finished_at": None,
            "due_at": NOW,
            "give_up_at": NOW + timedelta(days=5),
            "fence": 0,
        }


class TestEndpoints:
    async def test_a_delivery_is_made_for_each_that_subscribes_to_the_type(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            a_training(),
            a_callback(),
            an_endpoint("whe_all", url="https://all.example:8443/hook"),
            an_endpoint("whe_ready", events=[EventType.READY]),
            an_endpoint("whe_deleted", events=[EventType.DELETED]),
        )
        await add(database, an_event())
        made = await stored(database, Delivery)
        assert {(one.callback_id, one.endpoint_id, one.host) for one in made} == {
            ("cbk_1", None, "receiver.example:443"),
            (None, "whe_all", "all.example:8443"),
            (None, "whe_ready", "receiver.example:443"),
        }
        assert {(one.status, one.due_at, one.training_id) for one in made} == {("pending", NOW, "trn_1")}

    async def test_what_is_for_a_paused_one_waits_for_its_return(self, database: Database) -> None:
        await store(database, a_tenant(), a_training(), an_endpoint(status=EndpointStatus.PAUSED))
        await add(database, an_event())
        delivery = await stored_one(database, Delivery)
        assert (delivery.status, delivery.due_at, delivery.endpoint_id) == ("pending", None, "whe_1")
        assert await claim(database, now=NOW + timedelta(days=365)) == {}

    @pytest.mark.parametrize(
        "endpoint",
        [
            {"status": EndpointStatus.DISABLED},
            {"deleted_at": NOW - SECOND},
            {"tenant": "ten_b"},
            {"events": [EventType.DELETED]},
            {"status": EndpointStatus.PAUSED, "events": [EventType.DELETED]},
        ],
        ids=["disabled", "deleted", "another tenant's", "of another type", "paused and of another type"],
    )
    async def test_none_is_made_for_one_that(self, database: Database, endpoint: dict[str, object]) -> None:
        await store(database, a_tenant(), a_tenant("ten_b"), a_training(), an_endpoint(**endpoint))  # type: ignore[arg-type]
        await add(database, an_event())
        assert await stored(database, Delivery) == []

    async def test_an_event_may_belong_to_no_training(self, database: Database) -> None:
        await store(database, a_tenant(), an_endpoint())
        event = an_event(type=EventType.ENDPOINT_DISABLED, sequence=0)
        event.training_id = None
        await add(database, event)
        delivery = await stored_one(database, Delivery)
        assert (delivery.training_id, delivery.endpoint_id, delivery.event_type) == (
            None,
            "whe_1",
            "webhook_endpoint.disabled",
        )
        [due] = (await claim(database)).values()
        assert (due.training_id, due.target.id) == (None, "whe_1")

    async def test_one_that_is_being_paused_is_waited_for(self, postgres: Database, postgres_url: str) -> None:
        """Else its delivery would be due, though everything else for it is held."""
        await store(postgres, a_tenant(), a_training(), an_endpoint())

        def pause(unit: UnitOfWork) -> None:
            assert unit.endpoints.get("ten_a", "whe_1", hold=True)
            unit.endpoints.change("whe_1", {"status": EndpointStatus.PAUSED})
            unit.deliveries.hold("whe_1")

        async with uncommitted(postgres_url, pause):
            adding = asyncio.create_task(add(postgres, an_event()))
            await wait_for_a_blocked_transaction(postgres)
        await adding
        assert (await stored_one(postgres, Delivery)).due_at is None


class TestPositions:
    async def positions(self, database: Database) -> dict[str, list[tuple[int, str]]]:
        """`(position, id)` of each tenant's events, in order."""
        found: dict[str, list[tuple[int, str]]] = {}
        for event in await stored(database, Event):
            found.setdefault(event.tenant_id, []).append((event.position, event.id))
        return {tenant: sorted(events) for tenant, events in found.items()}

    async def test_each_tenants_events_are_numbered_from_one(self, database: Database) -> None:
        await store(database, a_tenant("ten_a"), a_tenant("ten_b"), a_training(), a_training("trn_b", tenant="ten_b"))
        # Ids don't matter: the commits do.
        await add(database, an_event("evt_9", sequence=1))
        await add(database, an_event("evt_b", tenant="ten_b", training="trn_b", sequence=1))
        await add(database, an_event("evt_1", type=EventType.STARTED, sequence=2))
        assert await self.positions(database) == {"ten_a": [(1, "evt_9"), (2, "evt_1")], "ten_b": [(1, "evt_b")]}
        assert [tenant.event_position for tenant in await stored(database, Tenant)] == [2, 1]

    async def test_a_number_is_not_used_up_by_what_is_rolled_back(self, database: Database) -> None:
        await store(database, a_tenant(), a_training())

        def fails(unit: UnitOfWork) -> None:
            adds(an_event("evt_lost"))(unit)
            raise Mishap

        with pytest.raises(Mishap):
            await database.transaction(fails)
        await add(database, an_event("evt_1"))
        assert await self.positions(database) == {"ten_a": [(1, "evt_1")]}

    async def test_many_at_once_leave_no_gap(self, database: Database) -> None:
        await store(database, a_tenant(), *(a_training(f"trn_{number}") for number in range(30)))
        await asyncio.gather(
            *(add(database, an_event(f"evt_{number:02}", training=f"trn_{number}")) for number in range(30))
        )
        numbered = (await self.positions(database))["ten_a"]
        assert [position for position, _ in numbered] == list(range(1, 31))
        assert (await stored_one(database, Tenant)).event_position == 30

    async def test_who_comes_second_waits_for_the_first_to_commit(self, postgres: Database, postgres_url: str) -> None:
        """So that a reader who has seen a position has seen all before it."""
        await store(postgres, a_tenant(), a_training("trn_1"), a_training("trn_2"))
        async with uncommitted(postgres_url, adds(an_event("evt_slow", training="trn_1"))):
            second = asyncio.create_task(add(postgres, an_event("evt_quick", training="trn_2")))
            await wait_for_a_blocked_transaction(postgres)
            assert read_elsewhere(postgres_url, lambda unit: unit.events.after("ten_a", 0, limit=9)) == []
        await second
        assert await self.positions(postgres) == {"ten_a": [(1, "evt_slow"), (2, "evt_quick")]}

    async def test_another_tenant_waits_for_nobody(self, postgres: Database, postgres_url: str) -> None:
        await store(postgres, a_tenant("ten_a"), a_tenant("ten_b"), a_training(), a_training("trn_b", tenant="ten_b"))
        async with uncommitted(postgres_url, adds(an_event("evt_slow"))):
            await add(postgres, an_event("evt_b", tenant="ten_b", training="trn_b"))
        assert await self.positions(postgres) == {"ten_a": [(1, "evt_slow")], "ten_b": [(1, "evt_b")]}


class TestNews:
    async def test_of_an_event_with_deliveries(self, database: Database) -> None:
        await store(database, a_tenant(), a_training(), a_callback(), an_endpoint())
        heard = Heard(database)
        await add(database, an_event())
        assert heard.news == [News(to_send=True, tenants={"ten_a"})]

    @pytest.mark.parametrize("status", [None, EndpointStatus.PAUSED, EndpointStatus.DISABLED])
    async def test_of_an_event_that_nobody_is_sent_now(self, database: Database, status: EndpointStatus | None) -> None:
        await store(database, a_tenant(), a_training(), *([an_endpoint(status=status)] if status else []))
        heard = Heard(database)
        await add(database, an_event())
        assert heard.news == [News(to_send=False, tenants={"ten_a"})]

    async def test_of_several_tenants_is_told_once(self, database: Database) -> None:
        await store(
            database,
            a_tenant("ten_a"),
            a_tenant("ten_b"),
            a_training(),
            a_callback(),
            a_training("trn_b", tenant="ten_b"),
        )
        heard = Heard(database)

        def both(unit: UnitOfWork) -> None:
            adds(an_event())(unit)
            adds(an_event("evt_b", tenant="ten_b", training="trn_b"))(unit)

        await database.transaction(both)
        assert heard.news == [News(to_send=True, tenants={"ten_a", "ten_b"})]

    async def test_a_rollback_is_none(self, database: Database) -> None:
        await store(database, a_tenant(), a_training(), a_callback())
        heard = Heard(database)

        def fails(unit: UnitOfWork) -> None:
            adds(an_event())(unit)
            raise Mishap

        with pytest.raises(Mishap):
            await database.transaction(fails)
        assert heard.news == []

    async def test_what_is_released_or_resent_is_to_be_sent(self, database: Database) -> None:
        await to_an_endpoint(database, to_endpoint("dlv_1", status=DeliveryStatus.DEAD))
        heard = Heard(database)
        await database.transaction(lambda unit: unit.deliveries.hold("whe_1"))
        await database.transaction(lambda unit: unit.deliveries.bury("whe_1", now=NOW))
        assert heard.news == []
        await database.transaction(lambda unit: unit.deliveries.release("whe_1", now=NOW))
        await database.transaction(lambda unit: unit.deliveries.resend("dlv_1", now=NOW))
        assert heard.news == [News(to_send=True), News(to_send=True)]


class Mishap(Exception):
    pass
