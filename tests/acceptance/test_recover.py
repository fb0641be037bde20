"""What failed during a receiver's outage is sent again as one job, with which a gateway that was killed goes on."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import SQLModel

from service.domain import ids
from service.domain.delivery import DeliveryStatus
from service.domain.egress import host_of
from service.domain.event import EventType, event_body
from service.domain.training import Status
from service.storage.database import Database
from tests.acceptance.history import Row, rows
from tests.acceptance.load import say
from tests.acceptance.stack import Stack
from tests.support.rows import a_delivery, a_training, an_event, store
from tests.support.waiting import wait_until_sync

# In flight to one host (the default of GATEWAY_DELIVERIES_PER_HOST): what a kill may have sent twice.
_SLOTS = 8
_REALLY_FAILED = 3
_DEAD = 1200
_WAITING = 20
_KILLS = 2


@pytest.mark.timeout(300)
def test_killed_in_the_middle_of_the_job_every_failed_delivery_is_sent_and_none_is_skipped(stack: Stack) -> None:
    endpoint = failing_endpoint(stack)
    assert stack.gateway.end() == 0
    since = datetime.now(UTC) - timedelta(hours=3)
    failed = prepare(stack, endpoint, since)
    repair_receiver(stack)
    stack.start_gateway()
    recover = f"{endpoint['urls']['self']}/recover"
    span = {"since": since.isoformat()}
    counted = stack.api.post(recover, json={**span, "dry_run": True})
    assert (counted.status_code, counted.json()) == (200, {"total": len(failed)})
    assert stack.received() == [], "a count has sent something"

    job = stack.api.post(recover, json=span)
    assert (job.status_code, job.json()["total"], job.json()["resent"]) == (202, len(failed), 0)
    kills = kill_while_it_resends(stack)
    wait_until_sync(lambda: job_of(stack)["finished_at"], what="the job to be done", timeout=60)
    wait_until_sync(lambda: undelivered(stack) == 0, what="everything to be delivered", timeout=120)

    shown = stack.api.get(job.json()["urls"]["self"]).json()
    assert (shown["status"], shown["resent"]) == ("done", len(failed))
    received = Counter(webhook["webhook_id"] for webhook in stack.received())
    assert received.keys() == failed, "another webhook-id, or one that had not failed"
    assert all(webhook["verified"] for webhook in stack.received())
    copies = received.total() - len(failed)
    assert copies <= _KILLS * _SLOTS
    say(f"{len(failed)} failed deliveries sent again, {kills} kills amid the job, {copies} extra copies")


def failing_endpoint(stack: Stack) -> dict[str, Any]:
    """A webhook endpoint whose receiver refuses everything, with a few deliveries that have really failed."""
    stack.start_gateway(GATEWAY_RETRY_SCHEDULE="0,0.2")
    made = stack.api.post("/v1/webhook-endpoints", json={"url": stack.hook, "events": ["training.ready"]})
    endpoint: dict[str, Any] = made.raise_for_status().json()
    stack.sink.put("/_control/secrets", json={"default": endpoint["secret"]}).raise_for_status()
    stack.break_receiver(kind="status", status=500, times=None)
    for model in stack.models(_REALLY_FAILED):
        stack.api.post("/v1/trainings", json={"model_id": model}).raise_for_status()
    dead = {"endpoint_id": endpoint["id"], "status": "dead"}
    wait_until_sync(
        lambda: len(stack.api.get("/v1/deliveries", params=dead).json()["data"]) == _REALLY_FAILED,
        what="the deliveries to be given up",
        timeout=60,
    )
    return endpoint


def prepare(stack: Stack, endpoint: dict[str, Any], since: datetime) -> set[str]:
    """As after a long outage: many more that were given up, some that wait, and some that are no business of the job.

    Returns the ids of the events whose deliveries have failed since then, the real ones included.
    """
    really_failed = {row["event_id"] for row in rows(stack.database, "SELECT event_id FROM deliveries")}
    [tenant] = rows(stack.database, "SELECT id, event_position FROM tenants")
    made = Outage(tenant["id"], tenant["event_position"], endpoint)
    dead, waiting = [DeliveryStatus.DEAD] * _DEAD, [DeliveryStatus.PENDING] * _WAITING
    failed = [made.delivery(since + timedelta(seconds=number), status) for number, status in enumerate(dead + waiting)]
    for number in range(20):
        made.delivery(since + timedelta(seconds=number), DeliveryStatus.DELIVERED)
        made.delivery(since - timedelta(seconds=1 + number), DeliveryStatus.DEAD)
    asyncio.run(stored(stack, made.rows, made.position))
    return {*really_failed, *failed}


class Outage:
    """Rows as the gateway writes them, each event of a training of its own."""

    def __init__(self, tenant: str, position: int, endpoint: dict[str, Any]) -> None:
        self.rows: list[SQLModel] = []
        self.position = position
        self._tenant = tenant
        self._endpoint = endpoint
        self._rng = random.Random(1)

    def delivery(self, at: datetime, status: DeliveryStatus) -> str:
        """One of that status for an event of that time. The event's id."""
        self.position += 1
        training, event, delivery = (
            ids.new_id(kind, at, self._rng) for kind in (ids.TRAINING, ids.EVENT, ids.DELIVERY)
        )
        waits_until = datetime.now(UTC) + timedelta(hours=1)
        new = (
            a_training(training, tenant=self._tenant, status=Status.READY),
            an_event(event, training=training, tenant=self._tenant, position=self.position),
            a_delivery(
                delivery,
                event=event,
                training=training,
                tenant=self._tenant,
                endpoint=self._endpoint["id"],
                host=host_of(self._endpoint["url"]),
                status=status,
                due_at=waits_until,
            ),
        )
        self.rows += self._dated(new, at)
        return event

    def _dated(self, new: tuple[Any, Any, Any], at: datetime) -> Iterator[SQLModel]:
        """Old rows would be pruned."""
        training, event, delivery = new
        training.created_at = training.triggered_at = training.finished_at = at
        event.created_at = delivery.created_at = at
        event.body = event_body(EventType.READY, at, {"id": training.id})
        delivery.attempts_made = delivery.attempts_started = 1
        delivery.finished_at = delivery.finished_at and at
        delivery.give_up_at = at + timedelta(days=5)
        yield from new


