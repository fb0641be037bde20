"""Who calls, what they may see, and that another tenant's things look exactly like things that are not there."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.domain.errors import Unauthenticated
from service.domain.secret import Secret
from service.storage.tables import Tenant, Training
from service.tenancy import Caller
from tests.support import gateway as support
from tests.support.gateway import KEY, MODEL, OTHER_KEY, Gateway, World, headers_of

simulators = support.simulators
template = support.template
world = support.world
gateway = support.gateway

TOKEN = "the-token-of-callers"
ROUTES = [
    ("GET", "/v1/trainings"),
    ("POST", "/v1/trainings"),
    ("GET", "/v1/trainings/trn_01kb2000000000000000000000"),
    ("DELETE", "/v1/trainings/trn_01kb2000000000000000000000"),
    ("GET", "/v1/deliveries"),
    ("GET", "/v1/deliveries/dlv_01kb2000000000000000000000"),
    ("GET", "/v1/signing-secret"),
]


def bearer(credential: str | bytes) -> dict[str, str | bytes]:
    return {"authorization": b"Bearer " + (credential.encode() if isinstance(credential, str) else credential)}


async def asked(gateway: Gateway, method: str, path: str, headers: Any) -> httpx.Response:
    """A request with these headers and no others of its own."""
    gateway.http.headers.pop("authorization", None)
    body = {"json": {"model_id": MODEL}} if method == "POST" else {}
    return await gateway.http.request(method, path, headers=headers, **body)  # type: ignore[arg-type]


async def assert_refused(gateway: Gateway, answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert await gateway.count(Tenant) == 0
    assert await gateway.upstream.calls() == []


# --- callers with their own keys ---


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_without_a_key_nobody_is_let_in(gateway: Gateway, method: str, path: str) -> None:
    answer = await asked(gateway, method, path, {})
    await assert_refused(gateway, answer)
    assert answer.json()["detail"] == "Send your PhotoGPT key: Authorization: Bearer <PhotoGPT API key>."


@pytest.mark.parametrize(
    "authorization",
    [
        b"",
        b" ",
        b"Bearer",
        b"Bearer ",
        b"Basic dXNlcjpodXNo",
        KEY.encode(),
        b"Token " + KEY.encode(),
        b"Bearer k\xe9y",
        "Bearer clé".encode(),
        b"Bearer a\tb",
        b"Bearer a\x7f",
        b"Bearer " + b"k" * 513,
    ],
)
async def test_a_credential_that_can_be_no_key_is_refused_without_asking(
    gateway: Gateway, authorization: bytes
) -> None:
    for method, path in ROUTES:
        answer = await asked(gateway, method, path, {"authorization": authorization})
        await assert_refused(gateway, answer)
        assert KEY not in answer.text


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
async def test_the_scheme_may_be_written_in_any_case(gateway: Gateway, scheme: bytes) -> None:
    answer = await asked(gateway, "POST", "/v1/trainings", {"authorization": scheme + b" " + KEY.encode()})
    assert answer.status_code == 202


async def test_a_key_that_photogpt_does_not_know_sees_nothing_and_leaves_no_trace(gateway: Gateway) -> None:
    unknown = bearer("pgpt-nobodys-key")
    listed = await asked(gateway, "GET", "/v1/trainings", unknown)
    assert (listed.status_code, listed.json()) == (200, {"data": [], "next_cursor": None})
    trained = await asked(gateway, "POST", "/v1/trainings", unknown)
    assert (trained.status_code, trained.json()["code"]) == (404, "upstream_refused")
    assert await gateway.count(Tenant) == 0


@pytest.fixture
async def two(gateway: Gateway) -> tuple[dict[str, Any], dict[str, Any]]:
    """A training with a delivery of the first tenant, and one of the second."""
    await gateway.upstream.put_model("model-2", key=OTHER_KEY)
    callback = {"url": gateway.receiver.hook(), "events": ["training.started"]}
    mine = await gateway.started(callback=callback)
    gateway.http.headers.update(bearer(OTHER_KEY))  # type: ignore[arg-type]
    theirs = await gateway.started("model-2", callback=callback)
    gateway.http.headers.update(bearer(KEY))  # type: ignore[arg-type]
    return mine, theirs


async def test_each_key_is_a_tenant_of_its_own(gateway: Gateway, two: tuple[dict[str, Any], dict[str, Any]]) -> None:
    mine, theirs = two
    for key, training in ((KEY, mine), (OTHER_KEY, theirs)):
        listed = await asked(gateway, "GET", "/v1/trainings", bearer(key))
        assert [found["id"] for found in listed.json()["data"]] == [training["id"]]
        deliveries = await asked(gateway, "GET", "/v1/deliveries", bearer(key))
        assert [found["training_id"] for found in deliveries.json()["data"]] == [training["id"]]
    assert await gateway.count(Tenant) == 2


async def test_no_key_can_be_read_from_a_tenants_id(gateway: Gateway, two: Any) -> None:
    for tenant in await gateway.rows(Tenant):
        assert tenant.id.startswith("ten_")
        assert len(tenant.id) == 36
        assert KEY not in tenant.id


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_anothers_training_looks_exactly_like_an_absent_one(
    gateway: Gateway, two: tuple[dict[str, Any], dict[str, Any]], method: str
) -> None:
    _, theirs = two
    absent = await asked(gateway, method, "/v1/trainings/trn_01kb2000000000000000000000", bearer(KEY))
    anothers = await asked(gateway, method, f"/v1/trainings/{theirs['id']}", bearer(KEY))
    assert anothers.status_code == absent.status_code == 404
    assert anothers.content == absent.content
    assert headers_of(anothers) == headers_of(absent)
    untouched = await asked(gateway, "GET", f"/v1/trainings/{theirs['id']}", bearer(OTHER_KEY))
    assert untouched.json() == theirs


async def test_anothers_delivery_looks_exactly_like_an_absent_one(
    gateway: Gateway, two: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    [theirs] = (await asked(gateway, "GET", "/v1/deliveries", bearer(OTHER_KEY))).json()["data"]
    absent = await asked(gateway, "GET", "/v1/deliveries/dlv_01kb2000000000000000000000", bearer(KEY))
    anothers = await asked(gateway, "GET", f"/v1/deliveries/{theirs['id']}", bearer(KEY))
    assert anothers.status_code == absent.status_code == 404
    assert anothers.content == absent.content
    assert headers_of(anothers) == headers_of(absent)


async def test_anothers_things_are_in_no_list_whatever_is_asked_for(
    gateway: Gateway, two: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    _, theirs = two
    for query in (
        "/v1/trainings?model_id=model-2",
        "/v1/trainings?model_id=model-2&status=training",
        f"/v1/deliveries?training_id={theirs['id']}",
    ):
        assert (await asked(gateway, "GET", query, bearer(KEY))).json() == {"data": [], "next_cursor": None}


async def test_a_cursor_of_another_tenant_shows_only_ones_own(gateway: Gateway) -> None:
    for number in range(3):
        await gateway.upstream.put_model(f"mine-{number}")
        await gateway.started(f"mine-{number}")
        gateway.advance(1)
    cursor = (await gateway.http.get("/v1/trainings?limit=1")).json()["next_cursor"]
    await gateway.upstream.put_model("model-2", key=OTHER_KEY)
    answer = await asked(gateway, "GET", f"/v1/trainings?cursor={cursor}", bearer(OTHER_KEY))
    assert answer.json() == {"data": [], "next_cursor": None}


async def test_two_tenants_may_train_models_of_the_same_name_apart(world: World) -> None:
    """In PhotoGPT's world ids are unique; here nothing relies on it."""
    await world.upstream.put_model()
    await world.upstream.fault_reading(
        "json", times=None, skip=1, body={"status": "OK", "result": {"id": MODEL, "status": "new"}}
    )
    await world.upstream.fault_trigger(
        "json", times=None, skip=1, body={"status": "OK", "result": "Training triggered"}
    )
    async with world.gateway() as gateway:
        mine = await gateway.started()
        theirs = await asked(gateway, "POST", "/v1/trainings", bearer(OTHER_KEY))
        assert theirs.status_code == 202
        assert theirs.json()["id"] != mine["id"]


