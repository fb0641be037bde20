"""What holds before any route: hosts, origins, paths, Accept, methods, and the headers of every answer."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from starlette.responses import JSONResponse

from service.api.edge import Edge
from service.app import create_app, create_health_app
from tests.support.gateway import KEY, Gateway, Simulators, World, client, new_world

SAFE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_sidecar(simulators: Simulators, template: object) -> AsyncIterator[httpx.AsyncClient]:
    """Bound to loopback, with a key of its own: whoever reaches it may spend money."""
    async with (
        new_world(simulators, template) as world,  # type: ignore[arg-type]
        world.gateway(PHOTOGPT_API_KEY=KEY) as gateway,
        client(create_app(gateway.components), key=None) as http,
    ):
        http.base_url = httpx.URL("http://localhost:8470")
        yield http


in_one_loop = pytest.mark.asyncio(loop_scope="module")


# --- who may call a sidecar ---


@in_one_loop
@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8470", "127.9.9.9", "[::1]", "[::1]:8470"]
)
async def test_a_sidecar_is_called_by_the_names_of_its_own_machine(open_sidecar: httpx.AsyncClient, host: str) -> None:
    answer = await open_sidecar.get("/v1/trainings", headers={"host": host})
    assert answer.status_code == 200


@in_one_loop
@pytest.mark.parametrize("path", ["/v1/trainings", "/livez", "/docs", "/nowhere", "/"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "0.0.0.0", "[::]", "", "other",
        "localhost.", "2130706433", "127.1", "[::ffff:10.0.0.1]", "localhost@evil.example", "localhost:a",
    ],
)  # fmt: skip
async def test_a_name_that_somebody_else_had_point_here_is_misdirected(
    open_sidecar: httpx.AsyncClient, host: str, path: str
) -> None:
    """DNS rebinding: to the browser it is the attacker's own site, whatever address its name has now."""
    answer = await open_sidecar.get(path, headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "misdirected_request")
    assert host == "" or host not in answer.text


