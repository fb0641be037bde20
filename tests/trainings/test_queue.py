"""A tenant's queue: who waits, whose turn comes when, and what ends the waiting. PhotoGPT's 429 is ordered."""

from __future__ import annotations

from typing import Any

import pytest

from service.storage.tables import Tenant, Training
from tests.support.gateway import KEY, OTHER_KEY, Gateway, World

PAUSE = 60.0
DAY = 86_400.0


async def no_room(gateway: Gateway, **order: Any) -> None:
    await gateway.upstream.fault("status", path="/models/[^/]+/train", status=429, times=None, **order)


async def room(gateway: Gateway) -> None:
    await gateway.upstream.forget_faults()


async def asked(gateway: Gateway, model: str, **body: Any) -> dict[str, Any]:
    """A request that may wait, for a model that takes for ever to train."""
    await gateway.upstream.put_model(model, duration_minutes=100_000)
    gateway.advance(0.01)  # ids of one millisecond have no order
    return await gateway.started(model, on_capacity="queue", **body)


async def queued(gateway: Gateway, *models: str, **body: Any) -> list[dict[str, Any]]:
    await no_room(gateway)
    return [await asked(gateway, model, **body) for model in models]


async def statuses(gateway: Gateway, *trainings: dict[str, Any]) -> list[str]:
    return [(await gateway.training(training["id"]))["status"] for training in trainings]


async def places(gateway: Gateway, *trainings: dict[str, Any]) -> list[int | None]:
    return [(await gateway.training(training["id"]))["queue_position"] for training in trainings]


async def tries(gateway: Gateway) -> list[str]:
    """The models that were asked to be trained, in this order, whatever came of it."""
    return [call["path"].split("/")[2] for call in await gateway.upstream.calls("/models/[^/]+/train")]


# --- the request ---


async def test_with_room_it_is_trained_like_any(gateway: Gateway) -> None:
    training = await asked(gateway, "a")
    assert (training["status"], training["queue_position"]) == ("training", None)
    assert await gateway.start_queued() == 0


async def test_without_room_it_waits(gateway: Gateway) -> None:
    [training] = await queued(gateway, "a", callback_url=gateway.receiver.hook())
    assert (training["status"], training["queue_position"]) == ("queued", 1)
    assert (training["triggered_at"], training["next_poll_at"], training["finished_at"]) == (None, None, None)
    gateway.advance(DAY / 2)
    assert await gateway.poll() == 0
    assert await gateway.event_types(training["id"]) == []


async def test_the_answer_says_when_to_look_again(gateway: Gateway) -> None:
    await gateway.upstream.put_model("a")
    await no_room(gateway)
    answer = await gateway.train("a", on_capacity="queue")
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "60")
    assert answer.headers["location"] == answer.json()["urls"]["self"]


@pytest.mark.parametrize("body", [{}, {"on_capacity": "reject"}])
async def test_who_does_not_ask_for_it_is_refused_as_ever(gateway: Gateway, body: dict[str, Any]) -> None:
    await gateway.upstream.put_model("a")
    await no_room(gateway)
    answer = await gateway.train("a", **body)
    assert (answer.status_code, answer.json()["training"]["status"]) == (429, "rejected")
    gateway.advance(DAY)
    assert await gateway.start_queued() == 0


@pytest.mark.parametrize("status", [400, 402, 409, 422, 503])
async def test_another_refusal_is_passed_on_as_ever(gateway: Gateway, status: int) -> None:
    await gateway.upstream.put_model("a")
    await gateway.upstream.fault_trigger("status", "a", status=status)
    answer = await gateway.train("a", on_capacity="queue")
    assert answer.status_code == status
    assert answer.json()["training"]["status"] == "rejected"


@pytest.mark.parametrize("wish", ["", "wait", "Queue", None, True, 1, ["queue"]])
async def test_there_are_two_wishes(gateway: Gateway, wish: object) -> None:
    answer = await gateway.train(on_capacity=wish)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/on_capacity")