# --- the sidecar's own key ---


async def test_a_sidecar_with_a_key_needs_no_credential_and_uses_its_own(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(PHOTOGPT_API_KEY=KEY) as gateway:
        for headers in ({}, bearer("whatever"), {"authorization": b"Basic dXNlcjpodXNo"}, bearer(b"k\xe9y")):
            answer = await asked(gateway, "POST", "/v1/trainings", headers)
            assert answer.status_code in {200, 202}
        assert {call["key"] for call in await gateway.upstream.calls()} == {KEY}
        assert await gateway.count(Tenant) == 1
        assert await gateway.count(Training) == 1


async def test_a_sidecar_with_a_token_lets_in_who_has_it(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(PHOTOGPT_API_KEY=KEY, GATEWAY_TOKEN=TOKEN) as gateway:
        answer = await asked(gateway, "POST", "/v1/trainings", bearer(TOKEN))
        assert answer.status_code == 202
        assert {call["key"] for call in await gateway.upstream.calls()} == {KEY}
        assert TOKEN not in answer.text


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"Bearer",
        b"Bearer ",
        b"Bearer the-token-of-caller",
        b"Bearer the-token-of-callers2",
        b"Bearer THE-TOKEN-OF-CALLERS",
        b"Basic the-token-of-callers",
        b"Bearer " + KEY.encode(),
        b"Bearer \xff\xfe",
        b"Bearer " + b"t" * 10_000,
    ],
)
async def test_a_sidecar_with_a_token_lets_in_nobody_else(world: World, authorization: bytes | None) -> None:
    async with world.gateway(PHOTOGPT_API_KEY=KEY, GATEWAY_TOKEN=TOKEN) as gateway:
        for method, path in ROUTES:
            headers = {} if authorization is None else {"authorization": authorization}
            answer = await asked(gateway, method, path, headers)
            await assert_refused(gateway, answer)
            assert answer.json()["detail"] == "Send the gateway's token: Authorization: Bearer <GATEWAY_TOKEN>."
            assert TOKEN not in answer.text
            assert KEY not in answer.text


