"""`/v1/deliveries`: what was sent, what came of it, and when the next attempt is."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from service.domain.event import rfc3339
from tests.support.gateway import NOW, Gateway

STARTED_AND_READY = ["training.started", "training.ready"]


async def test_a_new_delivery_waits_for_its_first_attempt(gateway: Gateway) -> None:
    callback = {"url": gateway.receiver.hook() + "?token=hush", "events": ["training.started"]}
    training = await gateway.started(callback=callback)
    [delivery] = await gateway.deliveries(training["id"])
    assert re.fullmatch(r"dlv_[0-9a-hjkmnp-tv-z]{26}", delivery["id"])
    assert re.fullmatch(r"evt_[0-9a-hjkmnp-tv-z]{26}", delivery["event_id"])
    assert delivery == {
        "id": delivery["id"],
        "event_id": delivery["event_id"],
        "event_type": "training.started",
        "training_id": training["id"],
        "endpoint_id": None,
        "url": gateway.receiver.hook() + "?token=***",
        "status": "pending",
        "created_at": "2026-11-22T12:00:00.000Z",
        "next_attempt_at": "2026-11-22T12:00:00.000Z",
        "finished_at": None,
        "attempts": [],
    }
    answer = await gateway.http.get(f"/v1/deliveries/{delivery['id']}")
    assert (answer.status_code, answer.json()) == (200, delivery)


async def test_a_delivery_shows_each_of_its_attempts(gateway: Gateway) -> None:
    await gateway.receiver.fault("status", status=500, body="out of\norder", content_type="text/plain")
    training = await gateway.started(callback={"url": gateway.receiver.hook(), "events": ["training.started"]})
    assert await gateway.deliver() == 1
    [delivery] = await gateway.deliveries(training["id"])
    # The second attempt is 5 s after the first, and up to a fifth later.
    assert rfc3339(NOW + timedelta(seconds=5)) <= delivery["next_attempt_at"] <= rfc3339(NOW + timedelta(seconds=6))
    gateway.advance(6)
    assert await gateway.deliver() == 1
    [delivery] = await gateway.deliveries(training["id"])
    assert delivery["status"] == "delivered"
    assert delivery["next_attempt_at"] is None
    assert delivery["finished_at"] == "2026-11-22T12:00:06.000Z"
    failed, succeeded = delivery["attempts"]
    assert re.fullmatch(r"att_[0-9a-hjkmnp-tv-z]{26}", failed.pop("id"))
    assert failed == {
        "number": 1,
        "started_at": "2026-11-22T12:00:00.000Z",
        "duration_ms": 0,
        "status_code": 500,
        "error_class": "http_5xx",
        "excerpt": "out of order",
    }
    assert succeeded.pop("id")
    assert succeeded == {
        "number": 2,
        "started_at": "2026-11-22T12:00:06.000Z",
        "duration_ms": 0,
        "status_code": 204,
        "error_class": None,
        "excerpt": "",
    }


async def test_deliveries_are_filtered_by_training_and_status(gateway: Gateway) -> None:
    await gateway.upstream.put_model("model-2")
    await gateway.receiver.fault("status", name="b", status=410)
    first = await gateway.started(callback={"url": gateway.receiver.hook("a"), "events": STARTED_AND_READY})
    second = await gateway.started("model-2", callback={"url": gateway.receiver.hook("b"), "events": STARTED_AND_READY})
    await gateway.deliver()
    await gateway.upstream.say("ready")
    await gateway.next_poll(first["id"])

    async def found(**query: str) -> list[tuple[str, str]]:
        answer = await gateway.http.get("/v1/deliveries", params=query)
        assert answer.status_code == 200
        return sorted((delivery["training_id"], delivery["status"]) for delivery in answer.json()["data"])

    of_first = [(first["id"], "delivered"), (first["id"], "pending")]
    of_second = [(second["id"], "dead")]
    assert await found() == sorted(of_first + of_second)
    assert await found(training_id=first["id"]) == of_first
    assert await found(training_id=second["id"]) == of_second
    assert await found(status="pending") == of_first[1:]
    assert await found(status="delivered") == of_first[:1]
    assert await found(status="dead") == of_second
    assert await found(training_id=second["id"], status="delivered") == []
    assert await found(training_id="trn_01kb2000000000000000000000") == []


async def test_cursors_lead_through_all_deliveries_once_and_newest_first(gateway: Gateway) -> None:
    callback = {"url": gateway.receiver.hook("0"), "events": ["training.cancelled"]}
    training = await gateway.started(callback=callback)
    for number in range(1, 5):
        await gateway.train(callback={**callback, "url": gateway.receiver.hook(str(number))})
    await gateway.http.delete(f"/v1/trainings/{training['id']}")
    everything = (await gateway.http.get("/v1/deliveries")).json()
    assert everything["next_cursor"] is None
    ids = [delivery["id"] for delivery in everything["data"]]
    assert len(set(ids)) == 5
    assert ids == sorted(ids, reverse=True)
    walked: list[str] = []
    cursor: dict[str, str] = {}
    for size in (2, 2, 1):
        page = (await gateway.http.get("/v1/deliveries", params={"limit": 2, **cursor})).json()
        walked += [delivery["id"] for delivery in page["data"]]
        assert len(page["data"]) == size
        cursor = {"cursor": page["next_cursor"]}
    assert cursor == {"cursor": None}
    assert walked == ids


@pytest.mark.parametrize("delivery_id", ["dlv_01kb2000000000000000000000", "dlv_", "x", "trn_" + "0" * 26])
async def test_an_unknown_delivery_is_not_found(gateway: Gateway, delivery_id: str) -> None:
    answer = await gateway.http.get(f"/v1/deliveries/{delivery_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["detail"] == "There is no such delivery."


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("limit=0", "limit", "invalid_request"),
        ("limit=101", "limit", "invalid_request"),
        ("cursor=nonsense", "cursor", "invalid_cursor"),
        ("status=failed", "status", "invalid_request"),
        ("training_id=", "training_id", "invalid_request"),
        ("training_id=trn_1", "training_id", "invalid_request"),
        ("training_id=%00", "training_id", "invalid_request"),
        ("training_id=dlv_01kb2000000000000000000000", "training_id", "invalid_request"),
    ],
)
async def test_a_bad_parameter_is_named(gateway: Gateway, query: str, pointer: str, code: str) -> None:
    answer = await gateway.http.get(f"/v1/deliveries?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
