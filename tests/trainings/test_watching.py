"""From `training` to its end: which readings count, when it is overdue or given up, and what is told of it to whom."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.storage.tables import Event
from tests.support.gateway import Gateway

ALL_EVENTS = [
    "training.started",
    "training.overdue",
    "training.suspended",
    "training.ready",
    "training.deleted",
    "training.rejected",
    "training.failed",
    "training.expired",
    "training.cancelled",
]


async def ended(gateway: Gateway, training: dict[str, Any]) -> dict[str, Any]:
    """Polled once more, and it is over."""
    await gateway.next_poll(training["id"])
    end = await gateway.training(training["id"])
    assert end["finished_at"] is not None
    await gateway.next_poll_is_none(training["id"])
    return end


async def test_a_model_that_becomes_ready_is_told_once(gateway: Gateway) -> None:
    """PhotoGPT takes its time, as it does."""
    await gateway.upstream.put_model(duration_minutes=22)
    training = await gateway.started(callback_url=gateway.receiver.hook())
    polls = 0
    while (await gateway.training(training["id"]))["status"] == "training":
        await gateway.next_poll(training["id"])
        polls += 1
    assert polls == 5
    end = await gateway.training(training["id"])
    assert (end["status"], end["upstream_status"], end["sequence"], end["overdue"]) == ("ready", "ready", 2, False)
    assert end["finished_at"] == end["last_polled_at"]
    assert (end["next_poll_at"], end["estimated_ready_at"], end["failure"]) == (None, None, None)
    assert await gateway.deliver() == 1
    [receipt] = await gateway.receiver.received()
    assert receipt.event == {"type": "training.ready", "timestamp": end["finished_at"], "data": end}
    gateway.advance(100_000)
    assert (await gateway.poll(), await gateway.deliver()) == (0, 0)


@pytest.mark.parametrize(
    ("raw", "status", "failure"),
    [
        ("ready", "ready", None),
        ("READY", "ready", None),
        (" Ready ", "ready", None),
        ("deleted", "deleted", None),
        ("Deleted", "deleted", None),
        ("failed", "failed", {"code": "upstream_failed", "message": "PhotoGPT reports the status 'failed'."}),
        ("ERROR", "failed", {"code": "upstream_failed", "message": "PhotoGPT reports the status 'ERROR'."}),
    ],
)
async def test_the_words_that_end_a_training(
    gateway: Gateway, raw: str, status: str, failure: dict[str, str] | None
) -> None:
    training = await gateway.started()
    await gateway.upstream.put_model(raw_status=raw)
    end = await ended(gateway, training)
    assert (end["status"], end["upstream_status"], end["failure"]) == (status, raw.strip(), failure)
    assert await gateway.event_types(training["id"]) == ["training.started", f"training.{status}"]


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("queued", "queued"),
        ("Almost Ready", "Almost Ready"),
        ("ready?", "ready?"),
        ("not ready", "not ready"),
        ("", ""),
        ("new", "new"),
        ("x" * 1000, "x" * 64),
        ("two\nlines\u0000", "two lines"),
        ("половина", "половина"),
    ],
)
async def test_an_unknown_word_is_kept_as_it_is_and_ends_nothing(gateway: Gateway, raw: str, kept: str) -> None:
    training = await gateway.started()
    await gateway.upstream.put_model(raw_status=raw)
    for _ in range(4):
        await gateway.next_poll(training["id"])
        seen = await gateway.training(training["id"])
        assert (seen["status"], seen["upstream_status"], seen["failure"]) == ("training", kept, None)
    assert await gateway.event_types(training["id"]) == ["training.started"]
    await gateway.upstream.put_model(raw_status="ready")
    assert (await ended(gateway, training))["status"] == "ready"


# --- too long ---


async def test_a_training_is_overdue_after_35_minutes_and_polled_on(gateway: Gateway) -> None:
    await gateway.upstream.put_model(duration_minutes=60)
    callback = {"url": gateway.receiver.hook(), "events": ["training.overdue", "training.ready"]}
    training = await gateway.started(callback=callback)
    gateway.advance(2099)
    await gateway.poll()
    assert (await gateway.training(training["id"]))["overdue"] is False
    await gateway.next_poll(training["id"])
    overdue = await gateway.training(training["id"])
    assert (overdue["overdue"], overdue["status"], overdue["sequence"]) == (True, "training", 2)
    await gateway.next_poll(training["id"])
    assert await gateway.event_types(training["id"]) == ["training.started", "training.overdue"]
    gateway.advance(1800)
    await gateway.poll()
    end = await gateway.training(training["id"])
    assert (end["status"], end["overdue"]) == ("ready", True)
    await gateway.deliver()
    receipts = await gateway.receiver.received()
    assert [receipt.type for receipt in receipts] == ["training.overdue", "training.ready"]
    # What is left out has changed since, with the polls that told nothing new.
    assert {**receipts[0].event["data"], "last_polled_at": 0} == {**overdue, "last_polled_at": 0}


@pytest.mark.parametrize("readable", [True, False])
async def test_a_training_is_given_up_after_24_hours_whatever_photogpt_says(gateway: Gateway, readable: bool) -> None:
    await gateway.upstream.put_model(duration_minutes=100_000)
    training = await gateway.started(callback_url=gateway.receiver.hook())
    if not readable:
        await gateway.upstream.fault_reading("status", status=500, times=None)
    gateway.advance(86_399)
    assert await gateway.poll() == 1
    assert (await gateway.training(training["id"]))["status"] == "training"
    gateway.advance(990)
    assert await gateway.poll() == 1
    # Two looks in a row have to find it too old.
    assert (await gateway.training(training["id"]))["status"] == "training"
    await gateway.next_poll(training["id"])
    end = await gateway.training(training["id"])
    assert (end["status"], end["next_poll_at"]) == ("expired", None)
    said = "training" if readable else "new"
    assert end["failure"] == {
        "code": "watched_too_long",
        "message": f"Watched for 1 day, 0:00:00 without an end; the last status was '{said}'.",
    }
    assert await gateway.event_types(training["id"]) == ["training.started", "training.overdue", "training.expired"]
    assert await gateway.deliver() == 1
    [receipt] = await gateway.receiver.received()
    assert receipt.event["data"] == end


async def test_a_model_that_is_ready_at_the_very_end_is_ready(gateway: Gateway) -> None:
    training = await gateway.started()
    gateway.advance(200_000)
    assert (await ended_now(gateway, training))["status"] == "ready"


async def ended_now(gateway: Gateway, training: dict[str, Any]) -> dict[str, Any]:
    assert await gateway.poll() == 1
    return await gateway.training(training["id"])


# --- training a ready model anew ---


async def test_a_ready_from_before_the_trigger_does_not_count(gateway: Gateway) -> None:
    await gateway.upstream.put_model(status="ready", stale_ready_polls=1, duration_minutes=20)
    gateway.advance(3600)
    training = await gateway.started()
    assert training["upstream_status"] == "ready"
    await gateway.next_poll(training["id"])
    stale = await gateway.training(training["id"])
    assert (stale["status"], stale["upstream_status"]) == ("training", "ready")
    await gateway.next_poll(training["id"])
    assert (await gateway.training(training["id"]))["upstream_status"] == "training"
    gateway.advance(1200)
    assert (await ended_now(gateway, training))["status"] == "ready"
    assert await gateway.event_types(training["id"]) == ["training.started", "training.ready"]


async def test_the_first_ready_is_the_end_and_a_model_that_trains_again_is_another_training(gateway: Gateway) -> None:
    training = await gateway.started(callback_url=gateway.receiver.hook())
    await gateway.upstream.say("ready")
    await gateway.next_poll(training["id"])
    end = await gateway.training(training["id"])
    await gateway.upstream.put_model(raw_status="training")
    await gateway.next_poll_is_none(training["id"])
    assert await gateway.training(training["id"]) == end
    again = await gateway.started(callback_url=gateway.receiver.hook())
    assert again["id"] > training["id"]
    await gateway.upstream.put_model(raw_status="ready")
    await gateway.next_poll(again["id"])
    await gateway.deliver()
    for one in (training, again):
        assert await gateway.event_types(one["id"]) == ["training.started", "training.ready"]
    heard = [receipt.event["data"]["id"] for receipt in await gateway.receiver.received()]
    assert sorted(heard) == [training["id"], again["id"]]  # between trainings there is no order


async def test_a_ready_that_stays_counts_after_two_intervals(gateway: Gateway) -> None:
    await gateway.upstream.put_model(status="ready", stale_ready_polls=100)
    gateway.advance(3600)
    training = await gateway.started()
    gateway.advance(599)
    assert (await ended_now(gateway, training))["status"] == "training"
    assert (await ended(gateway, training))["status"] == "ready"


async def test_a_ready_of_a_later_date_counts_at_once(gateway: Gateway) -> None:
    await gateway.upstream.put_model(status="ready")
    gateway.advance(3600)
    training = await gateway.started()
    gateway.advance(1)
    await gateway.upstream.say("ready")
    assert (await ended(gateway, training))["status"] == "ready"


# --- who hears what ---


async def test_a_callback_hears_what_it_asks_for_in_order(gateway: Gateway) -> None:
    await gateway.upstream.put_model(duration_minutes=60)
    training = await gateway.started(callback={"url": gateway.receiver.hook(), "events": ALL_EVENTS})
    await gateway.deliver()
    gateway.advance(2100)
    await gateway.poll()
    await gateway.deliver()
    gateway.advance(1800)
    await gateway.poll()
    await gateway.deliver()
    receipts = await gateway.receiver.received()
    assert [receipt.type for receipt in receipts] == ["training.started", "training.overdue", "training.ready"]
    assert [receipt.event["data"]["sequence"] for receipt in receipts] == [1, 2, 3]
    assert [receipt.event["data"]["id"] for receipt in receipts] == [training["id"]] * 3
    assert len({receipt.id for receipt in receipts}) == 3


async def test_two_events_of_one_poll_are_told_apart_and_in_order(gateway: Gateway) -> None:
    """A trigger of unclear outcome that can only be confirmed when it is overdue already."""
    await gateway.upstream.put_model(duration_minutes=60)
    await gateway.upstream.fault_trigger("reset_after")
    training = await gateway.started(callback={"url": gateway.receiver.hook(), "events": ALL_EVENTS})
    gateway.advance(2100)
    assert await gateway.poll() == 1
    assert await gateway.deliver() == 2
    told = [(receipt.type, receipt.event["data"]) for receipt in await gateway.receiver.received()]
    now = await gateway.training(training["id"])
    assert now["sequence"] == 2
    assert told == [("training.started", {**now, "sequence": 1}), ("training.overdue", now)]


@pytest.mark.parametrize(("status", "hears"), [("ready", ["training.ready"]), ("deleted", ["training.deleted"])])
async def test_a_callback_that_asks_for_nothing_hears_the_end(gateway: Gateway, status: str, hears: list[str]) -> None:
    training = await gateway.started(callback_url=gateway.receiver.hook())
    gateway.advance(2100)
    await gateway.upstream.fault_reading("status", status=500)
    await gateway.poll()
    await gateway.upstream.put_model(raw_status=status)
    await ended(gateway, training)
    await gateway.deliver()
    assert [receipt.type for receipt in await gateway.receiver.received()] == hears


async def test_callbacks_that_joined_hear_too_each_with_the_same_event(gateway: Gateway) -> None:
    training = await gateway.started(callback_url=gateway.receiver.hook("a"))
    await gateway.train(callback_url=gateway.receiver.hook("b"))
    await gateway.train(callback={"url": gateway.receiver.hook("c"), "events": ["training.overdue"]})
    await gateway.upstream.say("ready")
    await ended(gateway, training)
    assert await gateway.deliver() == 2
    receipts = await gateway.receiver.received()
    assert sorted(receipt.name for receipt in receipts) == ["a", "b"]
    assert len({(receipt.id, receipt.body) for receipt in receipts}) == 1


async def test_a_training_without_callbacks_still_records_its_events(gateway: Gateway) -> None:
    training = await gateway.started()
    await gateway.upstream.say("ready")
    await ended(gateway, training)
    assert await gateway.event_types(training["id"]) == ["training.started", "training.ready"]
    assert await gateway.deliver() == 0


async def test_metadata_comes_back_in_every_event(gateway: Gateway) -> None:
    metadata = {"user": "42", "größe": "größer", "n": 9_007_199_254_740_993, "x": 0.1, "yes": True, "nothing": None}
    callback = {"url": gateway.receiver.hook(), "events": ["training.started", "training.ready"]}
    training = await gateway.started(callback=callback, metadata=metadata)
    await gateway.upstream.say("ready")
    await ended(gateway, training)
    await gateway.deliver()
    assert [receipt.event["data"]["metadata"] for receipt in await gateway.receiver.received()] == [metadata] * 2


async def test_an_event_tells_what_a_read_told_at_that_moment(gateway: Gateway) -> None:
    await gateway.upstream.put_model(duration_minutes=40)
    training = await gateway.started(callback={"url": gateway.receiver.hook(), "events": ALL_EVENTS})
    read = [await gateway.training(training["id"])]
    gateway.advance(2100)
    await gateway.poll()
    read.append(await gateway.training(training["id"]))
    await gateway.next_poll(training["id"])
    read.append(await gateway.training(training["id"]))
    assert [event["data"] for event in await gateway.events(training["id"])] == read
    assert [event["timestamp"] for event in await gateway.events(training["id"])] == [
        "2026-11-22T12:00:00.000Z",
        "2026-11-22T12:35:00.000Z",
        read[2]["finished_at"],
    ]


async def test_an_event_is_compact_json_of_less_than_4_kb_apart_from_metadata(gateway: Gateway) -> None:
    def longest_callback(number: int) -> dict[str, Any]:
        return {"url": f"https://example.com/{number}/" + "p" * 300, "events": ALL_EVENTS}

    training = await gateway.started(callback=longest_callback(0))
    for number in range(1, 5):
        assert (await gateway.train(callback=longest_callback(number))).status_code == 200
    await gateway.upstream.say("ready")
    await ended(gateway, training)
    bodies = [event.body for event in await gateway.rows(Event)]
    assert len(bodies) == 2
    for body in bodies:
        assert body == json.dumps(json.loads(body), separators=(",", ":")).encode()
        assert len(body) < 4096