async def test_behind_others_it_is_not_even_tried(gateway: Gateway) -> None:
    first, second, third = await queued(gateway, "a", "b", "c")
    assert await places(gateway, first, second, third) == [1, 2, 3]
    assert await tries(gateway) == ["a"]
    listed = (await gateway.http.get("/v1/trainings")).json()["data"]
    assert {item["model_id"]: item["queue_position"] for item in listed} == {"a": 1, "b": 2, "c": 3}


async def test_behind_others_model_and_key_are_looked_at_all_the_same(gateway: Gateway) -> None:
    await queued(gateway, "a")
    answer = await gateway.train("unknown", on_capacity="queue")
    assert answer.status_code == 404
    assert len(await gateway.rows(Training)) == 1


async def test_while_another_is_being_tried_it_waits(gateway: Gateway) -> None:
    await gateway.upstream.put_model("a", duration_minutes=100_000)
    await gateway.upstream.fault_trigger("delay", "a", seconds=1)
    async with gateway.held_train("a", on_capacity="queue"):
        second = await asked(gateway, "b")
        assert (second["status"], second["queue_position"]) == ("queued", 1)
    assert await tries(gateway) == ["a"]
    gateway.advance(PAUSE)
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, second) == ["training"]


async def test_after_a_try_in_vain_no_other_is_made_before_the_pause(gateway: Gateway) -> None:
    [first] = await queued(gateway, "a")
    await gateway.http.delete(f"/v1/trainings/{first['id']}")
    second = await asked(gateway, "b")
    assert second["status"] == "queued"
    gateway.advance(PAUSE - 1)
    assert await gateway.start_queued() == 0
    gateway.advance(1)
    assert await gateway.start_queued() == 1
    assert await tries(gateway) == ["a", "b"]


async def test_a_second_request_for_the_model_joins_it(gateway: Gateway) -> None:
    [first] = await queued(gateway, "a")
    answer = await gateway.train("a", callback_url=gateway.receiver.hook())
    assert (answer.status_code, answer.json()["id"]) == (200, first["id"])
    assert (answer.json()["status"], answer.json()["queue_position"]) == ("queued", 1)
    assert [callback["url"] for callback in answer.json()["callbacks"]] == [gateway.receiver.hook()]
    assert await tries(gateway) == ["a"]


@pytest.mark.parametrize("behind", [False, True])
async def test_its_answer_is_kept_for_its_idempotency_key(gateway: Gateway, behind: bool) -> None:
    if behind:
        await queued(gateway, "first")
    await no_room(gateway)
    await gateway.upstream.put_model("a")
    once = {"idempotency-key": "once"}
    first = await gateway.train("a", headers=once, on_capacity="queue")
    await room(gateway)
    gateway.advance(PAUSE)
    await gateway.start_queued()
    second = await gateway.train("a", headers=once, on_capacity="queue")
    assert (first.status_code, second.status_code, second.headers["idempotent-replayed"]) == (202, 202, "true")
    assert first.json() == second.json()
    other = await gateway.train("a", headers=once)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_queued_ones_count_as_active(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_TRAININGS=2) as gateway:
        await queued(gateway, "a", "b")
        await gateway.upstream.put_model("c")
        answer = await gateway.train("c", on_capacity="queue")
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_trainings")


# --- the turn ---


async def test_it_is_started_in_its_turn_and_watched(gateway: Gateway) -> None:
    [training] = await queued(gateway, "a", callback_url=gateway.receiver.hook())
    await room(gateway)
    gateway.advance(PAUSE)
    assert await gateway.start_queued() == 1
    shown = await gateway.training(training["id"])
    assert (shown["status"], shown["queue_position"]) == ("training", None)
    assert shown["triggered_at"] is not None
    assert await gateway.event_types(training["id"]) == ["training.started"]
    await gateway.upstream.say("ready", "a")
    await gateway.next_poll(training["id"])
    assert await gateway.event_types(training["id"]) == ["training.started", "training.ready"]
    await gateway.deliver()
    assert [webhook.type for webhook in await gateway.receiver.received()] == ["training.ready"]


