"""What passes by is seen: a caller's own look at a model through the proxy is told to everybody."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import brotli
import pytest

from service.storage.tables import Training
from service.trainings.sightings import Sighting
from tests.support.gateway import MODEL, OTHER_KEY, Gateway, World
from tests.support.outage import find_database, lose_database
from tests.support.waiting import wait_until


async def look(gateway: Gateway, path: str = f"/api/models/{MODEL}", *, method: str = "GET", status: int = 200) -> Any:
    """Ask through the proxy, and let what comes of it be stored."""
    answer = await gateway.http.request(method, path)
    assert answer.status_code == status, answer.text
    await seen(gateway)
    return answer


async def seen(gateway: Gateway) -> None:
    sightings = gateway.components.trainings.sightings
    await wait_until(lambda: not sightings._under_way, what="what passed by to be looked at")


async def started(gateway: Gateway) -> str:
    training_id: str = (await gateway.started(callback_url=gateway.receiver.hook()))["id"]
    gateway.advance(100)
    return training_id


async def test_readiness_that_a_caller_sees_is_told_at_once(gateway: Gateway) -> None:
    training_id = await started(gateway)
    await gateway.upstream.say("ready")
    await look(gateway)
    assert (await gateway.training(training_id))["status"] == "ready"
    assert await gateway.event_types(training_id) == ["training.started", "training.ready"]
    assert await gateway.deliver() == 1
    await gateway.next_poll_is_none(training_id)


async def test_a_deletion_through_the_proxy_is_told_at_once(gateway: Gateway) -> None:
    training_id = await started(gateway)
    await look(gateway, method="DELETE")
    assert (await gateway.training(training_id))["status"] == "deleted"


@pytest.mark.parametrize("coder", [("gzip", gzip.compress), ("br", brotli.compress)], ids=["gzip", "br"])
async def test_a_coded_answer_is_seen_too(gateway: Gateway, coder: Any) -> None:
    training_id = await started(gateway)
    body = json.dumps({"status": "OK", "result": {"id": MODEL, "status": "ready"}}).encode()
    coded = coder[1](body)
    began = gateway.clock.now()
    tenant = (await gateway.row(Training, training_id)).tenant_id
    gateway.components.trainings.sightings.notice(
        Sighting(tenant, began, MODEL, deletes=False, coding=coder[0], chunks=[coded])
    )
    await seen(gateway)
    assert (await gateway.training(training_id))["status"] == "ready"


async def test_what_seems_to_have_ended_in_a_callers_list_is_confirmed_first(gateway: Gateway) -> None:
    training_id = await started(gateway)
    await gateway.upstream.say("ready")
    await look(gateway, "/api/models")
    assert (await gateway.training(training_id))["status"] == "training"
    assert await gateway.poll() == 1
    assert (await gateway.training(training_id))["status"] == "ready"


async def test_a_list_confirms_nothing_that_was_polled_just_now(gateway: Gateway) -> None:
    training_id = await started(gateway)
    await gateway.next_poll(training_id)
    await gateway.upstream.say("ready")
    gateway.advance(59)
    await look(gateway, "/api/models")
    assert await gateway.poll() == 0
    gateway.advance(2)
    await look(gateway, "/api/models")
    assert await gateway.poll() == 1


async def test_a_look_without_news_stands_in_for_our_poll_once_that_is_near(gateway: Gateway) -> None:
    training_id = await started(gateway)
    await look(gateway)
    before = await gateway.training(training_id)
    assert before["upstream_status"] == "training", "the first look that sees it train is news"
    gateway.advance(239)
    await look(gateway)
    assert await gateway.training(training_id) == before
    gateway.advance(2)
    await look(gateway)
    after = await gateway.training(training_id)
    assert after["last_polled_at"] > before["last_polled_at"]
    assert after["next_poll_at"] > before["next_poll_at"]
    gateway.advance(298)
    assert await gateway.poll() == 0


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("DELETE", {"kind": "status", "status": 404}),
        ("DELETE", {"kind": "html"}),
        ("DELETE", {"kind": "json", "body": {"status": "NOK", "result": {"id": MODEL, "status": "deleted"}}}),
        ("GET", {"kind": "status", "status": 404}),
        ("GET", {"kind": "status", "status": 401}),
        ("GET", {"kind": "status", "status": 500}),
        ("GET", {"kind": "html"}),
        ("GET", {"kind": "json", "body": {"status": "NOK", "result": {"id": MODEL, "status": "ready"}}}),
        ("GET", {"kind": "json", "body": {"status": "OK", "result": {"id": "another", "status": "ready"}}}),
        ("GET", {"kind": "json", "body": {"status": "OK", "result": "ready"}}),
    ],
    ids=str,
)
async def test_errors_in_passing_mean_nothing(gateway: Gateway, method: str, fault: dict[str, Any]) -> None:
    training_id = await started(gateway)
    before = await gateway.row(Training, training_id)
    for _ in range(4):
        await gateway.upstream.fault_reading(times=1, **fault)
        await gateway.http.request(method, f"/api/models/{MODEL}")
        await seen(gateway)
    assert await gateway.row(Training, training_id) == before


async def test_anothers_look_at_a_model_of_the_same_name_means_nothing(gateway: Gateway) -> None:
    training_id = await started(gateway)
    body = {"status": "OK", "result": {"id": MODEL, "status": "ready"}}
    await gateway.upstream.fault_reading("json", body=body)
    await gateway.http.get(f"/api/models/{MODEL}", headers={"authorization": f"Bearer {OTHER_KEY}"})
    await seen(gateway)
    assert (await gateway.training(training_id))["status"] == "training"


async def test_a_good_answer_shows_that_the_key_of_suspended_trainings_works_again(gateway: Gateway) -> None:
    training_id = await started(gateway)
    await gateway.upstream.fault_reading("status", status=401, times=3)
    for _ in range(3):
        gateway.advance(330)
        await gateway.poll()
    assert (await gateway.training(training_id))["suspended"] is True
    gateway.advance(10)
    await look(gateway)
    assert (await gateway.training(training_id))["suspended"] is False
    gateway.advance(330)
    assert await gateway.poll() == 1


async def test_a_stale_ready_is_no_readiness_and_a_reading_that_leaves_it_is_kept(gateway: Gateway) -> None:
    """A model that is trained again may say `ready` for a while, to callers as to us."""
    await gateway.upstream.put_model("again", status="ready", stale_ready_polls=1)
    training_id = (await gateway.started("again"))["id"]
    gateway.advance(10)
    await look(gateway, "/api/models/again")
    assert (await gateway.training(training_id))["status"] == "training"
    gateway.advance(10)
    await look(gateway, "/api/models/again")
    assert (await gateway.row(Training, training_id)).left_baseline


async def test_what_was_asked_before_the_trigger_tells_nothing_of_it(gateway: Gateway) -> None:
    await gateway.upstream.fault_reading("delay", seconds=1, times=1)
    body = {"status": "OK", "result": {"id": MODEL, "status": "ready", "updatedAt": "later"}}
    early = asyncio.create_task(gateway.http.get(f"/api/models/{MODEL}"))
    await wait_until(lambda: gateway.upstream.clock.held == 1, what="the look to be held back")
    gateway.advance(1)
    training_id = (await gateway.started())["id"]
    await gateway.upstream.fault_reading("json", body=body)
    await gateway.upstream.say("ready")
    gateway.upstream.clock.release()
    assert (await early).status_code == 200
    await seen(gateway)
    assert (await gateway.training(training_id))["status"] == "training"


async def test_a_lost_trigger_is_confirmed_by_a_look_once_it_is_nobodys(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("reset_after")
    training_id = (await gateway.started())["id"]
    await gateway.upstream.say("training")
    await look(gateway)
    assert (await gateway.training(training_id))["status"] == "submitting"
    gateway.advance(61)
    await look(gateway)
    assert (await gateway.training(training_id))["status"] == "training"
    assert await gateway.event_types(training_id) == ["training.started"]


async def test_a_sighting_that_fails_changes_nothing_for_the_caller(
    world: World, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    training_id = await started(gateway)
    await gateway.upstream.say("ready")
    await lose_database(world, gateway)
    answer = await look(gateway)
    await find_database(world)
    assert answer.json()["result"]["status"] == "ready"
    assert "sighting_lost" in capsys.readouterr().out
    assert (await gateway.training(training_id))["status"] == "training"
    await look(gateway)
    assert (await gateway.training(training_id))["status"] == "ready"


async def test_what_is_under_way_at_the_end_is_stored_before_it(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        training_id = await started(gateway)
        await gateway.upstream.say("ready")
        assert (await gateway.http.get(f"/api/models/{MODEL}")).status_code == 200
    async with world.gateway(seed=2) as restarted:
        assert (await restarted.training(training_id))["status"] == "ready"


async def test_who_watches_nothing_leaves_nothing_behind(gateway: Gateway) -> None:
    await look(gateway)
    assert await gateway.rows(Training) == []
