"""Deliveries of webhook endpoints: finding them by their filters, and sending one again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.endpoints import (
    ABSENT,
    THEIRS,
    another_training,
    changed,
    deleted,
    deliveries_to,
    statuses,
    subscribed,
)
from tests.support.gateway import Gateway, drive
from tests.support.waiting import wait_until

ONCE: dict[str, Any] = {"events": ["training.started"], "retry_schedule": [0]}
AT = "2026-11-22T"


async def dead_delivery(gateway: Gateway, **fields: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """An endpoint, and a delivery to it that was given up after its only attempt."""
    endpoint = await subscribed(gateway, **{**ONCE, **fields})
    await gateway.receiver.fault("status", status=500)
    await another_training(gateway, "model-2")
    await gateway.deliver()
    [delivery] = await deliveries_to(gateway, endpoint)
    assert delivery["status"] == "dead"
    return endpoint, delivery


async def retry(gateway: Gateway, delivery: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = await gateway.http.post(f"/v1/deliveries/{delivery['id']}/retry")
    return answer.status_code, answer.json()


# --- filters ---


@pytest.fixture
async def hourly(gateway: Gateway) -> dict[str, str]:
    """Names for ids: an endpoint with deliveries at 12:00, 13:00 and 14:00, and another with that at 13:00."""
    endpoint = await subscribed(gateway, "a", **ONCE)
    trainings = [await another_training(gateway, "model-2")]
    gateway.advance(3600)
    other = await subscribed(gateway, "b", **ONCE)
    await gateway.receiver.fault("status", name="a", status=500, skip=1)
    trainings.append(await another_training(gateway, "model-3"))
    await gateway.deliver()
    gateway.advance(3600)
    await changed(gateway, other, status="paused")
    await changed(gateway, other, events=["training.overdue"])
    trainings.append(await another_training(gateway, "model-4"))
    return {
        "a": endpoint["id"],
        "b": other["id"],
        **{f"t{number}": training["id"] for number, training in enumerate(trainings)},
    }


FOUND: list[tuple[dict[str, str], list[str]]] = [
    ({}, ["t2 a", "t1 a", "t1 b", "t0 a"]),
    ({"endpoint_id": "a"}, ["t2 a", "t1 a", "t0 a"]),
    ({"endpoint_id": "b"}, ["t1 b"]),
    ({"endpoint_id": ABSENT}, []),
    ({"training_id": "t1"}, ["t1 a", "t1 b"]),
    ({"training_id": "t1", "endpoint_id": "b"}, ["t1 b"]),
    ({"training_id": "t0", "endpoint_id": "b"}, []),
    ({"endpoint_id": "a", "status": "pending"}, ["t2 a"]),
    ({"endpoint_id": "a", "status": "dead"}, ["t1 a"]),
    ({"status": "delivered"}, ["t1 b", "t0 a"]),
    ({"since": AT + "13:00:00Z"}, ["t2 a", "t1 a", "t1 b"]),
    ({"since": AT + "13:00:00.001Z"}, ["t2 a"]),
    ({"since": AT + "14:00:00+01:00"}, ["t2 a", "t1 a", "t1 b"]),
    ({"since": AT + "15:00:00Z"}, []),
    ({"since": "1960-01-01T00:00:00Z", "status": "dead"}, ["t1 a"]),
    ({"since": "0001-01-01T00:00:00+14:00", "status": "dead"}, ["t1 a"]),
    ({"since": "9999-12-31T23:59:59-14:00"}, []),
    ({"until": AT + "13:00:00Z"}, ["t0 a"]),
    ({"until": AT + "13:00:00.001Z", "endpoint_id": "a"}, ["t1 a", "t0 a"]),
    ({"until": "1960-01-01T00:00:00Z"}, []),
    ({"until": "9999-12-31T23:59:59-14:00", "status": "dead"}, ["t1 a"]),
    ({"since": AT + "12:00:01Z", "until": AT + "13:59:59Z", "endpoint_id": "a"}, ["t1 a"]),
    ({"since": AT + "13:00:00Z", "until": AT + "13:00:00Z"}, []),
]


async def test_deliveries_are_found_by_their_filters(gateway: Gateway, hourly: dict[str, str]) -> None:
    names = {value: name for name, value in hourly.items()}
    found = {}
    for query, _ in FOUND:
        asked = {name: hourly.get(value, value) for name, value in query.items()}
        rows = (await gateway.http.get("/v1/deliveries", params=asked)).json()["data"]
        found[str(query)] = sorted(f"{names[row['training_id']]} {names[row['endpoint_id']]}" for row in rows)
        assert [row["created_at"] for row in rows] == sorted([row["created_at"] for row in rows], reverse=True)
        assert await walked(gateway, asked) == rows
        theirs = await gateway.http.get("/v1/deliveries", params=asked, headers=THEIRS)
        assert theirs.json()["data"] == []
    assert found == {str(query): sorted(expected) for query, expected in FOUND}


async def walked(gateway: Gateway, query: dict[str, str]) -> list[dict[str, Any]]:
    """The same list, page by page."""
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while cursor != {"cursor": None}:
        page = (await gateway.http.get("/v1/deliveries", params={**query, "limit": "1", **cursor})).json()
        rows += page["data"]
        cursor = {"cursor": page["next_cursor"]}
    return rows


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("endpoint_id=whe_1", "endpoint_id"),
        ("endpoint_id=", "endpoint_id"),
        ("endpoint_id=trn_01kb2000000000000000000000", "endpoint_id"),
        ("since=yesterday", "since"),
        ("since=2026-11-22T12:00:00", "since"),
        ("since=2026-11-22", "since"),
        ("since=", "since"),
        ("since=2026-11-22T12:00:00Z%00", "since"),
        ("until=2026-13-01T00:00:00Z", "until"),
        ("until=10000-01-01T00:00:00Z", "until"),
        ("until=NaN", "until"),
        ("status=Dead", "status"),
    ],
)
async def test_a_bad_filter_is_named(gateway: Gateway, query: str, pointer: str) -> None:
    answer = await gateway.http.get(f"/v1/deliveries?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


# --- sending one again ---


async def test_a_dead_one_is_sent_again_with_the_same_id_and_body(gateway: Gateway) -> None:
    _, dead = await dead_delivery(gateway)
    gateway.advance(100_000)
    status, shown = await retry(gateway, dead)
    assert status == 202
    assert shown == {**dead, "status": "pending", "next_attempt_at": "2026-11-23T15:46:40.000Z", "finished_at": None}
    assert await gateway.deliver() == 1
    first, second = await gateway.receiver.received()
    assert (second.id, second.body, second.answered) == (first.id, first.body, 204)
    assert second.headers["webhook-timestamp"] == str(int(gateway.clock.now().timestamp()))
    [delivery] = await deliveries_to(gateway, {"id": dead["endpoint_id"]})
    assert [attempt["number"] for attempt in delivery["attempts"]] == [1, 2]
    assert (delivery["status"], delivery["finished_at"]) == ("delivered", "2026-11-23T15:46:40.000Z")


async def test_one_that_fails_again_follows_its_schedule_from_the_beginning(gateway: Gateway) -> None:
    endpoint, dead = await dead_delivery(gateway)
    await changed(gateway, endpoint, retry_schedule=[0, 100])
    await gateway.receiver.fault("status", status=500, times=2)
    await retry(gateway, dead)
    assert await gateway.deliver() == 1
    assert await statuses(gateway, endpoint) == [("training.started", "pending")]
    gateway.advance(120)
    assert await gateway.deliver() == 1
    assert await statuses(gateway, endpoint) == [("training.started", "dead")]


async def test_a_delivered_one_is_sent_again(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, **ONCE)
    await another_training(gateway, "model-2")
    await gateway.deliver()
    [delivery] = await deliveries_to(gateway, endpoint)
    assert (await retry(gateway, delivery))[0] == 202
    assert await gateway.deliver() == 1
    first, second = await gateway.receiver.received()
    assert (first.id, first.body) == (second.id, second.body)


async def test_a_pending_one_is_due_now_and_goes_on_with_its_schedule(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, events=["training.started"], retry_schedule=[0, 1000, 1000])
    await gateway.receiver.fault("status", status=500, times=3)
    await another_training(gateway, "model-2")
    for made in (1, 2, 3):
        assert await gateway.deliver() == 1
        [delivery] = await deliveries_to(gateway, endpoint)
        # The third attempt was the last of the schedule, which begins anew then.
        assert (len(delivery["attempts"]), delivery["status"]) == (made, "dead" if made == 3 else "pending")
        await retry(gateway, delivery)
        gateway.advance(1)
    assert await gateway.deliver() == 1
    assert await statuses(gateway, endpoint) == [("training.started", "delivered")]


async def test_a_delivery_to_a_callback_is_sent_again(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", status=410)
    training = await gateway.started(callback={"url": gateway.receiver.hook(), "events": ["training.started"]})
    await gateway.deliver()
    [dead] = await gateway.deliveries(training["id"])
    assert (dead["status"], dead["endpoint_id"]) == ("dead", None)
    assert (await retry(gateway, dead))[0] == 202
    assert await gateway.deliver() == 1
    [delivery] = await gateway.deliveries(training["id"])
    assert delivery["status"] == "delivered"


async def test_one_that_is_being_sent_is_not_sent_beside(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, **ONCE)
    await another_training(gateway, "model-2")
    await gateway.receiver.fault("delay", seconds=1)
    attempt = asyncio.create_task(drive(gateway.components.loops.deliveries))
    await wait_until(lambda: gateway.receiver.clock.held, what="the attempt to be under way")
    [delivery] = await deliveries_to(gateway, endpoint)
    answer = await gateway.http.post(f"/v1/deliveries/{delivery['id']}/retry")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (409, "in_flight", "5")
    gateway.receiver.clock.release()
    await attempt
    assert await gateway.deliver() == 0
    assert len(await gateway.receiver.received()) == 1


async def test_one_whose_worker_died_is_sent_again_after_its_lease(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, **ONCE)
    await another_training(gateway, "model-2")
    await gateway.components.webhooks.dispatcher.claim(10)
    gateway.forget_claims()
    [delivery] = await deliveries_to(gateway, endpoint)
    assert (await retry(gateway, delivery))[0] == 409
    gateway.advance(60)
    assert (await retry(gateway, delivery))[0] == 202
    assert await gateway.deliver() == 1
    [delivery] = await deliveries_to(gateway, endpoint)
    assert [attempt["error_class"] for attempt in delivery["attempts"]] == ["interrupted", None]


@pytest.mark.parametrize("state", ["paused", "disabled", "deleted"])
async def test_what_cant_be_sent_is_not_retried(gateway: Gateway, state: str) -> None:
    endpoint, dead = await dead_delivery(gateway)
    if state == "paused":
        await changed(gateway, endpoint, status="paused")
    elif state == "deleted":
        await deleted(gateway, endpoint)
    else:
        await gateway.receiver.fault("status", status=410)
        await another_training(gateway, "model-3")
        await gateway.deliver()
    status, problem = await retry(gateway, dead)
    assert (status, problem["code"]) == (409, "target_gone" if state == "deleted" else "endpoint_inactive")
    assert state in problem["detail"]
    assert (await gateway.http.get(f"/v1/deliveries/{dead['id']}")).json() == dead
    assert await gateway.deliver() == 0


@pytest.mark.parametrize("delivery_id", ["dlv_01kb2000000000000000000000", "dlv_", "x", "whe_" + "0" * 26])
async def test_an_unknown_delivery_is_not_retried(gateway: Gateway, delivery_id: str) -> None:
    status, problem = await retry(gateway, {"id": delivery_id})
    assert (status, problem["code"], problem["detail"]) == (404, "not_found", "There is no such delivery.")


async def test_anothers_delivery_looks_like_an_absent_one(gateway: Gateway) -> None:
    _, dead = await dead_delivery(gateway)
    anothers = await gateway.http.post(f"/v1/deliveries/{dead['id']}/retry", headers=THEIRS)
    absent = await gateway.http.post("/v1/deliveries/dlv_01kb2000000000000000000000/retry", headers=THEIRS)
    assert anothers.status_code == absent.status_code == 404
    assert anothers.content == absent.content
    assert await gateway.deliver() == 0
