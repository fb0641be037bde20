"""`Idempotency-Key`: the same request with the same key is answered once, and its answer is given again for 24 h."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from service.domain.training import Status
from service.storage.database import UnitOfWork
from service.storage.tables import IdempotencyKey, Training
from service.trainings.request import CallbackRequest, TrainRequest, checked
from tests.support.gateway import MODEL, OTHER_KEY, OTHER_SECRET, SECRET, Gateway

KEY_ONE = {"idempotency-key": "key-1"}


async def test_a_repeated_request_gets_the_first_answer_again(gateway: Gateway) -> None:
    body: dict[str, Any] = {"callback_url": gateway.receiver.hook(), "metadata": {"user": "42"}}
    first = await gateway.train(headers=KEY_ONE, **body)
    assert first.status_code == 202
    assert "idempotent-replayed" not in first.headers
    gateway.advance(100)
    again = await gateway.train(headers=KEY_ONE, **body)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    # How long to wait is told as it is now.
    assert int(again.headers["retry-after"]) == int(first.headers["retry-after"]) - 100
    assert len(await gateway.upstream.calls()) == 2
    assert await gateway.count(Training) == 1


async def test_the_first_answer_is_given_again_after_the_training_has_ended(gateway: Gateway) -> None:
    first = await gateway.train(headers=KEY_ONE)
    await gateway.upstream.say("ready")
    await gateway.next_poll(first.json()["id"])
    again = await gateway.train(headers=KEY_ONE)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert await gateway.upstream.triggers() == {MODEL: 1}


async def test_a_join_is_given_again_as_a_join(gateway: Gateway) -> None:
    await gateway.train()
    joined = await gateway.train(headers=KEY_ONE, callback_url=gateway.receiver.hook())
    again = await gateway.train(headers=KEY_ONE, callback_url=gateway.receiver.hook())
    assert (joined.status_code, again.status_code) == (200, 200)
    assert again.content == joined.content
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_lasting_refusal_is_given_again(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("status", status=402)
    refused = await gateway.train(headers=KEY_ONE)
    again = await gateway.train(headers=KEY_ONE)
    assert (refused.status_code, again.status_code) == (402, 402)
    assert again.content == refused.content
    assert again.headers["idempotent-replayed"] == "true"
    assert await gateway.upstream.trigger_calls() == 1


@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 429}, {"kind": "status", "status": 503}, {"kind": "cdn_block"}],
    ids=str,
)
async def test_a_refusal_that_may_pass_frees_the_key(gateway: Gateway, fault: dict[str, Any]) -> None:
    await gateway.upstream.fault_trigger(**fault)
    refused = await gateway.train(headers=KEY_ONE)
    assert refused.status_code in {429, 503}
    assert await gateway.count(IdempotencyKey) == 0
    accepted = await gateway.train(headers=KEY_ONE)
    assert accepted.status_code == 202
    assert "idempotent-replayed" not in accepted.headers
    assert accepted.json()["id"] != refused.json()["training"]["id"]
    assert await gateway.upstream.triggers() == {MODEL: 1}


async def test_a_request_that_was_never_right_does_not_use_up_its_key(gateway: Gateway) -> None:
    wrong = await gateway.train(headers=KEY_ONE, callback_url="ftp://example.com/")
    assert wrong.status_code == 422
    assert (await gateway.train(headers=KEY_ONE)).status_code == 202


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"model_id": "model-2"}),
        ({}, {"metadata": {"user": "1"}}),
        ({"metadata": {"user": "1"}}, {"metadata": {"user": "2"}}),
        ({"metadata": {"a": 1}}, {"metadata": {"a": True}}),
        ({"callback_url": "https://example.com/a"}, {"callback_url": "https://example.com/b"}),
        ({"callback_url": "https://example.com/a"}, {}),
        (
            {"callback": {"url": "https://example.com/", "secret": SECRET}},
            {"callback": {"url": "https://example.com/", "secret": OTHER_SECRET}},
        ),
        (
            {"callback": {"url": "https://example.com/"}},
            {"callback": {"url": "https://example.com/", "events": ["training.ready"]}},
        ),
    ],
)
async def test_a_key_belongs_to_one_request(gateway: Gateway, first: dict[str, Any], second: dict[str, Any]) -> None:
    await gateway.upstream.put_model("model-2")
    accepted = await gateway.train(headers=KEY_ONE, **first)
    assert accepted.status_code == 202, accepted.text
    before = await gateway.training(accepted.json()["id"])
    answer = await gateway.train(headers=KEY_ONE, **second)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert await gateway.upstream.triggers() == {MODEL: 1}
    assert await gateway.training(accepted.json()["id"]) == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"metadata": {"a": 1, "b": 2}}, {"metadata": {"b": 2, "a": 1}}),
        ({"callback_url": "https://example.com"}, {"callback_url": "HTTPS://EXAMPLE.com:443/"}),
        (
            {"callback": {"url": "https://a.example/", "events": ["training.ready", "training.failed"]}},
            {"callback": {"url": "https://a.example/", "events": ["training.failed", "training.ready"]}},
        ),
        ({}, {"callback": None, "callback_url": None, "metadata": {}}),
    ],
)
async def test_the_same_request_in_another_spelling_is_the_same(
    gateway: Gateway, first: dict[str, Any], second: dict[str, Any]
) -> None:
    accepted = await gateway.train(headers=KEY_ONE, **first)
    again = await gateway.train(headers=KEY_ONE, **second)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.content == accepted.content


async def test_a_key_may_stand_in_quotes(gateway: Gateway) -> None:
    await gateway.train(headers={"idempotency-key": '"key-1"'})
    assert (await gateway.train(headers={"idempotency-key": " key-1 "})).headers["idempotent-replayed"] == "true"


async def test_two_tenants_may_use_the_same_key(gateway: Gateway) -> None:
    await gateway.upstream.put_model("model-2", key=OTHER_KEY)
    mine = await gateway.train(headers=KEY_ONE)
    theirs = await gateway.train("model-2", headers={**KEY_ONE, "authorization": f"Bearer {OTHER_KEY}"})
    assert (mine.status_code, theirs.status_code) == (202, 202)
    assert "idempotent-replayed" not in theirs.headers
    assert await gateway.upstream.triggers() == {MODEL: 1, "model-2": 1}


async def test_while_the_first_request_is_under_way_a_second_is_told_to_wait(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("delay", seconds=1)
    async with gateway.held_train(headers=KEY_ONE) as first:
        second = await gateway.train(headers=KEY_ONE)
        assert (second.status_code, second.json()["code"]) == (409, "in_flight")
        assert second.headers["retry-after"] == "2"
        gateway.upstream.clock.release()
        assert (await first).status_code == 202
    third = await gateway.train(headers=KEY_ONE)
    assert (third.status_code, third.content) == (202, (await first).content)
    assert third.headers["idempotent-replayed"] == "true"
    assert await gateway.upstream.trigger_calls() == 1


async def test_ten_requests_at_once_with_one_key_trigger_once(gateway: Gateway) -> None:
    answers = await asyncio.gather(*(gateway.train(headers=KEY_ONE) for _ in range(10)))
    [fresh] = [answer for answer in answers if answer.status_code == 202 and not replayed(answer)]
    for answer in answers:
        if answer.status_code == 202:
            assert answer.content == fresh.content
        else:
            assert (answer.status_code, answer.json()["code"]) == (409, "in_flight")
    assert await gateway.upstream.triggers() == {MODEL: 1}
    assert await gateway.upstream.trigger_calls() == 1
    assert await gateway.count(Training) == 1


async def test_ten_requests_at_once_with_keys_of_their_own_trigger_once_and_join(gateway: Gateway) -> None:
    keys = [{"idempotency-key": f"key-{number}"} for number in range(10)]
    answers = await asyncio.gather(*(gateway.train(headers=key) for key in keys))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [202]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await gateway.upstream.trigger_calls() == 1


def replayed(answer: httpx.Response) -> bool:
    return "idempotent-replayed" in answer.headers


async def test_after_24_hours_a_key_is_new(gateway: Gateway) -> None:
    first = await gateway.train(headers=KEY_ONE)
    await gateway.http.delete(f"/v1/trainings/{first.json()['id']}")
    gateway.advance(86_400)
    assert (await gateway.train(headers=KEY_ONE)).headers["idempotent-replayed"] == "true"
    gateway.advance(1)
    answer = await gateway.train(headers=KEY_ONE)
    assert answer.status_code == 202
    assert "idempotent-replayed" not in answer.headers
    assert answer.json()["id"] != first.json()["id"]
    assert (await gateway.train(headers=KEY_ONE)).content == answer.content
    assert await gateway.upstream.triggers() == {MODEL: 2}


# --- a crash after the intent was stored, before the answer was ---


async def crashed(gateway: Gateway, *, status: Status) -> Training:
    """What a gateway leaves that dies in the middle of a train request with the key `key-1`."""
    await gateway.http.get("/v1/signing-secret")
    caller = gateway.components.tenancy.identify(gateway.http.headers["authorization"].removeprefix("Bearer "))
    asked = TrainRequest(MODEL, CallbackRequest(gateway.receiver.hook(), "/callback_url"))
    request = checked(asked, canonical=lambda url, _pointer: url)
    now = gateway.clock.now()
    training = Training(
        id="trn_01kb2000000000000000000000",
        tenant_id=caller.tenant_id,
        model_id=MODEL,
        status=status,
        created_at=now,
        triggered_at=now if status is Status.TRAINING else None,
        due_at=now,
    )
    record = IdempotencyKey(
        tenant_id=caller.tenant_id,
        key="key-1",
        fingerprint=request.fingerprint(),
        training_id=training.id,
        created_at=now,
    )

    def store(unit: UnitOfWork) -> None:
        unit.session.add(training)
        unit.session.flush()
        unit.session.add(record)

    await gateway.components.database.transaction(store)
    return training


async def test_an_answer_lost_in_a_crash_resolves_to_the_training(gateway: Gateway) -> None:
    training = await crashed(gateway, status=Status.SUBMITTING)
    body = {"callback_url": gateway.receiver.hook()}
    early = await gateway.train(headers=KEY_ONE, **body)
    assert (early.status_code, early.json()["code"]) == (409, "in_flight")
    gateway.advance(60)
    answer = await gateway.train(headers=KEY_ONE, **body)
    assert answer.status_code == 202
    assert answer.headers["idempotent-replayed"] == "true"
    assert answer.json() == await gateway.training(training.id)
    assert answer.json()["status"] == "submitting"
    assert await gateway.upstream.trigger_calls() == 0


async def test_a_trigger_that_was_settled_by_reading_resolves_at_once(gateway: Gateway) -> None:
    training = await crashed(gateway, status=Status.TRAINING)
    answer = await gateway.train(headers=KEY_ONE, callback_url=gateway.receiver.hook())
    assert answer.status_code == 202
    assert answer.json() == await gateway.training(training.id)
    assert answer.json()["status"] == "training"
    assert await gateway.upstream.trigger_calls() == 0


async def test_a_lost_answer_still_belongs_to_its_request_alone(gateway: Gateway) -> None:
    await crashed(gateway, status=Status.SUBMITTING)
    gateway.advance(61)
    answer = await gateway.train(headers=KEY_ONE, metadata={"another": "request"})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
