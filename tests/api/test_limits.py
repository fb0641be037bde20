"""What one tenant may have: trainings, webhook endpoints, requests, test events, open connections; beyond is a 429."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from service.components import Components
from service.domain.errors import RateLimited
from service.storage.tables import IdempotencyKey, Tenant, Training, WebhookEndpoint
from tests.support.endpoints import PATH, THEIRS, another_training, cancelled, deleted, subscribed
from tests.support.gateway import KEY, OTHER_KEY, Gateway, World
from tests.support.streams import following, on_a_socket
from tests.support.waiting import wait_until


def assert_limited(answer: httpx.Response, code: str, *, seconds: int) -> str:
    """Returns what is said."""
    assert (answer.status_code, answer.json()["code"]) == (429, code)
    assert answer.headers["retry-after"] == str(seconds)
    detail: str = answer.json()["detail"]
    return detail


# --- active trainings ---


@pytest.fixture
async def two_at_most(world: World) -> AsyncIterator[Gateway]:
    async with world.gateway(GATEWAY_TENANT_TRAININGS=2) as gateway:
        yield gateway


async def test_beyond_the_limit_nothing_is_stored_or_triggered(two_at_most: Gateway) -> None:
    gateway = two_at_most
    for name in ("a", "b"):
        await another_training(gateway, name)
    await gateway.upstream.put_model("c")
    answer = await gateway.train("c", headers={"idempotency-key": "one"}, metadata={"user": "42"})
    said = assert_limited(answer, "too_many_trainings", seconds=300)
    assert said == (
        "2 of your trainings are active, which is the most; nothing was triggered. Try again when one has ended, or "
        "stop watching one (DELETE /v1/trainings/{id})."
    )
    assert await gateway.upstream.trigger_calls("c") == 0
    assert await gateway.count(Training) == 2
    assert await gateway.count(IdempotencyKey) == 0


async def test_one_that_ended_makes_room_for_another(two_at_most: Gateway) -> None:
    gateway = two_at_most
    first = await another_training(gateway, "a")
    await another_training(gateway, "b")
    await cancelled(gateway, first)
    await another_training(gateway, "c")
    await gateway.upstream.put_model("d")
    assert (await gateway.train("d", headers={"idempotency-key": "one"})).status_code == 429
    await gateway.upstream.say("ready", "b")
    gateway.advance(700)
    assert await gateway.poll() == 2
    assert (await gateway.train("d", headers={"idempotency-key": "one"})).status_code == 202


async def test_joins_and_replays_are_answered_at_the_limit(two_at_most: Gateway) -> None:
    gateway = two_at_most
    await gateway.upstream.put_model("a")
    first = (await gateway.train("a", headers={"idempotency-key": "one"})).json()
    await another_training(gateway, "b")
    again = await gateway.train("a", headers={"idempotency-key": "one"})
    joined = await gateway.train("a", callback_url=gateway.receiver.hook())
    assert (again.status_code, again.headers["idempotent-replayed"], again.json()["id"]) == (202, "true", first["id"])
    assert (joined.status_code, joined.json()["id"]) == (200, first["id"])
    assert await gateway.upstream.triggers() == {"a": 1, "b": 1}


async def test_each_tenant_has_the_limit_for_itself(two_at_most: Gateway) -> None:
    gateway = two_at_most
    for name in ("a", "b"):
        await another_training(gateway, name)
    await gateway.upstream.put_model("theirs", key=OTHER_KEY)
    assert (await gateway.train("theirs", headers=THEIRS)).status_code == 202


async def test_requests_at_the_same_time_do_not_overstep_it(two_at_most: Gateway) -> None:
    gateway = two_at_most
    for number in range(8):
        await gateway.upstream.put_model(f"model-{number}")
    answers = await asyncio.gather(*(gateway.train(f"model-{number}") for number in range(8)))
    assert sorted(answer.status_code for answer in answers) == [202, 202] + [429] * 6
    assert sum((await gateway.upstream.triggers()).values()) == 2


async def test_a_sidecar_has_no_limit_unless_it_is_set(gateway: Gateway) -> None:
    limits = gateway.components.tenancy.limits
    assert (limits.trainings, limits.requests_per_second, limits.deliveries) == (None, None, None)


# --- webhook endpoints ---


async def test_the_number_of_endpoints_is_a_setting(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_ENDPOINTS=2) as gateway:
        first = await subscribed(gateway)
        await subscribed(gateway, headers_of_request={"idempotency-key": "one"})
        answer = await gateway.http.post(PATH, json={"url": gateway.receiver.hook()})
        said = assert_limited(answer, "too_many_endpoints", seconds=60)
        assert said == "You have 2 webhook endpoints, which is the most. Delete one that you do not need."
        assert await gateway.count(WebhookEndpoint) == 2
        # The one that the same request made before is no other one.
        again = {"idempotency-key": "one"}
        assert (await subscribed(gateway, headers_of_request=again))["id"] != first["id"]
        await subscribed(gateway, headers_of_request=THEIRS)
        await deleted(gateway, first)
        await subscribed(gateway)


# --- requests ---

ROUTES = ["/v1/account", "/v1/trainings", "/v1/events", "/v1/deliveries", PATH, "/v1/trainings/trn_1", "/v1/events/e"]


async def test_requests_of_one_tenant_are_let_in_at_their_rate(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_REQUESTS_PER_SECOND=3) as gateway:
        answers = [await gateway.http.get(path) for path in ROUTES]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 200, 404, 429]
        assert "GET /v1/account" in assert_limited(answers[-1], "rate_limited", seconds=1)
        # The other tenant, and who is nobody, have nothing to do with it.
        assert (await gateway.http.get("/v1/trainings", headers=THEIRS)).status_code == 200
        assert (await gateway.http.get("/v1/trainings", headers={"authorization": "Basic x"})).status_code == 401
        gateway.advance(1)
        answers = [await gateway.http.get("/v1/trainings") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


async def test_a_slow_rate_says_how_long_to_wait(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_REQUESTS_PER_SECOND=0.1) as gateway:
        assert (await gateway.http.get("/v1/trainings")).status_code == 200
        assert_limited(await gateway.http.get("/v1/trainings"), "rate_limited", seconds=10)
        gateway.advance(9.5)
        assert_limited(await gateway.http.get("/v1/trainings"), "rate_limited", seconds=1)
        gateway.advance(0.5)
        assert (await gateway.http.get("/v1/trainings")).status_code == 200


async def test_who_is_limited_has_nothing_stored_and_nothing_triggered(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_REQUESTS_PER_SECOND=0.5) as gateway:
        await gateway.upstream.put_model()
        await gateway.http.get("/v1/account")
        assert (await gateway.train()).status_code == 429
        assert (await gateway.http.post(PATH, json={"url": gateway.receiver.hook()})).status_code == 429
        assert await gateway.count(Tenant) == 0
        assert await gateway.upstream.calls() == []


async def test_what_needs_no_caller_is_not_limited(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_REQUESTS_PER_SECOND=0.001) as gateway:
        for path in ("/livez", "/readyz", "/docs", "/openapi.json", "/.well-known/webhook-signing-keys"):
            for _ in range(5):
                assert (await gateway.http.get(path)).status_code in {200, 503}, path


async def test_a_stream_is_one_request(world: World) -> None:
    async with (
        world.gateway(GATEWAY_TENANT_REQUESTS_PER_SECOND=1) as gateway,
        on_a_socket(gateway) as url,
        following(url),
    ):
        assert (await gateway.http.get("/v1/account")).status_code == 200
        assert (await gateway.http.get("/v1/account")).status_code == 429


# --- test events ---


async def sent_tests(gateway: Gateway, count: int, **headers: str) -> Sequence[httpx.Response]:
    body = {"url": gateway.receiver.hook()}
    return [await gateway.http.post(f"{PATH}/test", json=body, headers=headers) for _ in range(count)]


async def test_test_events_are_sent_at_a_rate_of_their_own(gateway: Gateway) -> None:
    answers = await sent_tests(gateway, 21)
    assert [answer.status_code for answer in answers] == [200] * 20 + [429]
    said = assert_limited(answers[-1], "too_many_tests", seconds=1)
    assert said == "Too many test events: 20 at once and then 1 a second are the most."
    endpoint = await subscribed(gateway)
    assert (await gateway.http.post(f"{PATH}/{endpoint['id']}/test")).status_code == 429
    assert [answer.status_code for answer in await sent_tests(gateway, 1, **THEIRS)] == [200]
    assert len(await gateway.receiver.received()) == 21
    gateway.advance(1)
    assert (await gateway.http.post(f"{PATH}/{endpoint['id']}/test")).status_code == 200


@asynccontextmanager
async def held_tests(gateway: Gateway, count: int) -> AsyncIterator[None]:
    """So many test events are under way, at a receiver that hangs."""
    await gateway.receiver.fault("hang", seconds=60, times=count)
    body = {"url": gateway.receiver.hook()}
    tasks = [asyncio.create_task(gateway.http.post(f"{PATH}/test", json=body)) for _ in range(count)]
    await wait_until(lambda: gateway.receiver.clock.held == count, what="the receiver to hang")
    try:
        yield
    finally:
        gateway.receiver.clock.release()
        await asyncio.gather(*tasks)


async def test_test_events_count_among_what_a_tenant_has_under_way(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_DELIVERIES=2) as gateway:
        # Known before, since several first requests of a key would make only one row of it.
        await gateway.http.get("/v1/signing-secret")
        training = await another_training(
            gateway, "a", callback={"url": gateway.receiver.hook(), "events": ["training.started"]}
        )
        async with held_tests(gateway, 2):
            [answer] = await sent_tests(gateway, 1)
            said = assert_limited(answer, "too_many_deliveries", seconds=1)
            assert said == "2 webhooks to you are under way, which is the most. Try again when one has ended."
            assert await gateway.deliver() == 0
            [theirs] = await sent_tests(gateway, 1, **THEIRS)
            assert theirs.status_code == 200
        assert await gateway.deliver() == 1
        assert [row["status"] for row in await gateway.deliveries(training["id"])] == ["delivered"]


async def test_a_test_that_fails_gives_its_place_back(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_DELIVERIES=1) as gateway:
        for _ in range(3):
            answer = await gateway.http.post(f"{PATH}/test", json={"url": "http://127.0.0.1:1/"})
            assert (answer.status_code, answer.json()["attempt"]["error_class"]) == (200, "refused")


# --- open connections ---


async def test_one_tenant_holds_no_more_than_its_share_of_open_streams(world: World) -> None:
    async with world.gateway(GATEWAY_MODE="gateway", GATEWAY_HOST="127.0.0.1") as gateway:
        waiters, mine = gateway.components.waiters, _tenant(gateway.components, KEY)
        held = [waiters.listening(mine) for _ in range(100)]
        for one in held:
            one.__enter__()
        training = await another_training(gateway, "a")
        for path, headers in (
            ("/v1/events/stream", {}),
            (f"/v1/trainings/{training['id']}", {"prefer": "wait=30"}),
        ):
            answer = await gateway.http.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_waiting")
            assert answer.headers["retry-after"] == "5"
        with waiters.listening(_tenant(gateway.components, OTHER_KEY)):
            pass
        for one in held:
            one.__exit__(None, None, None)


def _tenant(components: Components, key: str) -> str:
    return components.tenancy.identify(key).tenant_id


# --- the gateway's own defaults ---


async def test_a_gateway_for_many_has_limits_by_default(world: World) -> None:
    async with world.gateway(GATEWAY_MODE="gateway", GATEWAY_HOST="127.0.0.1") as gateway:
        answer = await gateway.http.get("/v1/account")
        assert answer.json()["limits"] == {
            "active_trainings": 10_000,
            "webhook_endpoints": 90,
            "requests_per_second": 50.0,
            "deliveries_in_flight": 64,
        }


def test_an_error_tells_when_to_come_again() -> None:
    error: Any = RateLimited("Later.", retry_after=3, code="too_many_things")
    assert (str(error), error.code, error.retry_after) == ("Later.", "too_many_things", 3)
