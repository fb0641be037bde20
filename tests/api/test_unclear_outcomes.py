"""The answer to a trigger is lost: nothing is triggered again, the model is read, and one event tells the end."""

from __future__ import annotations

from typing import Any

import pytest

from service.storage.tables import Event
from tests.support.gateway import MODEL, Gateway, World

# What does not tell whether PhotoGPT began the training. (A `hang` comes in a test of its own.)
UNCLEAR: list[dict[str, Any]] = [
    {"kind": "reset"},
    {"kind": "reset_after"},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 502},
    {"kind": "status", "status": 504},
    {"kind": "status", "status": 408},
    {"kind": "status", "status": 425},
    {"kind": "status", "status": 499},
    {"kind": "status", "status": 503, "body": "<html></html>", "content_type": "text/html"},
    {"kind": "status", "status": 204},
    {"kind": "status_after", "status": 500},
    {"kind": "status_after", "status": 502},
    {"kind": "redirect", "location": "/api/models/model-1/train"},
    {"kind": "redirect", "location": "/api/models/model-1/train", "status": 307},
    {"kind": "html"},
    {"kind": "html", "status": 500},
    {"kind": "garbage"},
    {"kind": "json", "body": None},
    {"kind": "json", "body": "OK"},
    {"kind": "json", "body": {"result": "Training triggered"}},
    {"kind": "json", "body": {"status": "MAYBE"}},
]


async def submitted(gateway: Gateway) -> dict[str, Any]:
    """A training whose trigger has an unclear outcome: a fault has been ordered."""
    answer = await gateway.train(callback_url=gateway.receiver.hook())
    training: dict[str, Any] = answer.json()
    assert (answer.status_code, training["status"]) == (202, "submitting")
    # Its first reading comes when the lease of the request has passed, and not before.
    assert answer.headers["retry-after"] == "60"
    assert training["next_poll_at"] == "2026-11-22T12:01:00.000Z"
    assert (training["triggered_at"], training["estimated_ready_at"], training["sequence"]) == (None, None, 0)
    return training


@pytest.mark.parametrize("fault", UNCLEAR, ids=str)
async def test_an_unclear_trigger_is_accepted_and_adopted_when_the_model_trains(
    gateway: Gateway, fault: dict[str, Any]
) -> None:
    await gateway.upstream.fault_trigger(**fault)
    training = await submitted(gateway)
    await gateway.upstream.say("training")
    gateway.advance(59)
    assert await gateway.poll() == 0
    gateway.advance(1)
    assert await gateway.poll() == 1
    adopted = await gateway.training(training["id"])
    assert (adopted["status"], adopted["upstream_status"]) == ("training", "training")
    assert adopted["triggered_at"] == "2026-11-22T12:00:00.000Z"
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    await gateway.next_poll_is_none(training["id"])
    assert await gateway.event_types(training["id"]) == ["training.started", "training.ready"]
    assert await gateway.deliver() == 1
    assert [receipt.type for receipt in await gateway.receiver.received()] == ["training.ready"]
    assert await gateway.upstream.trigger_calls() == 1


@pytest.mark.parametrize("fault", UNCLEAR, ids=str)
async def test_an_unclear_trigger_fails_when_three_readings_show_no_training(
    gateway: Gateway, fault: dict[str, Any]
) -> None:
    await gateway.upstream.fault_trigger(**fault)
    training = await submitted(gateway)
    await gateway.upstream.say("new")
    for _ in range(2):
        await gateway.next_poll(training["id"])
        assert (await gateway.training(training["id"]))["status"] == "submitting"
    await gateway.next_poll(training["id"])
    failed = await gateway.training(training["id"])
    assert failed["status"] == "failed"
    assert failed["failure"]["code"] == "trigger_unconfirmed"
    assert failed["failure"]["message"] == (
        "The answer to the trigger was lost, and 3 readings of the model show no training. "
        "It was not triggered again; request it again if you still want it."
    )
    await gateway.next_poll_is_none(training["id"])
    assert await gateway.event_types(training["id"]) == ["training.failed"]
    assert await gateway.deliver() == 1
    assert [receipt.event["data"] for receipt in await gateway.receiver.received()] == [
        {**failed, "callbacks": [{**failed["callbacks"][0], "last_problem": None}]}
    ]
    assert await gateway.upstream.trigger_calls() == 1


async def test_a_trigger_without_an_answer_is_unclear_after_the_timeout(world: World) -> None:
    await world.upstream.put_model()
    await world.upstream.fault_trigger("hang", seconds=60)
    async with world.gateway(GATEWAY_UPSTREAM_TIMEOUT=0.3) as gateway:
        training = await submitted(gateway)
        await gateway.upstream.say("training")
        await gateway.next_poll(training["id"])
        assert (await gateway.training(training["id"]))["status"] == "training"
        assert await gateway.upstream.trigger_calls() == 1


async def test_a_training_that_did_run_is_found_ready_at_the_first_reading(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("reset_after")
    training = await submitted(gateway)
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    assert (await gateway.training(training["id"]))["status"] == "ready"
    assert await gateway.event_types(training["id"]) == ["training.ready"]
    assert await gateway.upstream.triggers() == {MODEL: 1}


async def test_a_ready_model_whose_retraining_never_began_is_not_taken_for_trained(gateway: Gateway) -> None:
    await gateway.upstream.say("ready")
    await gateway.upstream.fault_trigger("reset")
    training = await submitted(gateway)
    for _ in range(3):
        await gateway.next_poll(training["id"])
    assert (await gateway.training(training["id"]))["failure"]["code"] == "trigger_unconfirmed"
    assert await gateway.event_types(training["id"]) == ["training.failed"]


async def test_readings_that_tell_nothing_do_not_count(gateway: Gateway) -> None:
    await gateway.upstream.put_model(duration_minutes=600)
    await gateway.upstream.fault_trigger("reset_after")
    training = await submitted(gateway)
    await gateway.upstream.fault_reading("status", status=500, times=5)
    for _ in range(5):
        await gateway.next_poll(training["id"])
        assert (await gateway.training(training["id"]))["status"] == "submitting"
    await gateway.next_poll(training["id"])
    assert (await gateway.training(training["id"]))["status"] == "training"


async def test_a_second_request_joins_what_is_unclear(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("reset")
    training = await submitted(gateway)
    answer = await gateway.train()
    assert (answer.status_code, answer.json()) == (200, training)
    assert await gateway.upstream.trigger_calls() == 1


async def test_a_caller_who_hangs_up_leaves_a_trigger_that_is_still_recorded(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("delay", seconds=1)
    async with gateway.held_train() as request:
        request.cancel()
        gateway.upstream.clock.release()
        await gateway.components.trainings.intake.drain(5)
    [event] = await gateway.rows(Event)
    assert event.type == "training.started"
    assert event.training_id is not None
    assert (await gateway.training(event.training_id))["status"] == "training"
    assert await gateway.upstream.triggers() == {MODEL: 1}