async def test_a_credential_that_no_header_can_be_is_refused_like_any_other(world: World) -> None:
    async with world.gateway(PHOTOGPT_API_KEY=KEY, GATEWAY_TOKEN=TOKEN) as gateway:
        for credential in ("", "鍵", "\udcff", "\0", TOKEN + "\ud800"):
            with pytest.raises(Unauthenticated):
                gateway.components.tenancy.identify(credential)


def test_a_callers_key_is_not_shown() -> None:
    caller = Caller("ten_1", Secret(KEY))
    assert KEY not in f"{caller} {caller!r}"


async def test_a_sidecars_trainings_stay_its_own_when_its_key_changes(world: World) -> None:
    await world.upstream.put_model()
    async with world.gateway(PHOTOGPT_API_KEY=KEY) as gateway:
        training = await gateway.started()
        secret = (await gateway.http.get("/v1/signing-secret")).json()
    async with world.gateway(PHOTOGPT_API_KEY=OTHER_KEY) as gateway:
        assert await gateway.training(training["id"]) == training
        assert (await gateway.http.get("/v1/signing-secret")).json() == secret


async def test_a_sidecars_signing_secret_is_made_without_asking_photogpt(world: World) -> None:
    async with world.gateway(PHOTOGPT_API_KEY=KEY) as gateway:
        assert (await gateway.http.get("/v1/signing-secret")).status_code == 200
        assert await gateway.upstream.calls() == []
