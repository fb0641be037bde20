"""What webhook endpoints are sent: of which trainings, beside which callbacks, when and in which order; and pauses."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.endpoints import (
    PATH,
    THEIRS,
    another_training,
    cancelled,
    changed,
    deleted,
    deliveries_to,
    endpoint_now,
    statuses,
    subscribed,
    types_at,
)
from tests.support.gateway import MODEL, NOW, OTHER_KEY, OTHER_SECRET, SECRET, Gateway, Receipt, drive
from tests.support.waiting import wait_until

STARTED_AND_CANCELLED = ["training.started", "training.cancelled"]
HOUR = 3600


# --- of what it hears ---


async def test_an_endpoint_hears_of_every_training_of_its_tenant_and_of_none_of_anothers(gateway: Gateway) -> None:
    await gateway.started()
    await subscribed(gateway, "mine", events=STARTED_AND_CANCELLED)
    await subscribed(gateway, "theirs", events=STARTED_AND_CANCELLED, headers_of_request=THEIRS)
    mine = [await another_training(gateway, f"model-{number}") for number in (2, 3)]
    await gateway.upstream.put_model("model-4", key=OTHER_KEY)
    theirs = (await gateway.train("model-4", headers=THEIRS)).json()
    assert await gateway.deliver() == 3
    heard = {
        name: {receipt.event["data"]["id"] for receipt in await gateway.receiver.received(name)}
        for name in ("mine", "theirs")
    }
    # It was subscribed after the first had begun.
    assert heard == {"mine": {training["id"] for training in mine}, "theirs": {theirs["id"]}}


async def test_it_hears_every_end_unless_it_names_its_events(gateway: Gateway) -> None:
    await subscribed(gateway, "ends")
    await subscribed(gateway, "starts", events=["training.started"])
    await subscribed(gateway, "overdue", events=["training.overdue"])
    training = await gateway.started()
    await another_training(gateway, "model-2")
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    assert await gateway.deliver() == 3
    assert await types_at(gateway, "ends") == ["training.ready"]
    assert await types_at(gateway, "starts") == ["training.started"] * 2
    assert await types_at(gateway, "overdue") == []


async def test_a_refusal_that_its_caller_was_told_is_sent_to_nobody(gateway: Gateway) -> None:
    await subscribed(gateway)
    assert (await gateway.train("model-unknown")).status_code == 404
    await gateway.upstream.put_model("model-2", images=0)
    assert (await gateway.train("model-2")).status_code == 400
    assert await gateway.deliver() == 0


async def test_endpoints_and_callbacks_of_one_event_get_it_with_one_id(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, "endpoint", events=["training.started"], secret=OTHER_SECRET)
    callback = {"url": gateway.receiver.hook("callback"), "events": ["training.started"], "secret": SECRET}
    training = await gateway.started(callback=callback)
    assert await gateway.deliver() == 2
    [to_endpoint] = await gateway.receiver.received("endpoint")
    [to_callback] = await gateway.receiver.received("callback")
    assert (to_endpoint.id, to_endpoint.body) == (to_callback.id, to_callback.body)
    assert to_endpoint.signed_with(OTHER_SECRET, NOW)
    assert to_callback.signed_with(SECRET, NOW)
    by_target = {row["endpoint_id"]: row["event_id"] for row in await gateway.deliveries(training["id"])}
    assert by_target == {endpoint["id"]: to_endpoint.id, None: to_endpoint.id}
    # An endpoint is nothing that the training itself has.
    assert [shown["url"] for shown in to_endpoint.event["data"]["callbacks"]] == [callback["url"]]


async def test_two_endpoints_at_one_url_both_hear_it(gateway: Gateway) -> None:
    for secret in (SECRET, OTHER_SECRET):
        await subscribed(gateway, events=["training.started"], secret=secret)
    await gateway.started()
    assert await gateway.deliver() == 2
    first, second = await gateway.receiver.received()
    assert first.id == second.id
    assert {first.signed_with(SECRET, NOW), second.signed_with(SECRET, NOW)} == {True, False}


async def test_its_headers_arrive_as_they_are_at_the_attempt(gateway: Gateway) -> None:
    headers = {"Authorization": "Bearer one", "X-Stage": "a b"}
    endpoint = await subscribed(gateway, events=["training.started"], headers=headers)
    await gateway.receiver.fault("status", status=500)
    await gateway.started()
    assert await gateway.deliver() == 1
    await changed(gateway, endpoint, headers={"authorization": "Bearer two"})
    gateway.advance(6)
    assert await gateway.deliver() == 1
    before, receipt = await gateway.receiver.received()
    assert (before.headers["authorization"], before.headers["x-stage"]) == ("Bearer one", "a b")
    assert receipt.headers["authorization"] == "Bearer two"
    assert "x-stage" not in receipt.headers
    assert receipt.headers["content-type"] == "application/json"
    assert receipt.headers["user-agent"].startswith("photogpt-webhooks/")
    assert receipt.signed_with(endpoint["secret"], gateway.clock.now())


# --- schedule and order ---


async def test_its_own_schedule_is_followed(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", status=500, times=None)
    endpoint = await subscribed(gateway, events=["training.started"], retry_schedule=[0, 100, 0.5])
    await gateway.started()
    for least, most in ((100, 120), (0.5, 0.6)):
        assert await gateway.deliver() == 1
        [delivery] = await deliveries_to(gateway, endpoint)
        wait = (datetime.fromisoformat(delivery["next_attempt_at"]) - gateway.clock.now()).total_seconds()
        assert least - 0.001 <= wait <= most
        gateway.advance(most)
    assert await gateway.deliver() == 1
    assert await statuses(gateway, endpoint) == [("training.started", "dead")]
    # The gateway's again: for the next one.
    await changed(gateway, endpoint, retry_schedule=None)
    await another_training(gateway, "model-2")
    assert await gateway.deliver() == 1
    due = datetime.fromisoformat((await deliveries_to(gateway, endpoint))[-1]["next_attempt_at"])
    assert timedelta(seconds=4.99) <= due - gateway.clock.now() <= timedelta(seconds=6)


async def test_events_of_one_training_come_in_order_and_another_training_waits_for_none(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", status=500)
    await subscribed(gateway, events=STARTED_AND_CANCELLED)
    first = await gateway.started()
    assert await gateway.deliver() == 1
    await cancelled(gateway, first)
    second = await another_training(gateway, "model-2")
    assert await gateway.deliver() == 1
    gateway.advance(6)
    assert await gateway.deliver() == 2
    heard = [(receipt.event["data"]["id"], receipt.event["data"]["sequence"]) for receipt in await received(gateway)]
    assert heard == [(second["id"], 1), (first["id"], 1), (first["id"], 2)]


async def received(gateway: Gateway) -> list[Receipt]:
    """What was not refused on the way."""
    return [receipt for receipt in await gateway.receiver.received() if receipt.answered == 204]


# --- pause, move, delete ---


async def test_while_it_is_paused_its_events_wait_and_then_come_in_order(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, events=STARTED_AND_CANCELLED)
    other = await subscribed(gateway, "other", events=STARTED_AND_CANCELLED)
    training = await gateway.started()
    assert (await changed(gateway, endpoint, status="paused"))["status"] == "paused"
    assert await gateway.deliver() == 1
    await cancelled(gateway, training)
    assert await gateway.deliver() == 1
    gateway.advance(20 * 24 * HOUR)
    assert await gateway.deliver() == 0
    waiting = await deliveries_to(gateway, endpoint)
    assert [(row["status"], row["next_attempt_at"]) for row in waiting] == [("pending", None)] * 2
    assert await types_at(gateway, "default") == []
    await changed(gateway, endpoint, status="active")
    assert await gateway.deliver() == 2
    assert await types_at(gateway, "default") == await types_at(gateway, "other") == STARTED_AND_CANCELLED
    assert (await endpoint_now(gateway, other))["status"] == "active"


async def test_one_that_waits_for_its_next_attempt_is_sent_at_the_return(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", status=500)
    endpoint = await subscribed(gateway, events=["training.started"])
    await gateway.started()
    assert await gateway.deliver() == 1
    await changed(gateway, endpoint, status="paused")
    gateway.advance(HOUR)
    assert await gateway.deliver() == 0
    await changed(gateway, endpoint, status="active")
    assert await gateway.deliver() == 1
    [delivery] = await deliveries_to(gateway, endpoint)
    assert [attempt["number"] for attempt in delivery["attempts"]] == [1, 2]
    assert delivery["status"] == "delivered"


@pytest.mark.parametrize(
    ("kind", "order", "status"),
    [("delay", {"seconds": 1}, "delivered"), ("hang", {"seconds": 1}, "pending")],
)
async def test_an_attempt_under_way_when_it_is_paused_counts(
    gateway: Gateway, kind: str, order: dict[str, Any], status: str
) -> None:
    endpoint = await subscribed(gateway, events=["training.started"])
    await gateway.started()
    await gateway.receiver.fault(kind, **order)
    attempt = asyncio.create_task(drive(gateway.components.loops.deliveries))
    await wait_until(lambda: gateway.receiver.clock.held, what="the attempt to be under way")
    await changed(gateway, endpoint, status="paused")
    gateway.receiver.clock.release()
    assert await attempt == 1
    [delivery] = await deliveries_to(gateway, endpoint)
    assert (delivery["status"], delivery["next_attempt_at"]) == (status, None)
    gateway.advance(100_000)
    assert await gateway.deliver() == 0
    await changed(gateway, endpoint, status="active")
    assert await gateway.deliver() == (1 if status == "pending" else 0)
    assert await statuses(gateway, endpoint) == [("training.started", "delivered")]


async def test_what_waits_goes_where_the_endpoint_has_moved(gateway: Gateway) -> None:
    """Not behind the breaker and the bulkhead of the host that it was at."""
    endpoint = await subscribed(gateway, url="http://127.0.0.1:1/dead", events=["training.started"])
    for number in range(2, 8):
        await another_training(gateway, f"model-{number}")
    for _ in range(5):
        await drive(gateway.components.loops.deliveries)
        gateway.advance(1)
    assert await gateway.deliver() == 0
    await changed(gateway, endpoint, url=gateway.receiver.hook("new"))
    gateway.advance(6)
    assert await gateway.deliver() == 6
    assert {status for _, status in await statuses(gateway, endpoint)} == {"delivered"}
    assert len(await gateway.receiver.received("new")) == 6
    assert {row["url"] for row in await deliveries_to(gateway, endpoint)} == {gateway.receiver.hook("new")}


@pytest.mark.parametrize("paused", [False, True])
async def test_what_waits_for_a_deleted_endpoint_dies_and_stays_listed(gateway: Gateway, paused: bool) -> None:
    endpoint = await subscribed(gateway, events=["training.started"])
    training = await gateway.started()
    if paused:
        await changed(gateway, endpoint, status="paused")
    await deleted(gateway, endpoint)
    assert await gateway.deliver() == 0
    [delivery] = await deliveries_to(gateway, endpoint)
    assert (delivery["status"], delivery["next_attempt_at"]) == ("dead", None)
    assert delivery["finished_at"] == "2026-11-22T12:00:00.000Z"
    assert await gateway.deliveries(training["id"]) == [delivery]
    await another_training(gateway, "model-2")
    assert len(await deliveries_to(gateway, endpoint)) == 1


async def test_an_attempt_under_way_when_it_is_deleted_is_the_last(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, events=["training.started"])
    await gateway.started()
    await gateway.receiver.fault("hang", seconds=1)
    attempt = asyncio.create_task(drive(gateway.components.loops.deliveries))
    await wait_until(lambda: gateway.receiver.clock.held, what="the attempt to be under way")
    await deleted(gateway, endpoint)
    gateway.receiver.clock.release()
    assert await attempt == 1
    assert await statuses(gateway, endpoint) == [("training.started", "dead")]
    gateway.advance(100_000)
    assert await gateway.deliver() == 0
    assert (await gateway.http.get(f"{PATH}/{endpoint['id']}")).status_code == 404
    assert MODEL in await gateway.upstream.triggers()