async def test_each_has_its_turn_a_pause_after_the_one_before(gateway: Gateway) -> None:
    trainings = await queued(gateway, "a", "b", "c")
    await room(gateway)
    for started in range(1, 4):
        gateway.advance(PAUSE - 1)
        assert await gateway.start_queued() == 0
        gateway.advance(1)
        assert await gateway.start_queued() == 1
        assert await statuses(gateway, *trainings) == ["training"] * started + ["queued"] * (3 - started)
        assert await places(gateway, *trainings) == [None] * started + list(range(1, 4 - started))
    assert await tries(gateway) == ["a", "a", "b", "c"]
    gateway.advance(DAY)
    assert await gateway.start_queued() == 0


async def test_each_try_in_vain_makes_the_pause_longer_and_keeps_the_place(gateway: Gateway) -> None:
    trainings = await queued(gateway, "a", "b")
    for minutes in (1, 2, 4, 8, 15, 15, 15):
        gateway.advance(minutes * PAUSE - 1)
        assert await gateway.start_queued() == 0
        gateway.advance(1)
        assert await gateway.start_queued() == 1
        assert await places(gateway, *trainings) == [1, 2]
    assert set(await tries(gateway)) == {"a"}
    await room(gateway)
    gateway.advance(15 * PAUSE)
    assert await gateway.start_queued() == 1
    # A try that was not in vain begins anew.
    await no_room(gateway)
    for minutes in (1, 1, 2):
        gateway.advance(minutes * PAUSE)
        assert await gateway.start_queued() == 1
    assert await statuses(gateway, *trainings) == ["training", "queued"]


async def test_photogpt_may_ask_for_a_longer_pause(gateway: Gateway) -> None:
    await gateway.upstream.put_model("a")
    await no_room(gateway, headers={"retry-after": "600"})
    await gateway.started("a", on_capacity="queue")
    gateway.advance(599)
    assert await gateway.start_queued() == 0
    gateway.advance(1)
    assert await gateway.start_queued() == 1


async def test_the_end_of_a_training_of_the_tenant_is_the_next_ones_turn(gateway: Gateway) -> None:
    running = await asked(gateway, "running")
    [waiting] = await queued(gateway, "a")
    for minutes in (1, 2, 4, 8):
        gateway.advance(minutes * PAUSE)
        await gateway.start_queued()
    await room(gateway)
    gateway.advance(PAUSE)
    assert await gateway.start_queued() == 0
    await gateway.upstream.say("ready", "running")
    assert await gateway.poll() == 1
    assert await statuses(gateway, running) == ["ready"]
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, waiting) == ["training"]


async def test_the_end_of_a_training_does_not_shorten_the_least_pause(gateway: Gateway) -> None:
    running = await asked(gateway, "running")
    gateway.advance(295)
    await queued(gateway, "a")
    tried = gateway.clock.now()
    await gateway.upstream.say("ready", "running")
    await gateway.next_poll(running["id"])
    assert await statuses(gateway, running) == ["ready"]
    assert await gateway.start_queued() == 0
    gateway.advance(PAUSE - (gateway.clock.now() - tried).total_seconds())
    assert await gateway.start_queued() == 1


async def test_tenants_do_not_wait_for_each_other(gateway: Gateway) -> None:
    await queued(gateway, "a", "b")
    await room(gateway)
    await gateway.upstream.put_model("theirs", key=OTHER_KEY)
    theirs = {"authorization": f"Bearer {OTHER_KEY}"}
    answer = await gateway.train("theirs", headers=theirs, on_capacity="queue")
    assert answer.json()["status"] == "training"


