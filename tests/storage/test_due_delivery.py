"""What a worker gets of a claimed delivery: the stored bytes, where they go, and all that signs them at that time."""

from datetime import datetime, timedelta

import pytest

from service.domain.delivery import DeliveryStatus
from service.storage.database import Database
from service.storage.due_delivery import DueDelivery, Target, current_secrets
from service.storage.tables import Attempt, Delivery
from tests.storage.sending import FAILED, RETRY, claim, one_delivery, record, to_an_endpoint, to_endpoint
from tests.support.rows import (
    LEASE,
    NOW,
    a_callback,
    a_delivery,
    a_tenant,
    a_training,
    an_endpoint,
    an_event,
    store,
    stored_one,
)

MOMENT = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
BODY = bytes(range(256))


async def test_all_that_sending_to_a_callback_needs(database: Database) -> None:
    event = an_event()
    event.body = BODY
    callback = a_callback(url="https://receiver.example/hook?token=x", sealed_secret=b"own")
    callback.sealed_headers = b"headers"
    await store(database, a_tenant(), a_training(), callback, event, a_delivery())
    due = (await claim(database))["dlv_1"]
    attempt = await stored_one(database, Attempt)
    assert due == DueDelivery(
        id="dlv_1",
        fence=1,
        attempt_id=attempt.id,
        attempts_made=0,
        is_retry=False,
        event_id="evt_1",
        training_id="trn_1",
        tenant_id="ten_a",
        host="receiver.example:443",
        body=BODY,
        target=Target(
            id="cbk_1",
            url="https://receiver.example/hook?token=x",
            sealed_secrets=(b"own",),
            sealed_headers=b"headers",
            is_endpoint=False,
        ),
        sealed_tenant_secrets=(b"sealed secret of ten_a",),
        schedule=None,
    )


async def test_all_that_sending_to_an_endpoint_needs(database: Database) -> None:
    endpoint = an_endpoint(url="https://receiver.example:8443/hook")
    endpoint.sealed_headers = b"headers"
    endpoint.retry_schedule = [0.0, 1.5, 60.0]
    event = an_event()
    event.body = BODY
    await store(
        database, a_tenant(), a_training(), endpoint, event, a_delivery(endpoint="whe_1", host="receiver.example:8443")
    )
    due = (await claim(database))["dlv_1"]
    assert (due.body, due.host, due.schedule) == (BODY, "receiver.example:8443", (0.0, 1.5, 60.0))
    assert due.target == Target(
        id="whe_1",
        url="https://receiver.example:8443/hook",
        sealed_secrets=(b"sealed secret of whe_1",),
        sealed_headers=b"headers",
        is_endpoint=True,
    )


async def test_an_endpoint_without_a_schedule_of_its_own_has_none(database: Database) -> None:
    await to_an_endpoint(database, to_endpoint("dlv_1"))
    assert (await claim(database))["dlv_1"].schedule is None


async def test_each_delivery_gets_its_own_tenants_secret_and_its_own_target(database: Database) -> None:
    await one_delivery(database)
    await store(
        database,
        a_tenant("ten_b"),
        a_training("trn_b", tenant="ten_b"),
        a_callback("cbk_b", tenant="ten_b", training="trn_b", sealed_secret=b"own"),
        an_endpoint("whe_b", tenant="ten_b"),
        an_event("evt_b", tenant="ten_b", training="trn_b"),
        a_delivery("dlv_b", event="evt_b", callback="cbk_b", tenant="ten_b", training="trn_b"),
        a_delivery("dlv_whe", event="evt_b", endpoint="whe_b", tenant="ten_b", training="trn_b"),
    )
    due = await claim(database)
    assert {key: (one.sealed_tenant_secrets, one.target.url, one.event_id) for key, one in due.items()} == {
        "dlv_1": ((b"sealed secret of ten_a",), "https://receiver.example/cbk_1", "evt_1"),
        "dlv_b": ((b"sealed secret of ten_b",), "https://receiver.example/cbk_b", "evt_b"),
        "dlv_whe": ((b"sealed secret of ten_b",), "https://receiver.example/whe_b", "evt_b"),
    }
    assert {key: one.target.sealed_secrets for key, one in due.items()} == {
        "dlv_1": (),
        "dlv_b": (b"own",),
        "dlv_whe": (b"sealed secret of whe_b",),
    }


