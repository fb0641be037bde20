"""A worker that dies between two steps, or comes too late: crash points, each with its second step left out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.claimloop import Claimed
from service.domain.training import Status
from service.storage.due_training import DueTraining
from service.storage.sweeps import DueSweep
from service.storage.tables import Training
from tests.support.gateway import MODEL, Gateway, World, drive


async def ready_and_due(gateway: Gateway) -> dict[str, Any]:
    training = await gateway.started(callback_url=gateway.receiver.hook())
    await gateway.upstream.say("ready")
    gateway.advance(330)
    return training


async def test_a_claimed_poll_whose_worker_died_is_taken_over_when_its_lease_ends(gateway: Gateway) -> None:
    training = await ready_and_due(gateway)
    [dropped] = (await gateway.components.trainings.poller.claim(10)).items
    gateway.forget_claims()
    assert isinstance(dropped, DueTraining)
    assert dropped.id == training["id"]
    gateway.advance(59)
    assert await gateway.poll() == 0
    gateway.advance(1)
    assert await gateway.poll() == 1
    assert await gateway.event_types(training["id"]) == ["training.started", "training.ready"]


async def test_a_worker_that_comes_after_its_lease_changes_nothing(gateway: Gateway) -> None:
    training = await ready_and_due(gateway)
    [late] = (await gateway.components.trainings.poller.claim(10)).items
    gateway.forget_claims()
    gateway.advance(60)
    assert await gateway.poll() == 1
    end = await gateway.training(training["id"])
    gateway.advance(1)
    await gateway.upstream.say("deleted")
    await gateway.components.trainings.poller.poll(late)
    assert await gateway.training(training["id"]) == end
    assert await gateway.event_types(training["id"]) == ["training.started", "training.ready"]


async def test_a_worker_that_comes_after_a_cancellation_changes_nothing(gateway: Gateway) -> None:
    training = await ready_and_due(gateway)
    [late] = (await gateway.components.trainings.poller.claim(10)).items
    gateway.forget_claims()
    cancelled = (await gateway.http.delete(f"/v1/trainings/{training['id']}")).json()
    await gateway.components.trainings.poller.poll(late)
    assert await gateway.training(training["id"]) == cancelled
    assert await gateway.event_types(training["id"]) == ["training.started", "training.cancelled"]


async def test_a_poll_that_is_recorded_twice_counts_once(gateway: Gateway) -> None:
    training = await ready_and_due(gateway)
    [due] = (await gateway.components.trainings.poller.claim(10)).items
    gateway.forget_claims()
    await asyncio.gather(*(gateway.components.trainings.poller.poll(due) for _ in range(3)))
    assert await gateway.event_types(training["id"]) == ["training.started", "training.ready"]
    assert await gateway.deliver() == 1


async def test_two_gateways_share_the_due_polls_and_none_is_done_twice(world: World) -> None:
    await world.upstream.control(
        "POST", "/models", json={"key": "pgpt-key-number-one", "prefix": "m", "count": 20, "images": 15}
    )
    async with world.gateway(seed=1) as one, world.gateway(seed=2) as two:
        for number in range(20):
            await one.started(f"m-{number:06d}")
        await one.upstream.control("DELETE", "/calls")
        one.advance(330)
        polled = await asyncio.gather(drive(one.components.loops.polls), drive(two.components.loops.polls))
        assert sum(polled) == 20
        assert len(await one.upstream.calls()) == 20


async def test_a_claim_takes_no_more_than_it_was_asked_for_and_the_longest_due_first(gateway: Gateway) -> None:
    ids = []
    for number in range(5):
        await gateway.upstream.put_model(f"m-{number}")
        ids.append((await gateway.started(f"m-{number}"))["id"])
        gateway.advance(60)
    gateway.advance(330)
    first = await gateway.components.trainings.poller.claim(2)
    second = await gateway.components.trainings.poller.claim(10)
    assert ids_of(first) == set(ids[:2])
    assert ids_of(second) == set(ids[2:])
    assert (await gateway.components.trainings.poller.claim(10)).items == []


def ids_of(claimed: Claimed[DueTraining | DueSweep]) -> set[str]:
    return {due.id for due in claimed.items if isinstance(due, DueTraining)}


# --- around the trigger ---


async def test_a_gateway_that_dies_while_it_triggers_leaves_an_intent_that_is_settled_by_reading(world: World) -> None:
    """C3 and C4: the trigger went out, its outcome was never stored."""
    await world.upstream.put_model()
    await world.upstream.fault_trigger("delay", seconds=1)
    async with world.gateway(seed=1) as dying:
        async with dying.held_train(callback_url=dying.receiver.hook()) as request:
            [intent] = await dying.rows(Training)
            assert intent.status == Status.SUBMITTING
            # Another gateway takes over while the first hangs in its call.
            async with world.gateway(seed=2) as heir:
                assert await heir.poll() == 0
                heir.advance(60)
                await heir.upstream.say("training")
                assert await heir.poll() == 1
                assert (await heir.training(intent.id))["status"] == "training"
            await world.upstream.say("new")
            world.upstream.clock.release()
            late = await request
        # The first comes too late to say anything else, and answers with what is stored.
        assert (late.status_code, late.json()["id"], late.json()["status"]) == (202, intent.id, "training")
        assert await dying.event_types(intent.id) == ["training.started"]
        assert await dying.upstream.trigger_calls() == 1


@pytest.mark.parametrize("upstream_status", ["training", "new"])
async def test_an_intent_without_an_outcome_ends_in_one_event(gateway: Gateway, upstream_status: str) -> None:
    """C2: the gateway died before it triggered anything, or after."""
    training = await gateway.started(callback_url=gateway.receiver.hook())
    await gateway.http.delete(f"/v1/trainings/{training['id']}")
    now = gateway.clock.now()
    row = (await gateway.row(Training, training["id"])).model_dump() | {
        "id": "trn_7zzzzzzzzzzzzzzzzzzzzzzzzz",
        "status": Status.SUBMITTING,
        "sequence": 0,
        "finished_at": None,
        "triggered_at": None,
        "failure_code": None,
        "failure_message": None,
        "due_at": now,
        "fence": 0,
    }
    await gateway.components.database.transaction(lambda unit: unit.session.add(Training(**row)))
    # The key of the tenant was erased with its last training: the next request brings it again.
    await gateway.components.database.transaction(
        lambda unit: gateway.components.tenancy.keep_key(
            unit, gateway.components.tenancy.identify("pgpt-key-number-one")
        )
    )
    await gateway.upstream.put_model(raw_status=upstream_status)
    for _ in range(3):
        if (await gateway.training(row["id"]))["status"] == "submitting":
            await gateway.next_poll(row["id"])
    expected = {"training": ["training.started"], "new": ["training.failed"]}[upstream_status]
    assert await gateway.event_types(row["id"]) == expected
    assert await gateway.upstream.trigger_calls(MODEL) == 1