async def test_a_key_that_is_told_to_wait_is_not_used_for_its_queue(gateway: Gateway) -> None:
    await asked(gateway, "running")
    gateway.advance(300)
    await queued(gateway, "a")
    await gateway.upstream.fault_reading("status", "running", status=429, headers={"retry-after": "1200"})
    gateway.advance(30)
    assert await gateway.poll() == 1
    gateway.advance(1199)
    assert await gateway.start_queued() == 0
    gateway.advance(1)
    assert await gateway.start_queued() == 1


# --- what may come of a turn ---


@pytest.mark.parametrize("status", [400, 402, 404, 409, 422])
async def test_what_photogpt_refuses_for_good_is_rejected_and_the_next_has_its_turn(
    gateway: Gateway, status: int
) -> None:
    first, second = await queued(gateway, "a", "b", callback_url=gateway.receiver.hook())
    await room(gateway)
    await gateway.upstream.fault_trigger("status", "a", status=status)
    gateway.advance(PAUSE)
    assert await gateway.start_queued() == 1
    ended = await gateway.training(first["id"])
    assert (ended["status"], ended["failure"]["code"]) == ("rejected", "upstream_refused")
    assert await gateway.event_types(first["id"]) == ["training.rejected"]
    await gateway.deliver()
    assert [webhook.type for webhook in await gateway.receiver.received()] == ["training.rejected"]
    assert await gateway.start_queued() == 0
    gateway.advance(PAUSE)
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, second) == ["training"]


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 503, "body": '{"status": "NOK", "message": "later"}'}])
@pytest.mark.parametrize("call", ["", "/train"])
async def test_what_photogpt_refuses_for_now_waits_on(gateway: Gateway, call: str, fault: dict[str, Any]) -> None:
    [training] = await queued(gateway, "a")
    await room(gateway)
    await gateway.upstream.fault("status", path=f"/models/a{call}", times=None, **fault)
    for minutes in (1, 2, 4):
        gateway.advance(minutes * PAUSE)
        assert await gateway.start_queued() == 1
        assert await places(gateway, training) == [1]
    await room(gateway)
    gateway.advance(8 * PAUSE)
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, training) == ["training"]


async def test_a_model_that_can_not_be_read_is_not_triggered(gateway: Gateway) -> None:
    [training] = await queued(gateway, "a")
    await room(gateway)
    await gateway.upstream.fault_reading("status", "a", status=500)
    gateway.advance(PAUSE)
    assert await gateway.start_queued() == 1
    assert await tries(gateway) == ["a"]
    assert await places(gateway, training) == [1]


async def test_a_key_is_refused_three_times_in_a_row_before_that_counts(gateway: Gateway) -> None:
    [training] = await queued(gateway, "a", callback_url=gateway.receiver.hook())
    await room(gateway)
    refusals = [("/models/a", 2), ("/models/a/train", 2)]
    for path, times in refusals:
        body = '{"status": "NOK", "message": "unknown key"}'
        await gateway.upstream.fault("status", path=path, status=401, body=body, times=times)
    turns = []
    for minutes in (1, 2, 4, 8):
        gateway.advance(minutes * PAUSE)
        turns.append(await gateway.start_queued())
    assert turns == [1, 1, 1, 0]
    ended = await gateway.training(training["id"])
    assert (ended["status"], ended["failure"]["code"]) == ("rejected", "upstream_refused")
    assert (await gateway.rows(Tenant))[0].sealed_key is None


async def test_a_key_that_works_in_between_is_not_refused_in_a_row(gateway: Gateway) -> None:
    [training] = await queued(gateway, "a")
    body = '{"status": "NOK", "message": "unknown key"}'
    await gateway.upstream.fault("status", path="/models/a", status=401, body=body, times=2)
    for minutes in (1, 2, 4):
        gateway.advance(minutes * PAUSE)
        assert await gateway.start_queued() == 1
    await gateway.upstream.fault("status", path="/models/a", status=401, body=body, times=2)
    for minutes in (8, 15):
        gateway.advance(minutes * PAUSE)
        assert await gateway.start_queued() == 1
        assert await statuses(gateway, training) == ["queued"]


