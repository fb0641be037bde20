"""kill -9 at the moments that matter: what was acknowledged still ends in its one event, and nothing runs twice."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.acceptance.history import rows
from tests.acceptance.stack import Stack, assert_one_event_each
from tests.support.waiting import wait_until_sync


def test_trainings_survive_kills_while_they_run(stack: Stack) -> None:
    stack.start_gateway()
    stack.share_secret()
    models = stack.models(60)
    trainings: list[dict[str, Any]] = []
    for batch in (models[:20], models[20:40], models[40:]):
        with ThreadPoolExecutor(16) as callers:
            trainings += callers.map(stack.train, batch)
        stack.kill_gateway()
        stack.start_gateway()
    stack.wait_for_events(60)

    assert_one_event_each(stack.received(), trainings, "ready")
    assert stack.triggers() == dict.fromkeys(models, 1)


def request_killed_in_the_trigger(stack: Stack, model: str) -> None:
    """Kill the gateway after the intent is stored, while PhotoGPT has not answered the trigger."""
    stack.break_photogpt(path=f"/models/{model}/train", kind="hang", seconds=60)

    def ask() -> None:
        with pytest.raises(httpx.TransportError):
            stack.train(model)

    caller = threading.Thread(target=ask)
    caller.start()
    wait_until_sync(lambda: stack.calls(f"/models/{model}/train"), what="the trigger at PhotoGPT")
    stack.kill_gateway()
    caller.join(10)


def test_killed_between_intent_and_outcome_the_training_that_started_is_adopted(stack: Stack) -> None:
    stack.start_gateway()
    stack.share_secret()
    [model] = stack.models(1)
    request_killed_in_the_trigger(stack, model)
    # The trigger took: PhotoGPT trains, though nobody was there to hear its answer.
    stack.upstream.put(f"/_control/models/{model}", json={"key": "pgpt-acceptance", "status": "training"})

    # Looked at now: by the time that the gateway is back, it may have read the model.
    [training] = rows(stack.database, "SELECT id, status FROM trainings")
    assert training["status"] == "submitting"
    stack.start_gateway()
    stack.wait_for_events(1)

    assert_one_event_each(stack.received(), [training], "ready")
    assert len(stack.calls(f"/models/{model}/train")) == 1


def test_killed_between_intent_and_outcome_the_training_that_did_not_start_fails(stack: Stack) -> None:
    stack.start_gateway()
    stack.share_secret()
    [model] = stack.models(1)
    request_killed_in_the_trigger(stack, model)

    stack.start_gateway()
    [training] = stack.api.get("/v1/trainings").json()["data"]
    # A repeat joins it; it does not trigger again.
    repeated = stack.api.post("/v1/trainings", json={"model_id": model, "callback_url": stack.hook})
    assert (repeated.status_code, repeated.json()["id"]) == (200, training["id"])
    stack.wait_for_events(1)

    [webhook] = stack.received()
    assert_one_event_each([webhook], [training], "failed")
    assert webhook["event"]["data"]["failure"]["code"] == "trigger_unconfirmed"
    assert len(stack.calls(f"/models/{model}/train")) == 1


def test_killed_between_event_and_delivery_the_stored_event_is_delivered(stack: Stack) -> None:
    # One attempt at a time, and the first one hangs: the other events are stored, and not attempted.
    stack.start_gateway(GATEWAY_DELIVERIES_IN_FLIGHT="1")
    stack.share_secret()
    stack.break_receiver(kind="hang", seconds=60, times=1)
    trainings = [stack.train(model) for model in stack.models(3)]
    wait_until_sync(
        lambda: {item["status"] for item in stack.api.get("/v1/trainings").json()["data"]} == {"ready"},
        what="all three to be ready",
        timeout=30,
    )
    before = stack.api.get("/v1/deliveries").json()["data"]
    assert sorted(len(delivery["attempts"]) for delivery in before) == [0, 0, 1]
    stack.kill_gateway()
    stack.start_gateway(GATEWAY_DELIVERIES_IN_FLIGHT="64")
    wait_until_sync(
        lambda: {item["status"] for item in stack.api.get("/v1/deliveries").json()["data"]} == {"delivered"},
        what="all three to be delivered",
        timeout=30,
    )

    assert_one_event_each(stack.received(), trainings, "ready")
    after = stack.api.get("/v1/deliveries").json()["data"]
    assert {item["event_id"] for item in after} == {item["event_id"] for item in before}
    histories = sorted(str([attempt["error_class"] for attempt in item["attempts"]]) for item in after)
    assert histories == ["['interrupted', None]", "[None]", "[None]"]
