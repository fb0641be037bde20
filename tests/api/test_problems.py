"""Errors that the framework or the middleware makes: they are problems like any other."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from service.api.body import BodyGuard
from service.api.direct import Direct, DirectRoutes
from service.app import create_app
from service.domain.errors import GatewayError
from tests.support.gateway import Gateway, client


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        "/v2/trainings",
        "/v1/training",
        "/v1/trainings/a/b",
        "/V1/trainings",
        "//v1/trainings",
        "/%00",
        "/é",
        "/docs/assets/none.js",
    ],
)
async def test_an_unknown_route_is_a_problem(gateway: Gateway, path: str) -> None:
    answer = await gateway.http.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:photogpt-webhooks:problem:not_found",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "There is no such route.",
    }


@pytest.mark.parametrize(
    ("path", "allowed", "wrong"),
    [
        ("/v1/trainings", "GET, POST", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]),
        ("/v1/trainings/trn_01kb2000000000000000000000", "DELETE, GET", ["POST", "PUT", "PATCH"]),
        ("/v1/deliveries", "GET", ["POST", "DELETE"]),
        ("/v1/deliveries/dlv_01kb2000000000000000000000", "GET", ["POST", "DELETE"]),
        ("/v1/signing-secret", "GET", ["POST", "DELETE"]),
        ("/livez", "GET", ["POST"]),
        ("/readyz", "GET", ["POST"]),
        ("/docs", "GET", ["POST"]),
        ("/openapi.json", "GET, HEAD", ["POST"]),
    ],
)
async def test_a_wrong_method_is_told_all_right_ones(
    gateway: Gateway, path: str, allowed: str, wrong: list[str]
) -> None:
    for method in wrong:
        answer = await gateway.http.request(method, path)
        assert answer.status_code == 405
        assert answer.headers.get_list("allow") == [allowed]
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json() == {
            "type": "urn:photogpt-webhooks:problem:method_not_allowed",
            "title": "Method Not Allowed",
            "status": 405,
            "code": "method_not_allowed",
            "detail": f"This route takes {allowed}.",
        }


async def test_a_training_has_no_head(gateway: Gateway) -> None:
    training = (await gateway.train()).json()
    answer = await gateway.http.head(training["urls"]["self"])
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")


async def test_every_wrong_field_is_named_at_once(gateway: Gateway) -> None:
    body = {"model_id": 1, "callback": {"events": "all"}, "metadata": [], "surprise": 1, "a/b~c": 1}
    answer = await gateway.http.post("/v1/trainings", json=body)
    assert answer.status_code == 422
    assert sorted((error["pointer"], error["detail"]) for error in answer.json()["errors"]) == [
        ("/a~1b~0c", "There is no such field."),
        ("/callback/events", "Input should be a valid list."),
        ("/callback/url", "This field is required."),
        ("/metadata", "Input should be a valid dictionary."),
        ("/model_id", "Input should be a valid string."),
        ("/surprise", "There is no such field."),
    ]


async def test_what_was_sent_is_never_repeated(gateway: Gateway) -> None:
    body = {"model_id": ["hush-1"], "callback": {"url": {"hush-2": 1}, "secret": 3, "events": ["hush-3"]}}
    answer = await gateway.http.post("/v1/trainings", json=body)
    assert answer.status_code == 422
    assert "hush" not in answer.text


async def test_a_request_full_of_wrong_fields_gets_a_short_answer(gateway: Gateway) -> None:
    answer = await gateway.http.post("/v1/trainings", json={f"field-{number}": 1 for number in range(3000)})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 20
    assert len(answer.content) < 4000


async def test_a_refused_body_ends_the_connection(gateway: Gateway) -> None:
    answer = await gateway.http.post("/v1/trainings", content=b"x" * 70_000)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")


async def test_a_body_of_exactly_64_kb_is_read(gateway: Gateway) -> None:
    start = b'{"model_id": "model-1"'
    body = start + b" " * (64 * 1024 - len(start) - 1) + b"}"
    headers = {"content-type": "application/json"}
    assert len(body) == 65_536
    assert (await gateway.http.post("/v1/trainings", content=body, headers=headers)).status_code == 202
    answer = await gateway.http.post("/v1/trainings", content=body + b" ", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.json()["detail"] == "A request body has at most 65536 bytes."


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", " application/json ;x=y"],
)
async def test_json_may_be_announced_in_any_spelling(gateway: Gateway, content_type: str) -> None:
    body = json.dumps({"model_id": "model-1"}).encode()
    answer = await gateway.http.post("/v1/trainings", content=body, headers={"content-type": content_type})
    assert answer.status_code == 202


async def test_an_uncompressed_body_may_say_so(gateway: Gateway) -> None:
    answer = await gateway.train(headers={"content-encoding": "Identity"})
    assert answer.status_code == 202


async def test_a_compressed_body_is_not_inflated(gateway: Gateway) -> None:
    bomb = gzip.compress(b"[" + b" " * 20_000_000 + b"]")
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = await gateway.http.post("/v1/trainings", content=bomb, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


async def test_a_request_that_does_not_arrive_in_time_is_given_up(gateway: Gateway) -> None:
    assert isinstance(gateway.http._transport, httpx.ASGITransport)
    impatient = BodyGuard(gateway.http._transport.app, most_seconds=0.05)
    never = asyncio.Event()

    async def dripping() -> AsyncIterator[bytes]:
        yield b'{"model_id": '
        await never.wait()

    async with client(impatient) as http:
        answer = await http.post("/v1/trainings", content=dripping())
    assert (answer.status_code, answer.json()["code"]) == (408, "request_timeout")
    assert answer.headers["connection"] == "close"
    assert await gateway.upstream.calls() == []


async def test_a_defect_of_ours_is_a_problem_that_tells_nothing(gateway: Gateway) -> None:
    app = create_app(gateway.components)

    @app.get("/v1/defect")
    def defect() -> None:
        raise RuntimeError("hush")

    @app.get("/v1/unmapped")
    def unmapped() -> None:
        raise GatewayError("An error of a kind that has no status.")

    async def direct(_request: Request) -> Response:
        raise RuntimeError("hush")

    app.add_middleware(DirectRoutes, routes=[Direct("/v1/direct", direct, methods=["GET"])])
    async with client(app, raise_app_exceptions=False) as http:
        http.base_url = httpx.URL("http://localhost")
        for path in ("/v1/defect", "/v1/direct"):
            answer = await http.get(path)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
            assert answer.json()["detail"] == "Something went wrong on our side."
        assert (await http.get("/v1/unmapped")).status_code == 500
