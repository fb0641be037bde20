"""PhotoGPT keys never seen before: PhotoGPT is asked, seldom, and until it says yes nothing is done for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from service.storage.tables import IdempotencyKey, Tenant, Training, WebhookEndpoint
from tests.support.endpoints import PATH
from tests.support.gateway import Gateway, World
from tests.support.waiting import wait_until

THEIR_MODEL = "model-of-an-unknown-key"
NO_SUCH_KEY = '{"status": "NOK", "message": "no such key"}'
READS = [
    "/v1/account",
    "/v1/trainings",
    "/v1/trainings/trn_01kb2000000000000000000000",
    "/v1/events",
    "/v1/events/evt_01kb2000000000000000000000",
    "/v1/deliveries",
    "/v1/deliveries/dlv_01kb2000000000000000000000",
    PATH,
    f"{PATH}/whe_01kb2000000000000000000000",
]


def unknown(number: int = 0) -> dict[str, str]:
    return {"authorization": f"Bearer pgpt-unknown-{number}"}


async def knows_nobody_else(gateway: Gateway, *, times: int | None = None) -> None:
    """From now on PhotoGPT refuses whoever asks."""
    await gateway.upstream.fault("status", path=".*", status=401, body=NO_SUCH_KEY, times=times)


async def assert_nothing_stored(gateway: Gateway) -> None:
    for table in (Tenant, Training, WebhookEndpoint, IdempotencyKey):
        assert await gateway.count(table) == 0


async def asks(gateway: Gateway, path: str, number: int = 0) -> httpx.Response:
    """A request that may store or send something, by an unknown key."""
    body: dict[str, Any] = {"url": gateway.receiver.hook()}
    if path == "/v1/trainings":
        body = {"model_id": THEIR_MODEL}
    if path == "/v1/signing-secret":
        return await gateway.http.get(path, headers=unknown(number))
    return await gateway.http.post(path, json=body, headers=unknown(number))


ASKING = ["/v1/trainings", PATH, f"{PATH}/test", "/v1/signing-secret"]


async def test_reading_asks_photogpt_nothing_and_stores_nothing(gateway: Gateway) -> None:
    for path in READS:
        answer = await gateway.http.get(path, headers=unknown())
        assert answer.status_code == (404 if "_01kb" in path else 200), path
    assert await gateway.upstream.calls() == []
    await assert_nothing_stored(gateway)


@pytest.mark.parametrize("path", ASKING)
async def test_what_photogpt_says_of_a_key_it_refuses_is_said_again_without_asking(gateway: Gateway, path: str) -> None:
    await knows_nobody_else(gateway)
    first = await asks(gateway, path)
    assert (first.status_code, first.json()["code"]) == (401, "upstream_refused")
    assert first.json()["upstream"] == {"status": 401, "message": "no such key"}
    for other in ASKING:
        again = await asks(gateway, other)
        assert (again.status_code, again.content) == (401, first.content)
    assert len(await gateway.upstream.calls()) == 1
    await assert_nothing_stored(gateway)
    assert await gateway.receiver.received() == []
    gateway.advance(60)
    await asks(gateway, path)
    assert len(await gateway.upstream.calls()) == 2


async def test_a_train_request_is_checked_by_the_model_that_it_names(gateway: Gateway) -> None:
    await gateway.upstream.put_model(THEIR_MODEL, key="pgpt-unknown-0")
    assert (await asks(gateway, "/v1/trainings")).status_code == 202
    assert [call["path"] for call in await gateway.upstream.calls()] == [
        f"/models/{THEIR_MODEL}",
        f"/models/{THEIR_MODEL}/train",
    ]


@pytest.mark.parametrize("path", ASKING[1:])
async def test_anything_else_is_checked_by_the_list_of_models(gateway: Gateway, path: str) -> None:
    assert (await asks(gateway, path)).status_code < 300
    assert (await asks(gateway, path)).status_code < 300
    assert [call["path"] for call in await gateway.upstream.calls()] == ["/models"]


async def test_a_model_that_is_not_there_lets_nobody_in(gateway: Gateway) -> None:
    """Whether it says anything of the key is PhotoGPT's secret."""
    assert (await asks(gateway, "/v1/trainings")).status_code == 404
    await knows_nobody_else(gateway)
    assert (await asks(gateway, f"{PATH}/test")).status_code == 401
    assert await gateway.receiver.received() == []
    await assert_nothing_stored(gateway)


