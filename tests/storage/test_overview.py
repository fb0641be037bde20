"""What operators see of the database: all tenants' rows, a page at a time, and the hosts that webhooks do not reach."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlmodel import SQLModel

from service.domain import ids
from service.domain.delivery import DeliveryStatus
from service.domain.training import Status
from service.storage import overview
from service.storage.database import Database
from service.storage.overview import DeliverySearch, Sent, TrainingSearch, Window
from service.storage.tables import Attempt, Delivery, Training, WebhookEndpoint
from tests.support.rows import NOW, a_callback, a_delivery, a_tenant, a_training, an_endpoint, an_event, store

OTHER = "ten_b"
DEAD, PENDING, DELIVERED = DeliveryStatus.DEAD, DeliveryStatus.PENDING, DeliveryStatus.DELIVERED
SECOND = timedelta(seconds=1)


def names(found: Window[Training] | Window[Delivery] | Window[WebhookEndpoint]) -> list[str]:
    return [row.id for row in found.rows]


async def trainings(
    database: Database, asked: TrainingSearch, *, before: str | None = None, limit: int = 50
) -> Window[Training]:
    return await database.read(lambda unit: unit.overview.trainings(asked, before=before, limit=limit))


async def deliveries(
    database: Database, asked: DeliverySearch, *, before: str | None = None, limit: int = 50
) -> Window[Delivery]:
    return await database.read(lambda unit: unit.overview.deliveries(asked, before=before, limit=limit))


# --- trainings --------------------------------------------------------------------------------------------------------


async def some_trainings(database: Database) -> None:
    late, suspended = a_training("trn_2"), a_training("trn_3", tenant=OTHER, suspended=True)
    late.overdue = True
    await store(
        database,
        a_tenant(),
        a_tenant(OTHER),
        a_training("trn_1", status=Status.READY),
        late,
        suspended,
        a_training("trn_4", tenant=OTHER, status=Status.FAILED),
        a_training("trn_5", model="m"),
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (TrainingSearch(), ["trn_5", "trn_4", "trn_3", "trn_2", "trn_1"]),
        (TrainingSearch(tenant_id="ten_b"), ["trn_4", "trn_3"]),
        (TrainingSearch(status="ready"), ["trn_1"]),
        (TrainingSearch(status="active"), ["trn_5", "trn_3", "trn_2"]),
        (TrainingSearch(status="overdue"), ["trn_2"]),
        (TrainingSearch(status="suspended"), ["trn_3"]),
        (TrainingSearch(status="suspended", tenant_id="ten_a"), []),
        (TrainingSearch(model_id="m"), ["trn_5"]),
        (TrainingSearch(status="ready", model_id="m"), []),
    ],
)
async def test_trainings_of_all_tenants_are_listed_and_filtered(
    database: Database, asked: TrainingSearch, found: list[str]
) -> None:
    await some_trainings(database)
    window = await trainings(database, asked)
    assert (names(window), window.older) == (found, None)


@pytest.mark.parametrize("asked", [TrainingSearch(), TrainingSearch(status="training")])
async def test_a_list_goes_on_where_its_page_ended(database: Database, asked: TrainingSearch) -> None:
    await store(database, a_tenant(), *(a_training(f"trn_{number}") for number in range(1, 6)))
    first = await trainings(database, asked, limit=2)
    assert (names(first), first.older) == (["trn_5", "trn_4"], "trn_4")
    second = await trainings(database, asked, before=first.older, limit=2)
    assert (names(second), second.older) == (["trn_3", "trn_2"], "trn_2")
    last = await trainings(database, asked, before=second.older, limit=2)
    assert (names(last), last.older) == (["trn_1"], None)


async def test_a_filter_that_fits_few_looks_at_so_many_and_says_where_it_stopped(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "WINDOW", 3)
    await store(
        database,
        a_tenant(),
        a_training("trn_1", status=Status.READY),
        *(a_training(f"trn_{number}") for number in range(2, 8)),
    )
    asked = TrainingSearch(status="ready")
    first = await trainings(database, asked)
    assert (names(first), first.older) == ([], "trn_5")
    second = await trainings(database, asked, before=first.older)
    assert (names(second), second.older) == ([], "trn_2")
    last = await trainings(database, asked, before=second.older)
    assert (names(last), last.older) == (["trn_1"], None)


async def test_active_trainings_are_those_of_everybody_that_have_not_ended(database: Database) -> None:
    await some_trainings(database)
    active = await database.read(lambda unit: unit.overview.active())
    assert sorted(row.id for row in active) == ["trn_2", "trn_3", "trn_5"]


# --- deliveries -------------------------------------------------------------------------------------------------------


def tried(delivery: Delivery, times: int = 1) -> Delivery:
    delivery.attempts_made = delivery.attempts_started = times
    return delivery


def an_attempt(delivery: str, number: int = 1, *, after: timedelta = timedelta(0)) -> Attempt:
    return Attempt(
        id=f"att_{delivery}_{number}", delivery_id=delivery, number=number, started_at=NOW + after, duration_ms=5,
        status_code=500, error_class="http_5xx",
    )  # fmt: skip


def dlv(number: int, days_ago: float = 0) -> str:
    """An id that was made then."""
    return f"{ids.first_id(ids.DELIVERY, NOW - timedelta(days=days_ago))[:-2]}{number:02d}"


async def sent(database: Database, *rows: SQLModel) -> None:
    """`rows`, with all that deliveries need: an event for each place there may be."""
    events = [an_event(f"evt_{number}", sequence=number, position=number) for number in range(1, 10)]
    for event in events[1:]:
        event.type, event.terminal = "training.started", False
    callbacks = [a_callback(), a_callback("cbk_2")]
    endpoints = [an_endpoint(), an_endpoint("whe_2", deleted_at=NOW)]
    await store(database, a_tenant(), a_tenant(OTHER), a_training(), *events, *callbacks, *endpoints, *rows)


async def some_deliveries(database: Database) -> None:
    await sent(
        database,
        tried(a_delivery("dlv_1", event="evt_1", status=DEAD)),
        tried(a_delivery("dlv_2", event="evt_2", host="other.example:443"), 3),
        a_delivery("dlv_3", event="evt_3"),
        tried(a_delivery("dlv_4", event="evt_4", status=DELIVERED, tenant=OTHER)),
        tried(a_delivery("dlv_5", event="evt_5", endpoint="whe_1", status=DEAD)),
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (DeliverySearch(), [5, 4, 3, 2, 1]),
        (DeliverySearch(status="failing"), [5, 2, 1]),
        (DeliverySearch(status="dead"), [5, 1]),
        (DeliverySearch(status="pending"), [3, 2]),
        (DeliverySearch(status="failing", host="other.example:443"), [2]),
        (DeliverySearch(status="dead", host="other.example:443"), []),
        (DeliverySearch(host="other.example:443"), [2]),
        (DeliverySearch(tenant_id=OTHER), [4]),
        (DeliverySearch(tenant_id=OTHER, status="dead"), []),
        (DeliverySearch(tenant_id=OTHER, host="receiver.example:443"), [4]),
        (DeliverySearch(endpoint_id="whe_1"), [5]),
        (DeliverySearch(endpoint_id="whe_1", status="pending"), []),
        (DeliverySearch(training_id="trn_1", status="delivered"), [4]),
        (DeliverySearch(training_id="trn_1", endpoint_id="whe_1", host="receiver.example:443"), [5]),
    ],
)
async def test_deliveries_of_all_tenants_are_listed_and_filtered(
    database: Database, asked: DeliverySearch, found: list[int]
) -> None:
    await some_deliveries(database)
    assert names(await deliveries(database, asked)) == [f"dlv_{number}" for number in found]


async def test_hosts_where_nothing_arrives_are_named_with_how_much_and_the_newest(database: Database) -> None:
    await sent(
        database,
        tried(a_delivery(dlv(1), event="evt_1", host="a.example:443", status=DEAD)),
        tried(a_delivery(dlv(2), event="evt_2", host="a.example:443"), 2),
        tried(a_delivery(dlv(3), event="evt_3", host="a.example:443", status=DELIVERED)),
        a_delivery(dlv(4), event="evt_4", host="new.example:443"),
        tried(a_delivery(dlv(5), event="evt_5", host="fine.example:443", status=DELIVERED)),
        tried(a_delivery(dlv(6, days_ago=9), event="evt_6", host="long-ago.example:443", status=DEAD)),
        tried(a_delivery(dlv(7), event="evt_7", host="z.example:443", status=DEAD)),
    )
    since = NOW - timedelta(days=5)
    hosts, more = await database.read(lambda unit: unit.overview.failing_hosts(since=since))
    told = [(host.host, host.retrying, host.dead, host.newest.id) for host in hosts]
    assert (told, more) == ([("a.example:443", 1, 1, dlv(2)), ("z.example:443", 0, 1, dlv(7))], False)


async def test_there_may_be_more_hosts_than_are_looked_at(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "_MOST_HOSTS", 1)
    monkeypatch.setattr(overview, "MOST_COUNTED", 1)
    await sent(
        database,
        *(
            tried(a_delivery(dlv(number), event=f"evt_{number}", host=host, status=DEAD))
            for number, host in enumerate(("a.example:443", "a.example:443", "b.example:443"), start=1)
        ),
    )
    hosts, more = await database.read(lambda unit: unit.overview.failing_hosts(since=NOW - timedelta(days=5)))
    assert ([host.host for host in hosts], hosts[0].more, more) == (["a.example:443"], True, True)


async def test_the_last_attempt_of_each(database: Database) -> None:
    await some_deliveries(database)
    await store(database, an_attempt("dlv_1"), an_attempt("dlv_1", 2), an_attempt("dlv_2"))
    found = await database.read(lambda unit: unit.overview.last_attempts(["dlv_1", "dlv_2", "dlv_3"]))
    assert {delivery: attempt.number for delivery, attempt in found.items()} == {"dlv_1": 2, "dlv_2": 1}


async def test_how_soon_the_newest_arrived(database: Database) -> None:
    arrived = tried(a_delivery("dlv_1", event="evt_1", status=DELIVERED))
    arrived.finished_at = NOW + 3 * SECOND
    await sent(
        database, arrived, tried(a_delivery("dlv_2", event="evt_2", status=DEAD)), a_delivery("dlv_3", event="evt_3")
    )
    await store(database, an_attempt("dlv_1", after=SECOND), an_attempt("dlv_1", 2), an_attempt("dlv_2"))
    found: Sequence[Sent] = await database.read(lambda unit: unit.overview.lately_sent(limit=10))
    assert sorted(found, key=lambda one: one.began_at or NOW) == [
        Sent(NOW, NOW, None),
        Sent(NOW, NOW + SECOND, NOW + 3 * SECOND),
    ]


async def test_the_story_of_a_training_is_read_in_order(database: Database) -> None:
    await some_deliveries(database)
    await store(database, an_attempt("dlv_2", 2), an_attempt("dlv_2"))
    events = await database.read(lambda unit: unit.overview.events_of("trn_1"))
    assert [event.sequence for event in events] == list(range(1, 10))
    found = await database.read(lambda unit: unit.overview.deliveries_of("trn_1"))
    assert [delivery.id for delivery in found] == [f"dlv_{number}" for number in range(1, 6)]
    attempts = await database.read(lambda unit: unit.overview.attempts_of(["dlv_2"]))
    assert [attempt.number for attempt in attempts] == [1, 2]
    of_event = await database.read(lambda unit: unit.overview.deliveries_of_event("evt_2"))
    assert [delivery.id for delivery in of_event] == ["dlv_2"]
    models = await database.read(lambda unit: unit.overview.models_of(["trn_1"]))
    assert models == {"trn_1": "model_of_trn_1"}


async def test_endpoints_of_all_tenants_but_the_deleted_ones(database: Database) -> None:
    await sent(database, an_endpoint("whe_3", tenant=OTHER))
    everybodys = await database.read(lambda unit: unit.overview.endpoints(tenant_id=None, before=None, limit=50))
    assert names(everybodys) == ["whe_3", "whe_1"]
    one = await database.read(lambda unit: unit.overview.endpoints(tenant_id=OTHER, before=None, limit=50))
    assert names(one) == ["whe_3"]
