"""`recover`: what failed at a webhook endpoint in a time is sent again, by a job that says how far it has come."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from service.storage.tables import IdempotencyKey, Recovery
from tests.support.endpoints import (
    PATH,
    another_training,
    changed,
    deleted,
    deliveries_to,
    endpoint_now,
    statuses,
    subscribed,
)
from tests.support.gateway import Gateway, World, drive
from tests.support.waiting import wait_until

BEGINNING = "2026-11-22T00:00:00Z"
ONE, TWO, THREE = (f"2026-11-22T{hour}:00:00Z" for hour in (13, 14, 15))
HOUR = 3600


async def recover(gateway: Gateway, endpoint: dict[str, Any], **body: Any) -> httpx.Response:
    key = {"idempotency-key": body.pop("key")} if "key" in body else {}
    return await gateway.http.post(f"{PATH}/{endpoint['id']}/recover", json={"since": BEGINNING, **body}, headers=key)


async def begun(gateway: Gateway, endpoint: dict[str, Any], **body: Any) -> dict[str, Any]:
    answer = await recover(gateway, endpoint, **body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"] == job["urls"]["self"]
    return job


async def work(gateway: Gateway) -> int:
    """Let the jobs that are there run to their ends; how many that was."""
    return await drive(gateway.components.loops.recoveries)


async def job_now(gateway: Gateway, job: dict[str, Any]) -> dict[str, Any]:
    answer = await gateway.http.get(job["urls"]["self"])
    assert answer.status_code == 200, answer.text
    now: dict[str, Any] = answer.json()
    return now


@pytest.fixture
async def endpoint(gateway: Gateway) -> dict[str, Any]:
    """One with a delivery that died at 12:00, 13:00 and 14:00 each; now it is 15:00."""
    endpoint = await subscribed(gateway, events=["training.started"], retry_schedule=[0])
    await gateway.receiver.fault("status", status=500, times=3)
    for number in (2, 3, 4):
        await another_training(gateway, f"model-{number}")
        assert await gateway.deliver() == 1
        gateway.advance(HOUR)
    return endpoint


# --- the job ---


async def test_all_that_failed_is_sent_again_with_the_same_ids(gateway: Gateway, endpoint: dict[str, Any]) -> None:
    job = await begun(gateway, endpoint)
    assert job == {
        "id": job["id"],
        "endpoint_id": endpoint["id"],
        "status": "running",
        "since": "2026-11-22T00:00:00.000Z",
        "until": "2026-11-22T15:00:00.000Z",
        "total": 3,
        "resent": 0,
        "created_at": "2026-11-22T15:00:00.000Z",
        "finished_at": None,
        "urls": {"self": f"{PATH}/{endpoint['id']}/recoveries/{job['id']}"},
    }
    assert await job_now(gateway, job) == job
    assert await gateway.deliver() == 0
    gateway.advance(1)
    assert await work(gateway) == 1
    done = {"status": "done", "resent": 3, "finished_at": "2026-11-22T15:00:01.000Z"}
    assert await job_now(gateway, job) == {**job, **done}
    assert await gateway.deliver() == 3
    assert await statuses(gateway, endpoint) == [("training.started", "delivered")] * 3
    receipts = await gateway.receiver.received()
    assert {(receipt.id, receipt.body) for receipt in receipts[:3]} == {
        (receipt.id, receipt.body) for receipt in receipts[3:]
    }
    # A job that is done is never begun again.
    assert await work(gateway) == 0
    assert await gateway.deliver() == 0


async def test_beforehand_it_is_counted(gateway: Gateway, endpoint: dict[str, Any]) -> None:
    answer = await recover(gateway, endpoint, dry_run=True)
    assert (answer.status_code, answer.json()) == (200, {"total": 3})
    assert await gateway.count(Recovery) == 0
    assert await work(gateway) == 0
    assert await gateway.deliver() == 0


@pytest.mark.parametrize(
    ("span", "total"),
    [
        ({"since": ONE}, 2),
        ({"since": "2026-11-22T13:00:00.001Z"}, 1),
        ({"since": "2026-11-22T14:00:00+01:00"}, 2),
        ({"until": ONE}, 1),
        ({"until": "2026-11-22T13:00:00.001Z"}, 2),
        ({"since": ONE, "until": TWO}, 1),
        ({"since": "1960-01-01T00:00:00Z"}, 3),
        ({"since": "0001-01-01T00:00:00+14:00"}, 3),
        ({"until": "9999-12-31T23:59:59-14:00"}, 3),
        ({"since": "2026-11-22T14:59:59.999Z"}, 0),
        ({"until": None}, 3),
    ],
)
async def test_the_span_is_from_since_on_and_before_until(
    gateway: Gateway, endpoint: dict[str, Any], span: dict[str, Any], total: int
) -> None:
    assert (await recover(gateway, endpoint, **span, dry_run=True)).json() == {"total": total}
    job = await begun(gateway, endpoint, **span)
    assert job["total"] == total
    assert await work(gateway) == 1
    assert (await job_now(gateway, job))["resent"] == total
    assert await gateway.deliver() == total


@pytest.mark.parametrize("dry_run", [False, True])
async def test_an_empty_span_is_refused(gateway: Gateway, endpoint: dict[str, Any], dry_run: bool) -> None:
    for since, until in ((THREE, None), ("2026-11-23T00:00:00Z", None), (ONE, ONE), (TWO, ONE)):
        answer = await recover(gateway, endpoint, since=since, until=until, dry_run=dry_run)
        assert (answer.status_code, answer.json()["code"]) == (422, "empty_span")
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/since"]
    assert await gateway.count(Recovery) == 0


async def test_what_failed_after_it_was_asked_for_is_left_alone(gateway: Gateway, endpoint: dict[str, Any]) -> None:
    await begun(gateway, endpoint, until="2099-01-01T00:00:00Z")
    gateway.advance(1)
    await gateway.receiver.fault("status", status=500)
    await another_training(gateway, "model-5")
    assert await gateway.deliver() == 1
    await work(gateway)
    assert await gateway.deliver() == 3
    assert await statuses(gateway, endpoint) == [("training.started", "delivered")] * 3 + [("training.started", "dead")]


# --- what is sent again ---


async def test_only_what_failed_at_this_endpoint_is(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, "a", events=["training.started"], retry_schedule=[0, 80_000])
    other = await subscribed(gateway, "b", events=["training.started"], retry_schedule=[0])
    await gateway.receiver.fault("status", name="a", status=500)
    await gateway.receiver.fault("status", name="b", status=500)
    waiting = await another_training(gateway, "model-2")
    assert await gateway.deliver() == 2
    delivered = await another_training(gateway, "model-3")
    assert await gateway.deliver() == 2
    new = await another_training(gateway, "model-4")
    gateway.advance(1)
    job = await begun(gateway, endpoint)
    assert job["total"] == 1
    await work(gateway)
    assert await gateway.deliver() == 3
    heard = {
        training["id"]: [row.answered for row in await gateway.receiver.received("a") if training["id"] in row.body]
        for training in (waiting, delivered, new)
    }
    assert list(heard.values()) == [[500, 204], [204], [204]]
    assert sorted(status for _, status in await statuses(gateway, other)) == ["dead", "delivered", "delivered"]


async def test_one_that_waits_goes_on_with_its_schedule(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, events=["training.started"], retry_schedule=[0, 1000])
    await gateway.receiver.fault("status", status=500, times=2)
    await another_training(gateway, "model-2")
    await gateway.deliver()
    gateway.advance(1)
    await begun(gateway, endpoint)
    await work(gateway)
    assert await gateway.deliver() == 1
    assert await statuses(gateway, endpoint) == [("training.started", "dead")]


async def test_one_that_is_being_sent_is_not_sent_beside(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, events=["training.started"], retry_schedule=[0, 5, 80_000])
    await gateway.receiver.fault("status", status=500)
    await gateway.receiver.fault("hang", seconds=1)
    await another_training(gateway, "model-2")
    await gateway.deliver()
    gateway.advance(6)
    attempt = asyncio.create_task(drive(gateway.components.loops.deliveries))
    await wait_until(lambda: gateway.receiver.clock.held, what="the attempt to be under way")
    job = await begun(gateway, endpoint)
    assert job["total"] == 0
    await work(gateway)
    gateway.receiver.clock.release()
    assert await attempt == 1
    assert (await job_now(gateway, job))["resent"] == 0
    [delivery] = await deliveries_to(gateway, endpoint)
    assert (delivery["status"], len(delivery["attempts"])) == ("pending", 2)
    assert await gateway.deliver() == 0


# --- the endpoint meanwhile ---


async def test_a_pause_holds_back_what_a_job_makes_due(gateway: Gateway, endpoint: dict[str, Any]) -> None:
    job = await begun(gateway, endpoint)
    await changed(gateway, endpoint, status="paused")
    await work(gateway)
    assert (await job_now(gateway, job))["resent"] == 3
    assert await gateway.deliver() == 0
    await changed(gateway, endpoint, status="active")
    assert await gateway.deliver() == 3


@pytest.mark.parametrize("how", ["deleted", "disabled"])
async def test_nothing_is_sent_again_where_nothing_may_be_sent(
    gateway: Gateway, endpoint: dict[str, Any], how: str
) -> None:
    job = await begun(gateway, endpoint)
    if how == "deleted":
        await deleted(gateway, endpoint)
    else:
        await gateway.receiver.fault("status", status=410)
        await another_training(gateway, "model-5")
        await gateway.deliver()
        assert (await endpoint_now(gateway, endpoint))["status"] == "disabled"
    assert await work(gateway) == 1
    shown = await job_now(gateway, job)
    assert (shown["status"], shown["resent"]) == ("done", 0)
    assert {status for _, status in await statuses(gateway, endpoint)} == {"dead"}
    assert await work(gateway) == 0


@pytest.mark.parametrize("dry_run", [False, True])
async def test_for_a_paused_endpoint_it_is_only_counted(
    gateway: Gateway, endpoint: dict[str, Any], dry_run: bool
) -> None:
    await changed(gateway, endpoint, status="paused")
    answer = await recover(gateway, endpoint, dry_run=dry_run)
    assert answer.json().get("total") == (3 if dry_run else None)
    assert answer.json().get("code") == (None if dry_run else "endpoint_inactive")
    assert answer.status_code == (200 if dry_run else 409)


# --- once ---


async def test_the_same_request_begins_one_job(gateway: Gateway, endpoint: dict[str, Any]) -> None:
    job = await begun(gateway, endpoint, key="key-1")
    await work(gateway)
    gateway.advance(10)
    assert await begun(gateway, endpoint, key="key-1") == await job_now(gateway, job)
    assert await gateway.count(Recovery) == 1
    other = await recover(gateway, endpoint, key="key-1", since=ONE)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    another = await subscribed(gateway, "another")
    assert (await recover(gateway, another, key="key-1")).json()["code"] == "idempotency_key_reused"
    assert await gateway.count(IdempotencyKey) == 1
    assert (await begun(gateway, endpoint))["id"] != job["id"]


@pytest.mark.parametrize("recovery_id", ["rec_01kb2000000000000000000000", "rec_", "whe_" + "0" * 26])
async def test_an_unknown_job_is_not_found(gateway: Gateway, endpoint: dict[str, Any], recovery_id: str) -> None:
    answer = await gateway.http.get(f"{PATH}/{endpoint['id']}/recoveries/{recovery_id}")
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such recovery.")


async def test_a_job_is_another_endpoints_for_no_endpoint(gateway: Gateway, endpoint: dict[str, Any]) -> None:
    job = await begun(gateway, endpoint)
    other = await subscribed(gateway, "other")
    assert (await gateway.http.get(f"{PATH}/{other['id']}/recoveries/{job['id']}")).status_code == 404


async def test_a_job_is_worked_by_itself_and_survives_a_restart(world: World) -> None:
    async with world.gateway() as gateway:
        endpoint = await subscribed(gateway, events=["training.started"], retry_schedule=[0])
        await gateway.receiver.fault("status", status=500)
        await another_training(gateway, "model-2")
        await gateway.deliver()
        gateway.advance(1)
        job = await begun(gateway, endpoint)
    async with world.gateway(loops=True, seed=2) as gateway:

        async def delivered() -> bool:
            return await statuses(gateway, endpoint) == [("training.started", "delivered")]

        await wait_until(delivered, what="the delivery")
        assert (await job_now(gateway, job))["status"] == "done"