async def test_an_unclear_outcome_is_read_and_never_triggered_again(gateway: Gateway) -> None:
    first, second = await queued(gateway, "a", "b")
    await room(gateway)
    await gateway.upstream.fault_trigger("status", "a", status=500)
    gateway.advance(PAUSE)
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, first, second) == ["submitting", "queued"]
    gateway.advance(PAUSE)
    assert (await gateway.start_queued(), await statuses(gateway, second)) == (1, ["training"])
    for _ in range(3):
        gateway.advance(330)
        await gateway.poll()
    shown = await gateway.training(first["id"])
    assert (shown["status"], shown["failure"]["code"]) == ("failed", "trigger_unconfirmed")
    assert await tries(gateway) == ["a", "a", "b"]


async def test_what_was_adopted_began_when_it_was_submitted(gateway: Gateway) -> None:
    [training] = await queued(gateway, "a")
    await room(gateway)
    gateway.advance(3600)
    await gateway.upstream.fault_trigger("status_after", "a", status=500)
    submitted = gateway.clock.now()
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, training) == ["submitting"]
    await gateway.next_poll(training["id"])
    row = await gateway.row(Training, training["id"])
    assert (row.status, row.triggered_at) == ("training", submitted)
    assert not row.overdue


async def test_waiting_makes_nothing_overdue_and_does_not_count_for_the_watch(gateway: Gateway) -> None:
    [training] = await queued(gateway, "a")
    await room(gateway)
    gateway.advance(23 * 3600)
    assert await gateway.start_queued() == 1
    for _ in range(2):
        await gateway.next_poll(training["id"])
    shown = await gateway.training(training["id"])
    assert (shown["status"], shown["overdue"]) == ("training", False)


# --- the end of waiting ---


async def test_who_has_waited_for_a_day_is_rejected(gateway: Gateway) -> None:
    first, second, third = await queued(gateway, "a", "b", "c", callback_url=gateway.receiver.hook())
    gateway.advance(DAY)
    late = await asked(gateway, "d")
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, first, second, third, late) == ["queued"] * 4
    gateway.advance(15 * PAUSE)
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, first, second, third, late) == ["rejected"] * 3 + ["queued"]
    ended = await gateway.training(first["id"])
    assert ended["failure"]["code"] == "queue_expired"
    assert await gateway.event_types(first["id"]) == ["training.rejected"]
    before = len(await tries(gateway))
    assert await gateway.start_queued() == 1
    assert (await tries(gateway))[before:] == ["d"]


async def test_how_long_may_be_set(world: World) -> None:
    async with world.gateway(GATEWAY_QUEUE_EXPIRE_AFTER=100.0, GATEWAY_QUEUE_PAUSE=30.0) as gateway:
        [training] = await queued(gateway, "a")
        for seconds in (30, 60, 120):
            gateway.advance(seconds)
            assert await gateway.start_queued() == 1
        assert await statuses(gateway, training) == ["queued"]
        gateway.advance(240)
        assert await gateway.start_queued() == 1
        assert await statuses(gateway, training) == ["rejected"]


async def test_it_can_be_cancelled(gateway: Gateway) -> None:
    first, second = await queued(gateway, "a", "b")
    cancelled = (await gateway.http.delete(f"/v1/trainings/{first['id']}")).json()
    assert (cancelled["status"], cancelled["queue_position"]) == ("cancelled", None)
    assert "nothing was triggered" in cancelled["failure"]["message"]
    assert await gateway.event_types(first["id"]) == ["training.cancelled"]
    assert await places(gateway, second) == [1]
    await room(gateway)
    gateway.advance(PAUSE)
    assert await gateway.start_queued() == 1
    assert await tries(gateway) == ["a", "b"]