@pytest.mark.parametrize("path", ASKING)
async def test_when_photogpt_can_not_be_asked_nothing_is_done_and_the_next_request_asks_anew(
    gateway: Gateway, path: str
) -> None:
    await gateway.upstream.put_model(THEIR_MODEL, key="pgpt-unknown-0")
    await gateway.upstream.fault("reset", path=".*", times=1)
    answer = await asks(gateway, path)
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unreachable")
    await assert_nothing_stored(gateway)
    assert (await asks(gateway, path)).status_code < 300


async def test_more_than_five_a_second_are_turned_away_with_nothing_asked_or_stored(gateway: Gateway) -> None:
    await knows_nobody_else(gateway)
    for path in ASKING:
        gateway.advance(1)
        before = len(await gateway.upstream.calls())
        numbers = range(100 * ASKING.index(path), 100 * ASKING.index(path) + 12)
        answers = await asyncio.gather(*(asks(gateway, path, number) for number in numbers))
        assert Counter(answer.status_code for answer in answers) == {401: 5, 429: 7}
        turned_away = [answer for answer in answers if answer.status_code == 429]
        assert {answer.json()["code"] for answer in turned_away} == {"too_many_unknown_keys"}
        assert {answer.headers["retry-after"] for answer in turned_away} == {"1"}
        assert len(await gateway.upstream.calls()) == before + 5
    await assert_nothing_stored(gateway)


async def test_who_is_known_never_waits_for_those_who_are_not(gateway: Gateway) -> None:
    await gateway.started()
    for number in range(20):
        await asks(gateway, "/v1/trainings", number)
    assert (await asks(gateway, "/v1/trainings", 99)).status_code == 429
    for number in range(5):
        await gateway.upstream.put_model(f"model-of-mine-{number}")
        await gateway.started(f"model-of-mine-{number}")
        assert (await gateway.http.get("/v1/signing-secret")).status_code == 200
        assert (await gateway.http.post(PATH, json={"url": gateway.receiver.hook()})).status_code == 201


async def test_who_was_known_before_a_restart_does_not_wait_either(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        await gateway.started()
    async with world.gateway() as gateway:
        for number in range(6):
            await asks(gateway, "/v1/trainings", number)
        assert (await gateway.http.get("/v1/signing-secret")).status_code == 200
        await gateway.upstream.put_model("model-2")
        await gateway.started("model-2")


async def test_requests_with_one_unknown_key_share_one_question(gateway: Gateway) -> None:
    await gateway.upstream.fault("delay", path="/models", seconds=5, times=None)
    waiting = [asyncio.create_task(asks(gateway, "/v1/signing-secret")) for _ in range(8)]
    admission, photogpt = gateway.components.tenancy._admission, gateway.upstream.clock
    await wait_until(lambda: admission._waiting == 7 and photogpt.held, what="seven to wait for one that is asked")
    photogpt.release()
    answers = await asyncio.gather(*waiting)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(await gateway.upstream.calls()) == 1
    assert await gateway.count(Tenant) == 1


# --- open connections ---


async def test_a_stream_is_not_held_open_for_a_key_that_photogpt_refuses(gateway: Gateway) -> None:
    await knows_nobody_else(gateway)
    answer = await gateway.http.get("/v1/events/stream", headers=unknown())
    assert (answer.status_code, answer.json()["code"]) == (401, "upstream_refused")
    assert gateway.components.waiters._count == 0
    await assert_nothing_stored(gateway)


async def test_a_stream_of_too_many_unknown_keys_is_turned_away(gateway: Gateway) -> None:
    await knows_nobody_else(gateway)
    answers = [await gateway.http.get("/v1/events/stream", headers=unknown(number)) for number in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]


async def test_a_long_poll_of_an_unknown_key_ends_at_once(gateway: Gateway) -> None:
    """It has no training to wait for."""
    mine = (await gateway.started())["id"]
    for training_id in (mine, "trn_01kb2000000000000000000000"):
        headers = {**unknown(), "prefer": "wait=60"}
        assert (await gateway.http.get(f"/v1/trainings/{training_id}", headers=headers)).status_code == 404
