"""`/api/...`: what PhotoGPT says directly it says through the gateway, too; and nobody else is ever called."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.gateway import KEY, MODEL, OTHER_KEY, Gateway, World

OURS = {
    "x-frame-options", "content-security-policy", "referrer-policy", "cross-origin-resource-policy", "training-id",
}  # fmt: skip
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 1000


async def directly(gateway: Gateway, method: str, path: str, **request: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}", "api-version": "1", **request.pop("headers", {})}
    async with httpx.AsyncClient(base_url=gateway.upstream.url) as client:
        return await client.request(method, path, headers=headers, **request)


def upload(model_id: str = MODEL, kind: str = "modelInput") -> dict[str, Any]:
    data = f'{{"modelID": "{model_id}", "type": "{kind}"}}'
    return {"files": {"file": ("a.png", PNG, "image/png")}, "data": {"data": data}}


def seen(answer: httpx.Response) -> tuple[int, bytes, dict[str, str]]:
    return answer.status_code, answer.content, {**answer.headers, "date": ""}


@pytest.mark.parametrize(
    ("method", "path", "request_of"),
    [
        ("GET", "/api/ping", {}),
        ("GET", "/api/models", {}),
        ("GET", f"/api/models/{MODEL}", {}),
        ("GET", "/api/models/nobody", {}),
        ("GET", f"/api/models/{MODEL}/images?imageType=input&page=1", {}),
        ("GET", f"/api/models/{MODEL}/images?imageType=odd", {}),
        ("GET", "/api/images/nothing", {}),
        ("DELETE", "/api/images/nothing", {}),
        ("POST", "/api/models", {"json": {"age": "no number"}}),
        ("POST", "/api/models", {"content": b"{", "headers": {"content-type": "application/json"}}),
        ("POST", "/api/images/upload", upload("nobody")),
        ("POST", "/api/images/upload", {"content": b"no form"}),
        ("GET", "/api/jobs", {}),
        ("GET", "/api/jobs/none", {}),
        ("GET", "/api/videos", {}),
        ("GET", "/api/presets", {}),
        ("POST", "/api/images/generation", {"json": {"modelID": "x", "prompt": "y"}}),
        ("GET", "/api/ping", {"headers": {"api-version": "7"}}),
    ],
)
async def test_photogpt_says_the_same_as_directly(
    gateway: Gateway, method: str, path: str, request_of: dict[str, Any]
) -> None:
    through = await gateway.http.request(method, path, **request_of)
    assert seen(through) == seen(await directly(gateway, method, path, **request_of))
    assert not OURS & set(through.headers)


async def test_an_upload_arrives_as_it_was_sent(gateway: Gateway) -> None:
    created = (await gateway.http.post("/api/models", json={"name": "x"})).json()["result"]["id"]
    answer = await gateway.http.post("/api/images/upload", **upload(created))
    assert answer.status_code == 200, answer.text
    images = (await gateway.http.get(f"/api/models/{created}/images", params={"imageType": "input"})).json()["result"]
    assert len(images) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/api/", "/api", "/api/..%2fv1/account", "/api/models/%2e%2e/ping", "/api/models/x%2ftrain", "/api/admin",
        "/api/models/%252e%252e/x", "/api/models/x%5ctrain", "/api/models/model-1/train/", "/api/models/model-1/TRAIN",
        "/api/http://evil.example/", "/api/models/x;y", "/api//evil.example/ping", "/api/@evil.example/",
        "/API/ping", "/api/ping/", "/api/_control/calls", "/api/%2e%2e/_control/calls",
    ],
)  # fmt: skip
async def test_no_path_leads_out_of_what_photogpt_documents(gateway: Gateway, path: str) -> None:
    answer = await gateway.http.get(path)
    assert answer.status_code == 404, answer.text
    assert await gateway.upstream.calls() == []


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/ping", "GET"),
        ("HEAD", "/api/models", "GET, POST"),
        ("PUT", f"/api/models/{MODEL}", "DELETE, GET"),
        ("OPTIONS", "/api/jobs", "GET"),
        ("POST", f"/api/models/{MODEL}/train", "GET"),
        ("HEAD", f"/api/models/{MODEL}/train", "GET"),
    ],
)
async def test_only_documented_methods_pass(gateway: Gateway, method: str, path: str, allowed: str) -> None:
    answer = await gateway.http.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert await gateway.upstream.calls() == []


async def test_a_setting_opens_the_rest_but_for_the_trigger(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(GATEWAY_PROXY_ALL=True) as gateway:
        assert (await gateway.http.put("/api/undocumented/route", content=b"x")).status_code in (404, 405)
        assert len(await gateway.upstream.calls("/undocumented/route")) == 1
        for method, path in [("POST", f"/api/models/{MODEL}/train"), ("GET", f"/api/models/{MODEL}/Train")]:
            assert (await gateway.http.request(method, path)).status_code in (404, 405)
        assert await gateway.upstream.triggers() == {}
        assert (await gateway.http.get("/api/..%2f_control/triggers")).status_code == 404


async def test_a_redirect_is_the_callers_to_follow(gateway: Gateway) -> None:
    await gateway.upstream.fault("redirect", path="/ping", location="http://elsewhere.example/api/ping")
    answer = await gateway.http.get("/api/ping")
    assert (answer.status_code, answer.headers["location"]) == (302, "http://elsewhere.example/api/ping")
    assert len(await gateway.upstream.calls()) == 1


async def test_without_a_key_of_its_own_a_gateway_wants_the_callers(gateway: Gateway) -> None:
    answer = await gateway.http.get("/api/ping", headers={"authorization": "Basic eA=="})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert await gateway.upstream.calls() == []


async def test_the_key_of_a_sidecar_takes_the_place_of_its_token(world: World) -> None:
    await world.upstream.put_model(key=OTHER_KEY)
    async with world.gateway(PHOTOGPT_API_KEY=OTHER_KEY, GATEWAY_TOKEN="the-token") as gateway:
        assert (await gateway.http.get(f"/api/models/{MODEL}")).status_code == 401
        answer = await gateway.http.get(f"/api/models/{MODEL}", headers={"authorization": "Bearer the-token"})
        assert answer.status_code == 200


async def test_on_a_gateway_a_key_is_let_in_before_it_calls(world: World) -> None:
    async with world.gateway(GATEWAY_MODE="gateway") as gateway:
        await gateway.upstream.fault("status", path="/models", status=401)
        answer = await gateway.http.get("/api/ping")
        assert (answer.status_code, answer.json()["code"]) == (401, "upstream_refused")
        assert await gateway.upstream.calls("/ping") == []


async def test_who_sends_too_many_waits(world: World) -> None:
    async with world.gateway(GATEWAY_TENANT_REQUESTS_PER_SECOND=1) as gateway:
        statuses = [(await gateway.http.get("/api/ping")).status_code for _ in range(4)]
        assert statuses == [200, 200, 429, 429]


async def test_a_body_beyond_the_limit_is_refused(world: World) -> None:
    async def pieces() -> Any:
        for _ in range(64):
            yield b"x" * 1024

    async with world.gateway(GATEWAY_PROXY_MOST_BYTES=2048) as gateway:
        for content in (b"x" * 2049, pieces()):
            answer = await gateway.http.post("/api/images/upload", content=content)
            assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_photogpt_that_can_not_be_reached_is_a_503(world: World) -> None:
    async with world.gateway(PHOTOGPT_BASE_URL="http://127.0.0.1:9/api") as gateway:
        answer = await gateway.http.get("/api/ping")
        assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unreachable")


@pytest.mark.parametrize(
    ("kind", "status", "code"), [("reset", 502, "upstream_failed"), ("hang", 504, "upstream_timeout")]
)
async def test_an_answer_that_never_comes(world: World, kind: str, status: int, code: str) -> None:
    async with world.gateway(GATEWAY_UPSTREAM_TIMEOUT=0.3) as gateway:
        await gateway.upstream.fault(kind, path="/ping", **({"seconds": 60} if kind == "hang" else {}))
        answer = await gateway.http.get("/api/ping")
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_no_exchange_takes_longer_than_it_may(world: World) -> None:
    async with world.gateway(GATEWAY_PROXY_TIMEOUT=0.3) as gateway:
        await gateway.upstream.fault("hang", path="/ping", seconds=60)
        answer = await gateway.http.get("/api/ping")
        assert (answer.status_code, answer.json()["code"]) == (504, "upstream_timeout")
