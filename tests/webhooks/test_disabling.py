"""An endpoint that is gone, or fails for 5 days, is disabled: it says so, and so do the tenant's other endpoints."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from service.storage.tables import Event
from tests.support.endpoints import (
    THEIRS,
    another_training,
    changed,
    deleted,
    deliveries_to,
    endpoint_now,
    statuses,
    subscribed,
    types_at,
)
from tests.support.gateway import Gateway, contract, drive
from tests.support.waiting import wait_until

DAY = 86_400


async def failed(gateway: Gateway, model_id: str) -> None:
    """One event whose only attempt at the endpoint `a` fails."""
    await gateway.receiver.fault("status", name="a", status=500)
    await another_training(gateway, model_id)
    assert await gateway.deliver() >= 1


async def failing_endpoint(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    """One that has failed just now; each of its events has one attempt."""
    endpoint = await subscribed(gateway, "a", events=["training.started"], retry_schedule=[0], **fields)
    await failed(gateway, "model-2")
    return endpoint


# --- 410 ---


async def test_410_disables_it_and_what_waits_for_it_dies(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, "a", events=["training.started"])
    for number in range(2, 5):
        await gateway.receiver.fault("status", name="a", status=500)
        await another_training(gateway, f"model-{number}")
        assert await gateway.deliver() == 1
    await gateway.receiver.fault("status", name="a", status=410)
    await another_training(gateway, "model-5")
    assert await gateway.deliver() == 1
    shown = await endpoint_now(gateway, endpoint)
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "gone")
    assert (shown["last_problem"], shown["failing_since"]) == (
        "the receiver answered HTTP 410",
        "2026-11-22T12:00:00.000Z",
    )
    rows = await deliveries_to(gateway, endpoint)
    assert [(row["status"], row["next_attempt_at"], row["finished_at"]) for row in rows] == [
        ("dead", None, "2026-11-22T12:00:00.000Z")
    ] * 4
    # Events are not kept for it.
    await another_training(gateway, "model-6")
    gateway.advance(DAY)
    assert await gateway.deliver() == 0
    assert len(await deliveries_to(gateway, endpoint)) == 4


async def test_the_tenants_other_endpoints_are_told_and_nobody_else(gateway: Gateway) -> None:
    endpoint = await subscribed(
        gateway,
        "a",
        events=["training.started", "webhook_endpoint.disabled"],
        headers={"authorization": "Bearer hush"},
        url=gateway.receiver.hook("a") + "?token=hush",
    )
    await subscribed(gateway, "default-events")
    await subscribed(gateway, "not-interested", events=["training.overdue"])
    paused = await subscribed(gateway, "paused")
    await changed(gateway, paused, status="paused")
    await deleted(gateway, await subscribed(gateway, "deleted"))
    await subscribed(gateway, "theirs", headers_of_request=THEIRS)
    await gateway.receiver.fault("status", name="a", status=410)
    callback = {"url": gateway.receiver.hook("callback"), "events": ["training.overdue"]}
    await gateway.started(callback=callback)
    assert await gateway.deliver() == 2
    [receipt] = await gateway.receiver.received("default-events")
    event = json.loads(receipt.body)
    contract()._validate_component("EndpointEventOut", event)
    assert (event["type"], event["timestamp"]) == ("webhook_endpoint.disabled", "2026-11-22T12:00:00.000Z")
    shown = await endpoint_now(gateway, endpoint)
    # As it is at that moment.
    assert event["data"] == shown
    assert shown["disabled_reason"] == "gone"
    assert "hush" not in receipt.body
    assert sorted({receipt.name for receipt in await gateway.receiver.received()}) == ["a", "default-events"]
    await changed(gateway, paused, status="active")
    assert await gateway.deliver() == 1
    assert [receipt.id] == [receipt.id for receipt in await gateway.receiver.received("paused")]
    [delivery] = await deliveries_to(gateway, paused)
    assert (delivery["event_id"], delivery["training_id"]) == (receipt.id, None)


async def test_an_only_endpoint_is_disabled_with_an_event_for_readers(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, "a", events=["training.started", "webhook_endpoint.disabled"])
    await gateway.receiver.fault("status", name="a", status=410)
    await gateway.started()
    assert await gateway.deliver() == 1
    events = (await gateway.http.get("/v1/events")).json()["data"]
    assert [event["type"] for event in events] == ["training.started", "webhook_endpoint.disabled"]
    assert events[1]["data"]["id"] == endpoint["id"]
    assert await statuses(gateway, endpoint) == [("training.started", "dead")]


async def test_of_several_410_at_once_one_is_told_of(gateway: Gateway) -> None:
    await subscribed(gateway, "a", events=["training.started"])
    await subscribed(gateway, "b")
    for number in range(2, 5):
        await gateway.receiver.fault("status", name="a", status=410)
        await another_training(gateway, f"model-{number}")
    assert await gateway.deliver() == 4
    assert await types_at(gateway, "b") == ["webhook_endpoint.disabled"]


async def test_410_to_a_callback_ends_the_callback_alone(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, "a", events=["training.started"])
    await gateway.receiver.fault("status", name="callback", status=410)
    callback = {"url": gateway.receiver.hook("callback"), "events": ["training.started"]}
    training = await gateway.started(callback=callback)
    assert await gateway.deliver() == 2
    assert (await gateway.training(training["id"]))["callbacks"][0]["state"] == "ended"
    shown = await endpoint_now(gateway, endpoint)
    assert (shown["status"], shown["last_problem"]) == ("active", None)
    assert await gateway.count(Event) == 1


async def test_410_to_an_endpoint_leaves_a_callback_at_the_same_url(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, "a", events=["training.overdue"])
    callback = {"url": gateway.receiver.hook("a"), "events": ["training.started"]}
    training = await gateway.started(callback=callback)
    await changed(gateway, endpoint, events=["training.started"])
    assert await gateway.deliver() == 1
    await gateway.receiver.fault("status", name="a", status=410)
    await another_training(gateway, "model-2")
    assert await gateway.deliver() == 1
    assert (await endpoint_now(gateway, endpoint))["status"] == "disabled"
    assert (await gateway.training(training["id"]))["callbacks"][0]["state"] == "active"


# --- 5 days ---


async def test_after_five_days_of_failures_it_is_disabled(gateway: Gateway) -> None:
    endpoint = await failing_endpoint(gateway)
    await subscribed(gateway, "b")
    shown = await endpoint_now(gateway, endpoint)
    assert (shown["status"], shown["failing_since"]) == ("active", "2026-11-22T12:00:00.000Z")
    assert shown["last_problem"] == "the receiver answered HTTP 500"
    gateway.advance(5 * DAY - 1)
    await failed(gateway, "model-3")
    shown = await endpoint_now(gateway, endpoint)
    assert (shown["status"], shown["failing_since"]) == ("active", "2026-11-22T12:00:00.000Z")
    gateway.advance(1)
    await failed(gateway, "model-4")
    shown = await endpoint_now(gateway, endpoint)
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "failing")
    assert await types_at(gateway, "b") == ["webhook_endpoint.disabled"]
    await another_training(gateway, "model-5")
    assert await gateway.deliver() == 0


async def test_one_success_begins_the_five_days_anew(gateway: Gateway) -> None:
    endpoint = await failing_endpoint(gateway)
    gateway.advance(4 * DAY)
    await another_training(gateway, "model-3")
    assert await gateway.deliver() == 1
    shown = await endpoint_now(gateway, endpoint)
    assert (shown["failing_since"], shown["last_problem"]) == (None, None)
    gateway.advance(2 * DAY)
    await failed(gateway, "model-4")
    shown = await endpoint_now(gateway, endpoint)
    assert (shown["status"], shown["failing_since"]) == ("active", "2026-11-28T12:00:00.000Z")


async def test_an_endpoint_where_nobody_listens_is_disabled_too(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, url="http://127.0.0.1:1/", events=["training.started"], retry_schedule=[0])
    for number in (2, 3):
        await another_training(gateway, f"model-{number}")
        assert await gateway.deliver() == 1
        gateway.advance(5 * DAY)
    shown = await endpoint_now(gateway, endpoint)
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "failing")
    assert "nothing listens" in shown["last_problem"]


async def test_the_default_schedule_leads_there_by_itself(gateway: Gateway) -> None:
    """Nothing but the retries of a few events, days apart."""
    await gateway.receiver.fault("status", name="a", status=503, times=None)
    endpoint = await subscribed(gateway, "a", events=["training.started"])
    for number in (2, 3):
        await another_training(gateway, f"model-{number}")
        for _ in range(4 * 24):
            await gateway.deliver()
            gateway.advance(3600)
    shown = await endpoint_now(gateway, endpoint)
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "failing")
    assert {status for _, status in await statuses(gateway, endpoint)} == {"dead"}


# --- back again ---


@pytest.mark.parametrize("status", ["active", "paused"])
async def test_it_is_enabled_again_by_its_owner(gateway: Gateway, status: str) -> None:
    endpoint = await failing_endpoint(gateway)
    await gateway.receiver.fault("status", name="a", status=410)
    await another_training(gateway, "model-3")
    assert await gateway.deliver() == 1
    await another_training(gateway, "model-4")
    shown = await changed(gateway, endpoint, status=status)
    assert shown["status"] == status
    assert (shown["disabled_reason"], shown["failing_since"], shown["last_problem"]) == (None, None, None)
    # What died stays dead until somebody asks for it, and what happened meanwhile was not kept.
    assert await gateway.deliver() == 0
    await another_training(gateway, "model-5")
    assert await gateway.deliver() == (1 if status == "active" else 0)
    assert sorted(status for _, status in await statuses(gateway, endpoint))[:2] == ["dead", "dead"]
    assert len(await deliveries_to(gateway, endpoint)) == 3


async def test_another_change_does_not_enable_it(gateway: Gateway) -> None:
    endpoint = await failing_endpoint(gateway)
    await gateway.receiver.fault("status", name="a", status=410)
    await another_training(gateway, "model-3")
    await gateway.deliver()
    before = await endpoint_now(gateway, endpoint)
    assert before["status"] == "disabled"
    assert await changed(gateway, endpoint, description="mine") == {**before, "description": "mine"}


async def test_a_success_that_was_under_way_when_it_was_disabled_counts(gateway: Gateway) -> None:
    endpoint = await subscribed(gateway, "a", events=["training.started"])
    await gateway.started()
    await gateway.receiver.fault("delay", name="a", seconds=1)
    slow = asyncio.create_task(drive(gateway.components.loops.deliveries))
    await wait_until(lambda: gateway.receiver.clock.held, what="the attempt to be under way")
    await gateway.receiver.fault("status", name="a", status=410)
    await another_training(gateway, "model-2")
    assert await gateway.deliver() == 1
    gateway.receiver.clock.release()
    assert await slow == 1
    assert sorted(status for _, status in await statuses(gateway, endpoint)) == ["dead", "delivered"]
    shown = await endpoint_now(gateway, endpoint)
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "gone")