@in_one_loop
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://localhost:8470", "sec-fetch-site": "cross-site"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/trainings", "/v1/events/stream", "/api/models/model-1/train"])
async def test_another_sites_page_can_not_use_a_sidecar(
    open_sidecar: httpx.AsyncClient, headers: dict[str, str], path: str
) -> None:
    answer = await open_sidecar.get(path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site_request")


@in_one_loop
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/trainings", {"origin": "http://localhost:8470", "sec-fetch-site": "same-origin"}),
        ("/v1/trainings", {"sec-fetch-site": "none"}),
        ("/docs", {"sec-fetch-site": "cross-site"}),
        ("/livez", {"origin": "https://example.com"}),
    ],
)
async def test_its_own_page_and_a_link_to_it_work(
    open_sidecar: httpx.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    assert (await open_sidecar.get(path, headers=headers)).status_code == 200


async def test_a_gateway_on_the_network_has_any_name_and_its_health_port_too(world: World) -> None:
    async with world.gateway(GATEWAY_MODE="gateway", GATEWAY_HOST="0.0.0.0") as gateway:
        for app in (create_app(gateway.components), create_health_app(gateway.components)):
            async with client(app) as http:
                for host in ("gateway.example", "10.0.0.1"):
                    headers = {"host": host, "origin": "https://example.com", "sec-fetch-site": "cross-site"}
                    assert (await http.get("/livez", headers=headers)).status_code == 200


async def test_whoever_sends_a_credential_may_call_a_sidecar_by_any_name(world: World) -> None:
    """Behind a proxy of its own, say: a web page of another site does not know the credential."""
    async with (
        world.gateway(PHOTOGPT_API_KEY=KEY, GATEWAY_TOKEN="t0ken") as gateway,
        client(create_app(gateway.components), key="t0ken") as http,
    ):
        assert (await http.get("/v1/trainings", headers={"host": "gateway.example"})).status_code == 200


# --- Accept ---

JSON_ACCEPTED = [
    "*/*", "", "application/json", "APPLICATION/JSON", "application/*", "application/problem+json",
    "application/json; charset=utf-8", "text/html, application/json;q=0.1", "text/html,application/xhtml+xml,*/*;q=0.8",
    "application/json;version=1", "garbage", "application/json;q=much", "*/*;q=0, application/json", "text/html, */*",
]  # fmt: skip
JSON_NOT_ACCEPTED = [
    "text/html", "image/*", "application/xml", "text/event-stream", "*/*;q=0",
    "application/json;q=0, application/problem+json;q=0", "application/*;q=0, text/html", "text/html;q=1.0, image/png",
]  # fmt: skip


@pytest.mark.parametrize("accept", JSON_ACCEPTED)
async def test_who_takes_json_is_answered(gateway: Gateway, accept: str) -> None:
    assert (await gateway.http.get("/v1/trainings", headers={"accept": accept})).status_code == 200


@pytest.mark.parametrize("accept", JSON_NOT_ACCEPTED)
async def test_who_takes_no_json_is_told_what_there_is(gateway: Gateway, accept: str) -> None:
    answer = await gateway.http.get("/v1/trainings", headers={"accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (406, "not_acceptable")
    assert answer.json()["detail"] == "This route answers application/json and application/problem+json."
    assert "connection" not in answer.headers


async def test_who_refuses_json_triggers_nothing(gateway: Gateway) -> None:
    answer = await gateway.train(headers={"accept": "text/html"})
    assert answer.status_code == 406
    assert answer.headers["connection"] == "close"
    assert await gateway.upstream.trigger_calls() == 0


@pytest.mark.parametrize(
    ("accept", "status"),
    [("text/event-stream", 200), ("*/*", 200), ("text/*", 200), ("application/json", 406), ("text/html", 406)],
)
async def test_the_stream_is_for_those_who_take_a_stream(accept: str, status: int) -> None:
    async with client(Edge(JSONResponse({}))) as http:
        http.event_hooks = {}
        assert (await http.get("/v1/events/stream", headers={"accept": accept})).status_code == status


# --- paths and methods ---


@pytest.mark.parametrize(
    "path",
    [
        "/v1//trainings", "//v1/trainings", "/v1/trainings/%00", "/v1/trainings/%0a", "/v1/trainings/%5c",
        "/v1/trainings/\\",
        "/v1/trainings/%2e%2e", "/v1/%2e/trainings", "/v1/trainings/..%2f", "/v1/trainings/%zz", "/v1/trainings/%",
        "/v1/trainings/%ff", "/v1/trainings/%c0%af", "/v1/trainings/" + "t" * 5000, "/v1/trainings/trn_%2f",
        "/v1/trainings/trn_01kb2000000000000000000000%00", "/v1/trainings/", "/v1/webhook-endpoints/%2e%2e",
    ],
)  # fmt: skip
async def test_no_odd_path_is_any_route(gateway: Gateway, path: str) -> None:
    """Sent as it is: a client would tidy some of it up."""
    request = gateway.http.build_request("GET", "/")
    request.url = httpx.URL("http://gateway").copy_with(raw_path=path.encode())
    answer = await gateway.http.send(request)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert len(answer.content) < 300


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "HEAD", "PROPFIND", "PURGE", "SOURCE"])
async def test_a_method_that_a_route_has_not_is_told_those_it_has(gateway: Gateway, method: str) -> None:
    answer = await gateway.http.request(method, "/v1/trainings", headers={"origin": "https://example.com"})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


async def test_the_documentations_files_can_only_be_read(gateway: Gateway) -> None:
    answer = await gateway.http.post("/docs/assets/swagger-ui.css")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_body_that_no_route_asked_for_changes_nothing(gateway: Gateway, method: str) -> None:
    training = await gateway.started()
    url = training["urls"]["self"]
    json = {"content-type": "application/json"}
    assert (await gateway.http.request(method, url, content=b"{", headers=json)).status_code == 400
    assert (await gateway.http.request(method, url, content=b"{}")).status_code == 415
    assert (await gateway.http.request(method, url, content=b"{}", headers=json)).status_code == 200


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 202), ("application/json;charset=utf-8", 202), ('Application/JSON; Charset="UTF-8"', 202),
        ("application/json; version=1", 202), ("application/json;", 202), ("application/json;;; ;=", 202),
        ("application/json; charset=latin-1", 415), ("application/json; charset=utf-16", 415),
        ("application/json; charset", 415), ("application/json; charset=utf-8; charset=utf-7", 415),
        ("application/jsonp", 415), ("application/json/x", 415), ("json", 415), (";charset=utf-8", 415),
    ],
)  # fmt: skip
async def test_json_comes_in_utf_8(gateway: Gateway, content_type: str, status: int) -> None:
    body = {"content": b'{"model_id": "model-1"}', "headers": {"content-type": content_type}}
    assert (await gateway.http.post("/v1/trainings", **body)).status_code == status  # type: ignore[arg-type]


