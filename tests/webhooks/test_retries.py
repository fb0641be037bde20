"""From the first attempt to the last: when each is made, what stays the same, what ends it, and who waits for whom."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from service.storage.tables import Event
from tests.support.gateway import MODEL, NOW, SECRET, Gateway, World
from tests.support.waiting import wait_until

SCHEDULE = [0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
HOUR = 3600


async def waiting(gateway: Gateway, **callback: Any) -> dict[str, Any]:
    """A training whose callback is about to hear of its start."""
    return await gateway.started(
        callback={"url": gateway.receiver.hook(), "events": ["training.started"], "secret": SECRET, **callback}
    )


async def only_delivery(gateway: Gateway, training: dict[str, Any]) -> dict[str, Any]:
    [delivery] = await gateway.deliveries(training["id"])
    return delivery


async def seconds_to_next(gateway: Gateway, training: dict[str, Any]) -> float:
    due = datetime.fromisoformat((await only_delivery(gateway, training))["next_attempt_at"])
    return (due - gateway.clock.now()).total_seconds()


async def next_attempt(gateway: Gateway, training: dict[str, Any]) -> None:
    gateway.advance(await seconds_to_next(gateway, training) + 0.001)
    assert await gateway.deliver() == 1


# --- the schedule ---


async def test_attempts_come_as_the_schedule_says_and_end_in_death(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", status=500, times=None)
    training = await waiting(gateway)
    assert await gateway.deliver() == 1
    for step in SCHEDULE[1:]:
        assert step - 0.001 <= await seconds_to_next(gateway, training) <= step * 1.2
        gateway.advance(step - 0.002)
        assert await gateway.deliver() == 0
        await next_attempt(gateway, training)
    delivery = await only_delivery(gateway, training)
    assert (delivery["status"], delivery["next_attempt_at"]) == ("dead", None)
    assert delivery["finished_at"] == delivery["attempts"][-1]["started_at"]
    assert [attempt["number"] for attempt in delivery["attempts"]] == list(range(1, 11))
    gateway.advance(10_000_000)
    assert await gateway.deliver() == 0
    assert len(await gateway.receiver.received()) == 10
    # Three days of silence would have been outlived.
    first, last = (delivery["attempts"][index]["started_at"] for index in (0, -1))
    assert datetime.fromisoformat(last) - datetime.fromisoformat(first) >= timedelta(hours=75)


async def test_a_webhook_that_arrives_at_the_fourth_attempt_is_the_same_one(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", status=500)
    await gateway.receiver.fault("reset_after")
    await gateway.receiver.fault("redirect", location="/hook/elsewhere")
    training = await waiting(gateway)
    times = []
    for wait in (0, 6, 360, 2160):
        gateway.advance(wait)
        times.append(gateway.clock.now())
        assert await gateway.deliver() == 1
    delivery = await only_delivery(gateway, training)
    assert delivery["status"] == "delivered"
    assert [attempt["error_class"] for attempt in delivery["attempts"]] == ["http_5xx", "reset", "http_3xx", None]
    receipts = await gateway.receiver.received()
    assert len(receipts) == 4
    assert {receipt.id for receipt in receipts} == {delivery["event_id"]}
    [event] = await gateway.rows(Event)
    assert {receipt.body for receipt in receipts} == {event.body.decode()}
    for receipt, at in zip(receipts, times, strict=True):
        assert receipt.headers["webhook-timestamp"] == str(int(at.timestamp()))
        assert receipt.signed_with(SECRET, at)
    assert len({receipt.headers["webhook-signature"] for receipt in receipts}) == 4
    gateway.advance(100_000)
    assert await gateway.deliver() == 0


async def test_a_schedule_of_ones_own_is_kept(world: World) -> None:
    await world.upstream.put_model()
    await world.receiver.fault("status", status=500, times=None)
    async with world.gateway(GATEWAY_RETRY_SCHEDULE="0, 10, 0.5") as gateway:
        training = await waiting(gateway)
        assert await gateway.deliver() == 1
        assert 10 <= await seconds_to_next(gateway, training) <= 12
        await next_attempt(gateway, training)
        assert 0.499 <= await seconds_to_next(gateway, training) <= 0.6
        await next_attempt(gateway, training)
        assert (await only_delivery(gateway, training))["status"] == "dead"


async def test_the_waits_are_spread(world: World) -> None:
    """Deliveries that failed together do not come back together."""
    await world.upstream.put_model()
    await world.receiver.fault("status", status=500, times=None)
    async with world.gateway(GATEWAY_RETRY_SCHEDULE="0,1000") as gateway:
        training = await gateway.started()
        for number in range(5):
            callback = {"url": gateway.receiver.hook(str(number)), "events": ["training.cancelled"]}
            assert (await gateway.train(callback=callback)).status_code == 200
        await gateway.http.delete(f"/v1/trainings/{training['id']}")
        assert await gateway.deliver() == 5
        due = {delivery["next_attempt_at"] for delivery in await gateway.deliveries(training["id"])}
        assert len(due) == 5


# --- Retry-After ---


@pytest.mark.parametrize(
    ("status", "asked", "least", "most"),
    [
        (503, "1000", 1000, 1000),
        (429, "1000", 1000, 1000),
        (500, "1000", 1000, 1000),
        (404, "1000", 1000, 1000),
        (302, "1000", 1000, 1000),
        (503, "1", 5, 6),
        (503, "0", 5, 6),
        (503, "Sun, 22 Nov 2026 13:00:00 GMT", HOUR, HOUR),
        (503, "Sun, 22 Nov 2026 11:00:00 GMT", 5, 6),
        (503, "Sunday, 22-Nov-26 13:00:00 GMT", HOUR, HOUR),
        (503, "86401", 86_400, 86_400),
        (503, "99999999999999999999", 86_400, 86_400),
        (503, "soon", 5, 6),
        (503, "-100", 5, 6),
    ],
)
async def test_a_receiver_that_asks_for_time_gets_it_within_a_day(
    gateway: Gateway, status: int, asked: str, least: float, most: float
) -> None:
    headers = {"Retry-After": asked, **({"Location": "/hook"} if status == 302 else {})}
    await gateway.receiver.fault("status", status=status, headers=headers)
    training = await waiting(gateway)
    assert await gateway.deliver() == 1
    assert least - 0.001 <= await seconds_to_next(gateway, training) <= most


async def test_retry_after_gives_no_attempt_beyond_the_last(world: World) -> None:
    await world.upstream.put_model()
    await world.receiver.fault("status", status=503, headers={"Retry-After": "10"})
    async with world.gateway(GATEWAY_RETRY_SCHEDULE="0") as gateway:
        training = await waiting(gateway)
        assert await gateway.deliver() == 1
        assert (await only_delivery(gateway, training))["status"] == "dead"


# --- gone ---


async def test_410_ends_the_delivery_and_the_callback(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", status=410, headers={"Retry-After": "10"})
    training = await waiting(gateway, events=["training.started", "training.ready"])
    assert await gateway.deliver() == 1
    delivery = await only_delivery(gateway, training)
    assert (delivery["status"], delivery["next_attempt_at"]) == ("dead", None)
    assert delivery["finished_at"] == "2026-11-22T12:00:00.000Z"
    [callback] = (await gateway.training(training["id"]))["callbacks"]
    assert (callback["state"], callback["last_problem"]) == ("ended", "the receiver answered HTTP 410")
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    assert len(await gateway.deliveries(training["id"])) == 1
    assert await gateway.deliver() == 0
    assert len(await gateway.receiver.received()) == 1


async def test_after_410_nothing_that_waited_is_sent_to_that_callback(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", name="default", status=500)
    await gateway.receiver.fault("status", name="default", status=410)
    training = await waiting(gateway, events=["training.started", "training.ready"])
    await gateway.train(callback={"url": gateway.receiver.hook("another"), "events": ["training.ready"]})
    await gateway.deliver()
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    await gateway.deliver()
    assert [receipt.type for receipt in await gateway.receiver.received("default")] == ["training.started"] * 2
    assert [receipt.type for receipt in await gateway.receiver.received("another")] == ["training.ready"]
    gateway.advance(1_000_000)
    assert await gateway.deliver() == 0
    statuses = [(row["event_type"], row["status"]) for row in await gateway.deliveries(training["id"])]
    assert sorted(statuses) == [
        ("training.ready", "dead"),
        ("training.ready", "delivered"),
        ("training.started", "dead"),
    ]


async def test_410_for_one_callback_leaves_the_others(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", name="a", status=410)
    training = await waiting(gateway, url=gateway.receiver.hook("a"))
    await gateway.train(callback={"url": gateway.receiver.hook("b")})
    await gateway.deliver()
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    assert await gateway.deliver() == 1
    states = {callback["url"]: callback["state"] for callback in (await gateway.training(training["id"]))["callbacks"]}
    assert states == {gateway.receiver.hook("a"): "ended", gateway.receiver.hook("b"): "active"}


async def test_a_callback_that_ended_may_join_again(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", status=410)
    training = await waiting(gateway)
    await gateway.deliver()
    answer = await gateway.train(callback_url=gateway.receiver.hook())
    assert [callback["state"] for callback in answer.json()["callbacks"]] == ["active"]
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    assert await gateway.deliver() == 1
    assert (await gateway.receiver.received())[-1].type == "training.ready"


# --- order ---


async def test_an_event_waits_for_the_earlier_ones_of_its_training(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", status=500, times=3)
    training = await waiting(gateway, events=["training.started", "training.ready"])
    assert await gateway.deliver() == 1
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    assert await gateway.deliver() == 1
    gateway.advance(360)
    assert await gateway.deliver() == 1
    gateway.advance(2160)
    # The first is delivered at last; the second follows at once.
    assert await gateway.deliver() == 2
    received = [receipt.type for receipt in await gateway.receiver.received()]
    assert received == ["training.started"] * 4 + ["training.ready"]


async def test_an_event_goes_when_the_one_before_it_has_died(world: World) -> None:
    await world.upstream.put_model()
    await world.receiver.fault("status", status=500, times=2)
    async with world.gateway(GATEWAY_RETRY_SCHEDULE="0,10") as gateway:
        training = await waiting(gateway, events=["training.started", "training.ready"])
        await gateway.deliver()
        await gateway.upstream.say("ready")
        await gateway.next_poll(training["id"])
        assert await gateway.deliver() == 2
        statuses = [(row["event_type"], row["status"]) for row in await gateway.deliveries(training["id"])]
        assert sorted(statuses) == [("training.ready", "delivered"), ("training.started", "dead")]


async def test_a_failing_callback_holds_up_no_other(gateway: Gateway) -> None:
    await gateway.upstream.put_model("model-2")
    await gateway.receiver.fault("status", name="a", status=500, times=None)
    await waiting(gateway, url=gateway.receiver.hook("a"))
    training = await gateway.started(
        "model-2", callback={"url": gateway.receiver.hook("b"), "events": ["training.started"]}
    )
    assert await gateway.deliver() == 2
    assert (await only_delivery(gateway, training))["status"] == "delivered"


# --- a worker that dies ---


async def test_an_attempt_that_was_begun_and_never_ended_is_interrupted_and_made_again(gateway: Gateway) -> None:
    training = await waiting(gateway)
    [dropped] = (await gateway.components.loops.deliveries._claim(10)).items
    gateway.forget_claims()
    [begun] = (await only_delivery(gateway, training))["attempts"]
    assert (begun["number"], begun["duration_ms"], begun["error_class"]) == (1, None, None)
    gateway.advance(59)
    assert await gateway.deliver() == 0
    gateway.advance(1)
    assert await gateway.deliver() == 1
    delivery = await only_delivery(gateway, training)
    assert delivery["status"] == "delivered"
    first, second = delivery["attempts"]
    assert first == {**begun, "error_class": "interrupted"}
    assert (second["number"], second["status_code"], second["error_class"]) == (2, 204, None)
    assert second["started_at"] == "2026-11-22T12:01:00.000Z"
    assert [receipt.id for receipt in await gateway.receiver.received()] == [dropped.event_id]


async def test_an_interrupted_attempt_uses_up_no_step_of_the_schedule(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(GATEWAY_RETRY_SCHEDULE="0") as gateway:
        training = await waiting(gateway)
        for _ in range(3):
            assert len((await gateway.components.loops.deliveries._claim(10)).items) == 1
            gateway.forget_claims()
            gateway.advance(60)
        assert await gateway.deliver() == 1
        delivery = await only_delivery(gateway, training)
        assert delivery["status"] == "delivered"
        assert [attempt["error_class"] for attempt in delivery["attempts"]] == ["interrupted"] * 3 + [None]


async def test_a_worker_that_died_after_the_post_costs_one_copy_with_the_same_id(gateway: Gateway) -> None:
    training = await waiting(gateway)
    [dropped] = (await gateway.components.loops.deliveries._claim(10)).items
    gateway.forget_claims()
    await gateway.components.webhooks.dispatcher._attempt(dropped)
    gateway.advance(60)
    assert await gateway.deliver() == 1
    first, second = await gateway.receiver.received()
    assert (first.id, first.body) == (second.id, second.body)
    assert first.signed_with(SECRET, NOW)
    assert second.signed_with(SECRET, NOW + timedelta(seconds=60))
    assert (await only_delivery(gateway, training))["status"] == "delivered"


async def test_a_worker_that_comes_after_its_lease_tells_of_its_attempt_alone(gateway: Gateway) -> None:
    training = await waiting(gateway)
    [late] = (await gateway.components.loops.deliveries._claim(10)).items
    gateway.forget_claims()
    gateway.advance(60)
    assert await gateway.deliver() == 1
    before = await only_delivery(gateway, training)
    await gateway.receiver.fault("status", status=410)
    await gateway.components.loops.deliveries._work(late)
    after = await only_delivery(gateway, training)
    assert after["attempts"][0]["status_code"] == 410
    assert {**after, "attempts": []} == {**before, "attempts": []}
    assert (await gateway.training(training["id"]))["callbacks"][0]["state"] == "active"


async def test_the_dispatcher_sends_by_itself_when_an_event_is_recorded(world: World) -> None:
    """No tick needed: the commit wakes it."""
    await world.upstream.put_model()
    async with world.gateway(loops=True) as gateway:
        await waiting(gateway)
        await wait_until(gateway.receiver.received, what="the webhook")
    [receipt] = await world.receiver.received()
    assert (receipt.type, receipt.answered) == ("training.started", 204)
    assert receipt.event["data"]["model_id"] == MODEL
