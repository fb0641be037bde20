"""A poll that tells nothing changes nothing, and the next one comes at its time. Three of a kind mean something."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.support.gateway import KEY, MODEL, NOW, Gateway, World

# What says nothing about the model, however often it comes.
MEANINGLESS: list[dict[str, Any]] = [
    {"kind": "status", "status": 400},
    {"kind": "status", "status": 402},
    {"kind": "status", "status": 408},
    {"kind": "status", "status": 409},
    {"kind": "status", "status": 410},
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 502},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 504},
    {"kind": "status", "status": 204},
    {"kind": "status_after", "status": 500},
    {"kind": "reset"},
    {"kind": "reset_after"},
    {"kind": "redirect", "location": "/api/models/model-1"},
    {"kind": "cdn_block"},
    {"kind": "html"},
    {"kind": "html", "status": 401},
    {"kind": "html", "status": 404},
    {"kind": "html", "status": 503},
    {"kind": "garbage"},
    {"kind": "json", "body": None},
    {"kind": "json", "body": "ready"},
    {"kind": "json", "body": ["ready"]},
    {"kind": "json", "body": {}},
    {"kind": "json", "body": {"status": "ready"}},
    {"kind": "json", "body": {"status": "OK"}},
    {"kind": "json", "body": {"status": "OK", "result": None}},
    {"kind": "json", "body": {"status": "OK", "result": "ready"}},
    {"kind": "json", "body": {"status": "OK", "result": [{"id": MODEL, "status": "ready"}]}},
    {"kind": "json", "body": {"status": "OK", "result": {"id": MODEL, "status": ["ready"]}}},
    {"kind": "json", "body": {"status": "OK", "result": {"id": MODEL, "status": 1}}},
    {"kind": "json", "body": {"status": "OK", "result": {"id": MODEL, "status": "ready", "updatedAt": 1}}},
    {"kind": "json", "body": {"status": "OK", "result": {"id": "model-2", "status": "ready"}}},
    {"kind": "json", "body": {"status": "OK", "result": {"id": "model-2", "status": "deleted"}}},
    {"kind": "json", "body": {"status": "NOK", "result": {"id": MODEL, "status": "ready"}}},
    {"kind": "json", "body": {"result": {"id": MODEL, "status": "deleted"}}},
]


# Seconds: 0.8 of the interval. However a training comes to be due, it is not polled sooner after the poll before.
SOONEST = 240


def seconds_to_next_poll(gateway: Gateway, training: dict[str, Any]) -> float:
    due = datetime.fromisoformat(training["next_poll_at"])
    return (due - gateway.clock.now()).total_seconds()


@pytest.mark.parametrize("fault", MEANINGLESS, ids=str)
async def test_a_poll_that_tells_nothing_changes_nothing(gateway: Gateway, fault: dict[str, Any]) -> None:
    training = await gateway.started(callback_url=gateway.receiver.hook())
    # One more than it takes to believe a 404 or a refused key.
    await gateway.upstream.fault_reading(**fault, times=4)
    polled = training
    for _ in range(4):
        await gateway.next_poll(training["id"])
        polled = await gateway.training(training["id"])
        assert 300 <= seconds_to_next_poll(gateway, polled) <= 330
    assert polled["last_polled_at"] > training["created_at"]
    same = {"last_polled_at": polled["last_polled_at"], "next_poll_at": polled["next_poll_at"]}
    assert polled == {**training, **same}
    assert await gateway.event_types(training["id"]) == ["training.started"]
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    assert await gateway.event_types(training["id"]) == ["training.started", "training.ready"]
    assert await gateway.deliver() == 1


async def test_a_poll_that_takes_too_long_is_given_up_and_changes_nothing(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(GATEWAY_UPSTREAM_TIMEOUT=0.3) as gateway:
        training = await gateway.started()
        for kind in ("hang", "drip"):
            await gateway.upstream.fault_reading(kind, seconds=60)
            await gateway.next_poll(training["id"])
            assert (await gateway.training(training["id"]))["status"] == "training"
        assert await gateway.event_types(training["id"]) == ["training.started"]


async def test_a_poll_where_nobody_listens_changes_nothing(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        training = await gateway.started()
    async with world.gateway(PHOTOGPT_BASE_URL="http://127.0.0.1:1/api") as gateway:
        await gateway.next_poll(training["id"])
        assert (await gateway.training(training["id"]))["status"] == "training"


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [("1000", 1000, 1000), ("10", 300, 330), ("Sun, 22 Nov 2026 13:00:00 GMT", 3200, 3300), ("99999", 3600, 3600)],
)
async def test_a_poll_is_put_off_as_long_as_photogpt_asks_and_an_hour_at_most(
    gateway: Gateway, asked: str, least: float, most: float
) -> None:
    training = await gateway.started()
    await gateway.upstream.fault_reading("status", status=429, headers={"Retry-After": asked})
    await gateway.next_poll(training["id"])
    assert least - 0.001 <= seconds_to_next_poll(gateway, await gateway.training(training["id"])) <= most


async def test_a_model_is_polled_every_interval_and_never_twice_in_one(gateway: Gateway) -> None:
    await gateway.upstream.put_model(duration_minutes=100)
    training = await gateway.started()
    polls = 0
    for second in range(0, 3600, 10):
        assert gateway.clock.now() == NOW + timedelta(seconds=second)
        polls += await gateway.poll()
        gateway.advance(10)
    # An hour has 12 intervals, each up to a tenth longer; and up to 10 s are lost on the way to each poll.
    assert 10 <= polls <= 12
    assert len(await gateway.upstream.calls(f"/models/{MODEL}")) == polls + 1
    assert (await gateway.training(training["id"]))["status"] == "training"


async def test_after_two_hours_every_third_poll_is_enough(gateway: Gateway) -> None:
    await gateway.upstream.put_model(duration_minutes=1000)
    training = await gateway.started()
    gateway.advance(7199)
    assert await gateway.poll() == 1
    assert 300 <= seconds_to_next_poll(gateway, await gateway.training(training["id"])) <= 330
    gateway.advance(330)
    assert await gateway.poll() == 1
    assert 900 <= seconds_to_next_poll(gateway, await gateway.training(training["id"])) <= 990


# --- not found ---


async def test_three_answers_of_not_found_in_a_row_mean_deleted(gateway: Gateway) -> None:
    training = await gateway.started(callback_url=gateway.receiver.hook())
    await gateway.upstream.fault_reading("status", status=404, times=3)
    for _ in range(2):
        await gateway.next_poll(training["id"])
        assert (await gateway.training(training["id"]))["status"] == "training"
    await gateway.next_poll(training["id"])
    deleted = await gateway.training(training["id"])
    assert deleted["status"] == "deleted"
    assert deleted["failure"] == {
        "code": "not_found",
        "message": "PhotoGPT answered 3 times in a row that there is no such model.",
    }
    assert await gateway.event_types(training["id"]) == ["training.started", "training.deleted"]
    assert await gateway.deliver() == 1
    [receipt] = await gateway.receiver.received()
    assert receipt.event["data"] == deleted


async def test_a_reading_between_begins_the_count_of_not_found_anew(gateway: Gateway) -> None:
    await gateway.upstream.put_model(duration_minutes=600)
    training = await gateway.started()
    for _ in range(3):
        await gateway.upstream.fault_reading("status", status=404, times=2)
        for _ in range(3):
            await gateway.next_poll(training["id"])
    assert (await gateway.training(training["id"]))["status"] == "training"


async def test_an_unreadable_answer_between_does_not_begin_the_count_anew(gateway: Gateway) -> None:
    training = await gateway.started()
    await gateway.upstream.fault_reading("status", status=404, times=2)
    await gateway.upstream.fault_reading("status", status=500)
    await gateway.upstream.fault_reading("status", status=404)
    for _ in range(4):
        assert (await gateway.training(training["id"]))["status"] == "training"
        await gateway.next_poll(training["id"])
    assert (await gateway.training(training["id"]))["status"] == "deleted"


async def test_a_model_that_photogpt_calls_deleted_is_deleted_at_once(gateway: Gateway) -> None:
    training = await gateway.started()
    await gateway.upstream.say("deleted")
    await gateway.next_poll(training["id"])
    deleted = await gateway.training(training["id"])
    assert (deleted["status"], deleted["upstream_status"], deleted["failure"]) == ("deleted", "deleted", None)


# --- the key is refused ---


async def suspended(gateway: Gateway, status: int = 401) -> dict[str, Any]:
    callback = {"url": gateway.receiver.hook(), "events": ["training.suspended", "training.ready"]}
    training = await gateway.started(callback=callback)
    await gateway.upstream.fault_reading("status", status=status, times=3)
    for _ in range(2):
        await gateway.next_poll(training["id"])
        assert (await gateway.training(training["id"]))["suspended"] is False
    await gateway.next_poll(training["id"])
    return await gateway.training(training["id"])


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_three_times_in_a_row_is_not_used_further(gateway: Gateway, status: int) -> None:
    training = await suspended(gateway, status)
    assert (training["status"], training["suspended"], training["sequence"]) == ("training", True, 2)
    assert training["next_poll_at"] is None
    calls = len(await gateway.upstream.calls())
    gateway.advance(1_000_000)
    assert await gateway.poll() == 0
    assert len(await gateway.upstream.calls()) == calls
    # Said once, and no end: it stands visibly as suspended.
    assert await gateway.event_types(training["id"]) == ["training.started", "training.suspended"]
    assert await gateway.deliver() == 1
    [receipt] = await gateway.receiver.received()
    assert (receipt.type, receipt.event["data"]) == ("training.suspended", training)


async def test_a_refusal_now_and_then_suspends_nothing(gateway: Gateway) -> None:
    await gateway.upstream.put_model(duration_minutes=600)
    training = await gateway.started()
    for _ in range(3):
        await gateway.upstream.fault_reading("status", status=401, times=2)
        for _ in range(3):
            await gateway.next_poll(training["id"])
    assert (await gateway.training(training["id"]))["suspended"] is False


async def test_polls_go_on_when_a_request_with_the_key_is_accepted_again(gateway: Gateway) -> None:
    training = await suspended(gateway)
    await gateway.upstream.put_model("model-2")
    assert (await gateway.train("model-2")).status_code == 202
    resumed = await gateway.training(training["id"])
    assert resumed["suspended"] is False
    assert -0.001 <= seconds_to_next_poll(gateway, resumed) <= 0
    await gateway.upstream.say("ready")
    assert await gateway.poll() == 0, "it was polled just now"
    gateway.advance(SOONEST)
    assert await gateway.poll() == 1
    assert await gateway.event_types(training["id"]) == ["training.started", "training.suspended", "training.ready"]


async def test_the_same_request_once_more_is_enough_to_resume(gateway: Gateway) -> None:
    training = await suspended(gateway)
    answer = await gateway.train()
    assert (answer.status_code, answer.json()["id"], answer.json()["suspended"]) == (200, training["id"], False)
    gateway.advance(SOONEST)
    assert await gateway.poll() == 1
    assert await gateway.upstream.trigger_calls() == 1


async def test_a_model_that_is_gone_can_still_be_asked_for_to_resume_its_training(gateway: Gateway) -> None:
    """Found by the simulation, seed 20311: the request is refused with a 404, which shows that the key works."""
    training = await suspended(gateway)
    await gateway.upstream.fault_reading("status", status=404, times=4)
    assert (await gateway.train()).status_code == 404
    assert (await gateway.training(training["id"]))["suspended"] is False
    for _ in range(3):
        gateway.advance(330)
        assert await gateway.poll() == 1
    assert (await gateway.training(training["id"]))["status"] == "deleted"


async def test_a_key_that_is_still_refused_resumes_nothing(gateway: Gateway) -> None:
    training = await suspended(gateway)
    await gateway.upstream.put_model("model-2")
    for model_id in (MODEL, "model-2"):
        await gateway.upstream.fault_reading("status", model_id, status=401)
        assert (await gateway.train(model_id)).status_code == 401
    assert (await gateway.training(training["id"]))["suspended"] is True
    assert await gateway.poll() == 0


async def test_one_tenants_request_does_not_resume_anothers_trainings(gateway: Gateway) -> None:
    training = await suspended(gateway)
    await gateway.upstream.put_model("model-2", key="pgpt-key-of-somebody")
    answer = await gateway.train("model-2", headers={"authorization": "Bearer pgpt-key-of-somebody"})
    assert answer.status_code == 202
    assert (await gateway.training(training["id"]))["suspended"] is True


async def test_a_suspended_training_can_be_cancelled(gateway: Gateway) -> None:
    training = await suspended(gateway)
    answer = await gateway.http.delete(f"/v1/trainings/{training['id']}")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


async def test_each_poll_uses_the_key_of_its_tenant(gateway: Gateway) -> None:
    await gateway.upstream.put_model("model-2", key="pgpt-key-of-somebody")
    await gateway.started()
    await gateway.train("model-2", headers={"authorization": "Bearer pgpt-key-of-somebody"})
    await gateway.upstream.control("DELETE", "/calls")
    gateway.advance(330)
    assert await gateway.poll() == 2
    calls = {(call["path"], call["key"], call["api_version"]) for call in await gateway.upstream.calls()}
    assert calls == {(f"/models/{MODEL}", KEY, "1"), ("/models/model-2", "pgpt-key-of-somebody", "1")}