async def test_what_is_cancelled_while_its_model_is_read_is_not_triggered(gateway: Gateway) -> None:
    first, second = await queued(gateway, "a", "b")
    await room(gateway)
    gateway.advance(PAUSE)
    [due] = (await gateway.components.trainings.starter.claim(10)).items
    await gateway.http.delete(f"/v1/trainings/{first['id']}")
    await gateway.components.trainings.starter.start(due)
    assert await tries(gateway) == ["a"]
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, first, second) == ["cancelled", "training"]


async def test_the_key_is_kept_as_long_as_one_waits(gateway: Gateway) -> None:
    running = await asked(gateway, "running")
    [waiting] = await queued(gateway, "a")
    await gateway.http.delete(f"/v1/trainings/{running['id']}")
    assert (await gateway.rows(Tenant))[0].sealed_key is not None
    assert (await gateway.http.get("/v1/account")).json()["key_stored"]
    await gateway.http.delete(f"/v1/trainings/{waiting['id']}")
    assert (await gateway.rows(Tenant))[0].sealed_key is None


# --- workers that die, clocks that jump ---


async def test_a_queue_survives_a_restart(world: World) -> None:
    async with world.gateway() as gateway:
        trainings = await queued(gateway, "a", "b")
        await room(gateway)
    async with world.gateway(seed=2) as gateway:
        for _ in trainings:
            gateway.advance(PAUSE)
            assert await gateway.start_queued() == 1
        assert await statuses(gateway, *trainings) == ["training", "training"]
        assert await gateway.upstream.triggers() == {"a": 1, "b": 1}


async def test_a_turn_whose_worker_died_before_the_intent_is_taken_over(gateway: Gateway) -> None:
    [training] = await queued(gateway, "a")
    await room(gateway)
    gateway.advance(PAUSE)
    [late] = (await gateway.components.trainings.starter.claim(10)).items
    gateway.forget_claims()
    gateway.advance(59)
    assert await gateway.start_queued() == 0
    gateway.advance(1)
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, training) == ["training"]
    await gateway.components.trainings.starter.start(late)
    assert await gateway.upstream.triggers() == {"a": 1}
    assert await tries(gateway) == ["a", "a"]


async def test_a_turn_is_taken_once_however_often_it_is_worked(gateway: Gateway) -> None:
    [training] = await queued(gateway, "a")
    await room(gateway)
    gateway.advance(PAUSE)
    [due] = (await gateway.components.trainings.starter.claim(10)).items
    for _ in range(3):
        await gateway.components.trainings.starter.start(due)
    assert await tries(gateway) == ["a", "a"]
    assert await gateway.event_types(training["id"]) == ["training.started"]


async def test_after_a_jump_forward_nobody_is_rejected_by_one_look(gateway: Gateway) -> None:
    [training] = await queued(gateway, "a")
    gateway.clock.jump(30 * DAY)
    await gateway.components.heartbeat.beat()
    assert await gateway.start_queued() == 1
    gateway.clock.jump(-30 * DAY)
    await gateway.components.heartbeat.beat()
    gateway.advance(3600)
    await room(gateway)
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, training) == ["training"]


@pytest.mark.parametrize("back", [100, 1000, DAY, 400 * DAY])
async def test_after_a_jump_back_a_queue_rests_no_longer_than_ever(gateway: Gateway, back: float) -> None:
    [training] = await queued(gateway, "a")
    await room(gateway)
    gateway.clock.jump(-back)
    await gateway.components.heartbeat.beat()
    gateway.advance(3600)
    assert await gateway.start_queued() == 1
    assert await statuses(gateway, training) == ["training"]


async def test_a_sidecar_uses_its_own_key(world: World) -> None:
    async with world.gateway(PHOTOGPT_API_KEY=KEY) as gateway:
        [training] = await queued(gateway, "a")
        await room(gateway)
        gateway.advance(PAUSE)
        assert await gateway.start_queued() == 1
        assert await statuses(gateway, training) == ["training"]