async def test_the_start_of_an_attempt_is_noted(database: Database) -> None:
    await one_delivery(database)
    due = (await claim(database))["dlv_1"]
    attempt = await stored_one(database, Attempt)
    assert attempt.model_dump() == {
        "id": due.attempt_id,
        "delivery_id": "dlv_1",
        "number": 1,
        "started_at": NOW,
        "duration_ms": None,
        "status_code": None,
        "error_class": None,
        "excerpt": "",
    }
    assert (await stored_one(database, Delivery)).attempts_started == 1


async def test_whatever_was_started_before_is_a_retry(database: Database) -> None:
    await one_delivery(database)
    first = (await claim(database))["dlv_1"]
    after_a_crash = (await claim(database, now=NOW + LEASE))["dlv_1"]
    await record(database, after_a_crash, FAILED, RETRY, now=NOW + LEASE)
    third = (await claim(database, now=NOW + LEASE + timedelta(minutes=5)))["dlv_1"]
    assert [(due.is_retry, due.attempts_made) for due in (first, after_a_crash, third)] == [
        (False, 0),
        (True, 0),
        (True, 1),
    ]


class TestRotation:
    @pytest.mark.parametrize(
        ("now", "expected"),
        [
            (NOW, (b"new", b"old")),
            (NOW + HOUR - MOMENT, (b"new", b"old")),
            (NOW + HOUR, (b"new",)),
            (NOW + 2 * HOUR, (b"new",)),
        ],
    )
    async def test_the_previous_secret_signs_second_until_its_time_is_over(
        self, database: Database, now: datetime, expected: tuple[bytes, ...]
    ) -> None:
        tenant = a_tenant()
        tenant.sealed_signing_secret, tenant.sealed_previous_secret = b"new", b"old"
        tenant.previous_secret_until = NOW + HOUR
        endpoint = an_endpoint()
        endpoint.sealed_secret, endpoint.sealed_previous_secret = b"new", b"old"
        endpoint.previous_secret_until = NOW + HOUR
        await store(database, tenant, endpoint, a_training(), an_event(), a_delivery(endpoint="whe_1"))
        due = (await claim(database, now=now))["dlv_1"]
        assert due.target.sealed_secrets == expected
        assert due.sealed_tenant_secrets == expected

    async def test_a_rotation_of_one_is_none_of_the_other(self, database: Database) -> None:
        await to_an_endpoint(database, to_endpoint("dlv_1"))
        await database.transaction(lambda unit: unit.tenants.rotate_secret("ten_a", b"second", until=NOW + HOUR))
        due = (await claim(database))["dlv_1"]
        assert due.sealed_tenant_secrets == (b"second", b"sealed secret of ten_a")
        assert due.target.sealed_secrets == (b"sealed secret of whe_1",)

    async def test_without_an_overlap_the_previous_secret_is_gone_at_once(self, database: Database) -> None:
        await one_delivery(database)
        await database.transaction(lambda unit: unit.tenants.rotate_secret("ten_a", b"second", until=NOW + HOUR))
        await database.transaction(lambda unit: unit.tenants.rotate_secret("ten_a", b"third", until=None))
        assert (await claim(database))["dlv_1"].sealed_tenant_secrets == (b"third",)

    @pytest.mark.parametrize(
        ("previous", "until", "expected"),
        [
            (None, None, (b"new",)),
            (b"old", None, (b"new",)),
            (None, NOW + HOUR, (b"new",)),
            (b"old", NOW, (b"new",)),
            (b"old", NOW + MOMENT, (b"new", b"old")),
        ],
    )
    def test_what_signs_when(self, previous: bytes | None, until: datetime | None, expected: tuple[bytes, ...]) -> None:
        assert current_secrets(b"new", previous, until, NOW) == expected


async def test_what_has_ended_is_not_given_to_anybody(database: Database) -> None:
    await to_an_endpoint(database, *(to_endpoint(f"dlv_{status}", status=status) for status in DeliveryStatus))
    assert set(await claim(database, now=NOW + timedelta(days=365))) == {"dlv_pending"}
