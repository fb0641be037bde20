"""`GET /api/models/{id}/train`: PhotoGPT's answer to the byte, and a training that is watched."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.gateway import KEY, MODEL, SECRET, Gateway, World

TRAIN = f"/api/models/{MODEL}/train"
TRIGGERED = {"result": "Training triggered", "status": "OK"}
ADDED = {"training-id", "link"}


async def directly(gateway: Gateway, path: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}", "api-version": "1"}
    async with httpx.AsyncClient(base_url=gateway.upstream.url, headers=headers) as client:
        return await client.get(path)


def seen(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    kept = {name: value for name, value in answer.headers.items() if name not in ADDED | {"date"}}
    return answer.status_code, answer.content, kept


async def test_the_answer_is_photogpts_and_the_training_is_watched(gateway: Gateway) -> None:
    await gateway.upstream.put_model("another")
    answer = await gateway.http.get(TRAIN)
    assert seen(answer) == seen(await directly(gateway, "/api/models/another/train"))
    assert answer.json() == TRIGGERED
    training = await gateway.training(answer.headers["training-id"])
    assert training["status"] == "training"
    assert answer.headers["link"] == f'</v1/trainings/{training["id"]}>; rel="monitor"'
    assert training["callbacks"] == []
    assert (await gateway.upstream.triggers())[MODEL] == 1


@pytest.mark.parametrize("by", ["parameter", "header"])
async def test_the_callback_stays_here_and_is_told(gateway: Gateway, by: str) -> None:
    hook = gateway.receiver.hook("train")
    given: dict[str, Any] = (
        {"params": {"callback_url": hook}} if by == "parameter" else {"headers": {"Callback-Url": hook}}
    )
    answer = await gateway.http.get(TRAIN, **given)
    [call] = await gateway.upstream.calls(".*/train")
    assert "callback" not in str(call).lower()
    assert hook not in str(call)
    await gateway.upstream.say("ready")
    await gateway.next_poll(answer.headers["training-id"])
    await gateway.deliver()
    assert [receipt.type for receipt in await gateway.receiver.received("train")] == ["training.ready"]


async def test_two_callbacks_and_bad_ones_are_refused_before_any_call(gateway: Gateway) -> None:
    hook = gateway.receiver.hook()
    for given in (
        {"params": {"callback_url": hook}, "headers": {"Callback-Url": hook}},
        {"params": {"callback_url": "ftp://x"}},
        {"headers": {"Callback-Url": "http://10.0.0.1/"}},
    ):
        answer = await gateway.http.get(TRAIN, **given)  # type: ignore[arg-type]
        assert answer.status_code == 422, answer.text
    assert await gateway.upstream.trigger_calls() == 0


async def test_a_model_id_that_is_none_is_refused_here(gateway: Gateway) -> None:
    for model_id in ("a.b", "a%20b", "x" * 129):
        answer = await gateway.http.get(f"/api/models/{model_id}/train")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_model_id")
    assert await gateway.upstream.calls() == []


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Sec-Purpose": "prefetch;prerender"}, 403, "prefetch_refused"),
        ({"Purpose": "prefetch"}, 403, "prefetch_refused"),
        ({"X-Moz": "prefetch"}, 403, "prefetch_refused"),
        ({"X-Purpose": "preview"}, 403, "prefetch_refused"),
        ({"Early-Data": "1"}, 425, "too_early"),
        ({"If-None-Match": '"x"'}, 412, "condition_refused"),
        ({"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 412, "condition_refused"),
        ({"If-Match": "*"}, 412, "condition_refused"),
    ],
)
async def test_who_guesses_or_compares_never_triggers(
    gateway: Gateway, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await gateway.http.get(TRAIN, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await gateway.upstream.calls() == []


async def test_head_never_triggers(gateway: Gateway) -> None:
    assert (await gateway.http.head(TRAIN)).status_code == 405
    assert await gateway.upstream.calls() == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 400, "headers": {"x-own": "1", "set-cookie": "a=b"}},
        {"kind": "status", "status": 429, "headers": {"retry-after": "7"}},
        {"kind": "status", "status": 409, "body": "<p>No</p>", "content_type": "text/html"},
        {"kind": "status", "status": 503},
        {"kind": "json", "body": {"status": "NOK", "message": "Out of credits."}},
    ],
)
async def test_a_refusal_is_photogpts_untouched(gateway: Gateway, fault: dict[str, Any]) -> None:
    await gateway.upstream.fault_trigger(**fault, times=2)
    answer = await gateway.http.get(TRAIN)
    assert seen(answer) == seen(await directly(gateway, TRAIN))
    assert (await gateway.training(answer.headers["training-id"]))["status"] == "rejected"


async def test_a_refusal_of_the_reading_before_is_photogpts_untouched_too(gateway: Gateway) -> None:
    answer = await gateway.http.get("/api/models/nobody/train")
    assert seen(answer) == seen(await directly(gateway, "/api/models/nobody/train"))
    assert "training-id" not in answer.headers


@pytest.mark.parametrize("kind", ["reset", "html"])
async def test_a_lost_answer_is_a_504_that_names_the_training_and_a_repeat_joins_it(
    gateway: Gateway, kind: str
) -> None:
    await gateway.upstream.fault_trigger(kind)
    lost = await gateway.http.get(TRAIN)
    assert (lost.status_code, lost.json()["code"]) == (504, "upstream_timeout")
    assert lost.json()["training"]["id"] == lost.headers["training-id"]
    repeat = await gateway.http.get(TRAIN)
    assert (repeat.status_code, repeat.json()) == (200, TRIGGERED)
    assert repeat.headers["training-id"] == lost.headers["training-id"]
    assert repeat.headers["training-joined"] == "true"
    assert await gateway.upstream.trigger_calls() == 1


async def test_a_gateway_that_does_not_know_the_key_passes_photogpts_refusal_on(world: World) -> None:
    async with world.gateway(GATEWAY_MODE="gateway") as gateway:
        await gateway.upstream.fault_reading("status", status=401, times=2)
        answer = await gateway.http.get(TRAIN)
        assert seen(answer) == seen(await directly(gateway, f"/api/models/{MODEL}"))
        assert len(await gateway.upstream.calls()) == 2


async def test_it_joins_what_the_other_route_started(gateway: Gateway) -> None:
    started = await gateway.started()
    answer = await gateway.http.get(TRAIN, params={"callback_url": gateway.receiver.hook("joined")})
    assert (answer.status_code, answer.headers["training-id"]) == (200, started["id"])
    assert len((await gateway.training(started["id"]))["callbacks"]) == 1
    assert await gateway.upstream.trigger_calls() == 1


async def test_an_idempotency_key_triggers_once_and_is_not_passed_on(gateway: Gateway) -> None:
    first, again = [await gateway.http.get(TRAIN, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert (first.json(), again.json()) == (TRIGGERED, TRIGGERED)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["training-id"] == first.headers["training-id"]
    assert await gateway.upstream.trigger_calls() == 1


async def test_a_refusal_is_replayed_in_photogpts_envelope(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("status", status=400)
    first, again = [await gateway.http.get(TRAIN, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert (first.status_code, again.status_code) == (400, 400)
    assert again.json()["status"] == "NOK"
    assert again.json()["message"] == first.json()["message"]
    assert await gateway.upstream.trigger_calls() == 1


async def test_the_tenants_endpoints_hear_of_it(gateway: Gateway) -> None:
    body = {"url": gateway.receiver.hook("endpoint"), "secret": SECRET}
    assert (await gateway.http.post("/v1/webhook-endpoints", json=body)).status_code == 201
    answer = await gateway.http.get(TRAIN)
    await gateway.upstream.say("ready")
    await gateway.next_poll(answer.headers["training-id"])
    await gateway.deliver()
    assert "training.ready" in [receipt.type for receipt in await gateway.receiver.received("endpoint")]


async def test_one_that_was_not_reached_is_a_503_that_names_the_training(gateway: Gateway) -> None:
    await gateway.upstream.fault_trigger("cdn_block")
    answer = await gateway.http.get(TRAIN)
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unreachable")
    assert answer.json()["training"]["status"] == "rejected"


async def test_a_gateway_that_ends_triggers_nothing(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway() as gateway:
        gateway.components.lifecycle.drain()
        assert (await gateway.http.get(TRAIN)).json()["code"] == "shutting_down"
        assert await gateway.upstream.calls() == []