async def stored(stack: Stack, made: list[SQLModel], position: int) -> None:
    database = Database(f"sqlite:///{stack.database}")
    await store(database, *made)
    await database.transaction(
        lambda unit: unit.session.connection().exec_driver_sql(f"UPDATE tenants SET event_position = {position}")
    )
    await database.close()


def repair_receiver(stack: Stack) -> None:
    stack.sink.delete("/_control/faults").raise_for_status()
    stack.sink.delete("/_control/received").raise_for_status()


def kill_while_it_resends(stack: Stack) -> int:
    """A kill -9 as soon as the job has come some way, and again. How often that was amid the job."""
    come, amid = 0, 0

    def has_got_on() -> bool:
        return bool(job_of(stack)["resent"] > come)

    for _ in range(_KILLS):
        wait_until_sync(has_got_on, what="the job to get on", timeout=30)
        stack.kill_gateway()
        job = job_of(stack)
        stack.start_gateway()
        if job["finished_at"] is not None:
            break
        come, amid = job["resent"], amid + 1
    assert amid, "the job was done before it could be killed"
    return amid


def job_of(stack: Stack) -> Row:
    [job] = rows(stack.database, "SELECT * FROM recoveries")
    return job


def undelivered(stack: Stack) -> int:
    [found] = rows(stack.database, "SELECT count(*) AS pending FROM deliveries WHERE status = 'pending'")
    return int(found["pending"])