async def test_two_content_types_are_none(gateway: Gateway) -> None:
    headers = [("content-type", "text/plain"), ("content-type", "application/json")]
    answer = await gateway.http.post("/v1/trainings", content=b'{"model_id": "model-1"}', headers=headers)
    assert answer.status_code == 415


async def test_without_a_body_its_type_does_not_matter(gateway: Gateway) -> None:
    answer = await gateway.http.post("/v1/trainings", headers={"content-type": "text/plain"})
    assert answer.status_code == 422


# --- what every answer says ---


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/trainings", 200), ("GET", "/nowhere", 404), ("PUT", "/v1/trainings", 405), ("GET", "/livez", 200),
        ("POST", "/v1/trainings", 422), ("GET", "/", 307), ("GET", "/openapi.json", 200), ("GET", "/v1//", 404),
    ],
)  # fmt: skip
async def test_every_answer_is_safe_to_show_to_a_browser(gateway: Gateway, method: str, path: str, status: int) -> None:
    answer = await gateway.http.request(method, path, headers={"origin": "https://example.com"})
    assert answer.status_code == status
    assert SAFE.items() <= answer.headers.items()
    assert answer.headers["content-security-policy"] == NOTHING
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert [name for name in answer.headers if name.startswith("access-control")] == []


async def test_a_route_has_the_say_of_how_long_its_answer_may_be_kept(gateway: Gateway) -> None:
    training = await gateway.started()
    assert (await gateway.http.get(training["urls"]["self"])).headers.get_list("cache-control") == ["no-cache"]
    keys = await gateway.http.get("/.well-known/webhook-signing-keys")
    assert keys.headers.get_list("cache-control") == ["public, max-age=300"]
    assert (await gateway.http.get("/docs/assets/swagger-ui.css")).headers.get_list("cache-control") == ["no-cache"]


async def test_the_documentations_page_runs_only_what_is_its_own(gateway: Gateway) -> None:
    page = await gateway.http.get("/docs")
    assert SAFE.items() <= page.headers.items()
    [policy] = page.headers.get_list("content-security-policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    [script] = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules.pop("script-src") == f"'self' 'sha256-{digest}'"
    assert rules == {
        "default-src": "'none'", "style-src": "'self'", "img-src": "'self' data:", "connect-src": "'self'",
        "frame-ancestors": "'none'", "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip


async def test_the_documentation_can_be_switched_off(world: World) -> None:
    async with world.gateway(GATEWAY_DOCS=False) as gateway, client(create_app(gateway.components)) as http:
        http.base_url = httpx.URL("http://localhost")
        for path in ("/", "/docs", "/docs/assets/swagger-ui.css", "/openapi.json", "/redoc", "/docs/oauth2-redirect"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert (await http.get("/v1/trainings")).status_code == 200
