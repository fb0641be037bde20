"""The signing secret, the documentation, and what any route says without its database."""

from __future__ import annotations

import base64
import json
import re

import pytest

from service.storage.tables import Tenant
from tests.support.gateway import KEY, OTHER_KEY, Gateway, World
from tests.support.outage import lose_database

# --- the signing secret ---


def nok(message: str) -> str:
    return json.dumps({"status": "NOK", "message": message})


async def test_the_signing_secret_stays_the_same(gateway: Gateway) -> None:
    first = await gateway.http.get("/v1/signing-secret")
    assert first.status_code == 200
    assert list(first.json()) == ["secret"]
    assert first.json()["secret"].startswith("whsec_")
    assert len(base64.b64decode(first.json()["secret"].removeprefix("whsec_"), validate=True)) == 32
    assert first.headers["cache-control"] == "no-store"
    await gateway.started()
    assert (await gateway.http.get("/v1/signing-secret")).json() == first.json()


async def test_the_signing_secret_outlives_a_restart(world: World) -> None:
    async with world.gateway(seed=1) as gateway:
        first = (await gateway.http.get("/v1/signing-secret")).json()
    async with world.gateway(seed=2) as gateway:
        assert (await gateway.http.get("/v1/signing-secret")).json() == first


async def test_each_key_has_a_signing_secret_of_its_own(gateway: Gateway) -> None:
    mine = await gateway.http.get("/v1/signing-secret")
    theirs = await gateway.http.get("/v1/signing-secret", headers={"authorization": f"Bearer {OTHER_KEY}"})
    assert theirs.status_code == 200
    assert theirs.json() != mine.json()


async def test_the_signing_secret_is_stored_sealed(gateway: Gateway) -> None:
    secret = (await gateway.http.get("/v1/signing-secret")).json()["secret"]
    [tenant] = await gateway.rows(Tenant)
    assert secret.encode() not in tenant.sealed_signing_secret
    assert base64.b64decode(secret.removeprefix("whsec_")) not in tenant.sealed_signing_secret


@pytest.mark.parametrize(
    ("fault", "status", "code", "message"),
    [
        ({"kind": "status", "status": 401, "body": nok("bad key")}, 401, "upstream_refused", "bad key"),
        ({"kind": "status", "status": 403, "body": nok("closed")}, 403, "upstream_refused", "closed"),
        ({"kind": "status", "status": 429, "body": nok("slow")}, 429, "upstream_refused", "slow"),
        ({"kind": "status", "status": 500}, 503, "upstream_unreachable", None),
        ({"kind": "cdn_block"}, 503, "upstream_unreachable", None),
        ({"kind": "redirect", "location": "/api/ping"}, 503, "upstream_unreachable", None),
        ({"kind": "html", "status": 502}, 503, "upstream_unreachable", None),
        ({"kind": "reset"}, 503, "upstream_unreachable", None),
    ],
)  # fmt: skip
async def test_a_key_that_photogpt_does_not_accept_gets_no_secret_and_leaves_no_trace(
    gateway: Gateway, fault: dict[str, object], status: int, code: str, message: str | None
) -> None:
    await gateway.upstream.fault(**{"path": "/models", **fault})  # type: ignore[arg-type]
    answer = await gateway.http.get("/v1/signing-secret")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert message is None or answer.json()["detail"] == message
    assert KEY not in answer.text
    assert await gateway.count(Tenant) == 0


# --- without a database ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/trainings"),
        ("GET", "/v1/trainings"),
        ("GET", "/v1/trainings/trn_01kb2000000000000000000000"),
        ("DELETE", "/v1/trainings/trn_01kb2000000000000000000000"),
        ("GET", "/v1/deliveries"),
        ("GET", "/v1/deliveries/dlv_01kb2000000000000000000000"),
        ("GET", "/v1/signing-secret"),
    ],
)
async def test_without_its_database_a_gateway_says_so_and_triggers_nothing(
    world: World, gateway: Gateway, method: str, path: str
) -> None:
    await lose_database(world, gateway)
    body = {"json": {"model_id": "model-1"}} if method == "POST" else {}
    answer = await gateway.http.request(method, path, **body)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert await gateway.upstream.trigger_calls() == 0


async def test_a_database_that_is_lost_between_intent_and_trigger_is_never_triggered(
    world: World, gateway: Gateway
) -> None:
    """The intent could not be stored, so nothing is triggered: as with a full disk."""
    await gateway.upstream.fault_reading("delay", seconds=1)
    async with gateway.held_train() as request:
        await lose_database(world, gateway)
        gateway.upstream.clock.release()
        answer = await request
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert await gateway.upstream.trigger_calls() == 0


# --- documentation ---


async def test_the_documentation_needs_no_credential(gateway: Gateway) -> None:
    gateway.http.headers.pop("authorization")
    root = await gateway.http.get("/")
    assert (root.status_code, root.headers["location"]) == (307, "/docs")
    document = await gateway.http.get("/openapi.json")
    assert (document.status_code, document.json()["openapi"]) == (200, "3.1.0")


async def test_all_that_the_documentation_loads_comes_from_the_service(gateway: Gateway) -> None:
    page = await gateway.http.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert len(loaded) == 3
    for url in loaded:
        assert url.startswith("/docs/assets/")
        assert (await gateway.http.get(url)).status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text


@pytest.mark.parametrize("path", ["..%2f..%2f__init__.py", "%2e%2e/__init__.py", "/etc/passwd", "%00"])
async def test_nothing_beside_the_documentations_files_is_served(gateway: Gateway, path: str) -> None:
    assert (await gateway.http.get(f"/docs/assets/{path}")).status_code == 404
