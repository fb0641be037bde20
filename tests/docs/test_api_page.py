"""docs/api.md: each route has an example, and every example is sent to a real gateway, and works."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.acceptance.forked import ForkedChildren
from tests.acceptance.stack import Stack
from tests.docs.names import routes, without_names
from tests.docs.pages import DOCS, page
from tests.openapi import committed
from tests.support.waiting import wait_until_sync

EXAMPLE_MODEL = "0195f6a2-7c1e-7d3a-9b52-3f1c2a9d8e47"
_ID = re.compile(r"(trn|whe|dlv|evt|rec)_[0-9a-z]{26}")


@dataclass(frozen=True, slots=True)
class Example:
    """One `curl`, as it stands on the page."""

    method: str
    target: str
    headers: dict[str, str]
    body: str | None

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def route(self) -> str:
        """`GET /v1/trainings/{}`."""
        candidates = [route for route in routes() if self._is_of(route)]
        assert candidates, f"no route for {self.method} {self.path}"
        return min(candidates, key=lambda route: route.count("{}"))

    def _is_of(self, route: str) -> bool:
        method, _, path = route.partition(" ")
        pattern = re.escape(path).replace(re.escape("{}"), "[^/]+")
        return method == self.method and re.fullmatch(pattern, self.path) is not None


def example(block: str) -> Example:
    words = shlex.split(block.replace("\\\n", " "))
    method, headers, body, target = "", {}, None, ""
    rest = iter(words[1:])
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(rest)
        elif word != "-N":
            target = word
    return Example(method or ("POST" if body else "GET"), target, headers, body)


def examples() -> list[Example]:
    return [example(block) for block in page(DOCS / "api.md").blocks("sh") if block.startswith("curl ")]


def test_every_route_has_an_example() -> None:
    assert sorted(routes() - {found.route for found in examples()}) == []


def test_every_example_is_for_a_gateway_beside_the_reader() -> None:
    assert {urlsplit(found.target).netloc for found in examples()} == {"127.0.0.1:8470"}


def test_every_parameter_is_one_of_its_route() -> None:
    for found in examples():
        names = {name for name, _ in httpx.QueryParams(urlsplit(found.target).query).multi_items()}
        assert names <= parameters_of(found.route), found.target


def parameters_of(route: str) -> set[str]:
    method, _, path = route.partition(" ")
    [operation] = [
        operations[method.lower()]
        for own, operations in committed.service()["paths"].items()
        if without_names(own) == path
    ]
    return {parameter["name"] for parameter in operation.get("parameters", [])}


# --- and they work ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Served:
    stack: Stack
    ids: dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with ForkedChildren(tmp_path_factory.mktemp("api-page")) as children:
        stack = Stack(children)
        stack.start_gateway()
        [model] = stack.models(1, prefix="first")
        endpoint = made(stack, "/v1/webhook-endpoints", {"url": stack.hook})
        training = stack.train(model)
        wait_until_sync(lambda: stack.api.get("/v1/deliveries").json()["data"], what="a delivery", timeout=30)
        recovery = made(stack, f"/v1/webhook-endpoints/{endpoint['id']}/recover", {"since": "2026-01-01T00:00:00Z"})
        ids = {found["id"][:3]: found["id"] for found in (endpoint, training, recovery)}
        for path in ("events", "deliveries"):
            newest = stack.api.get(f"/v1/{path}").json()["data"][0]["id"]
            ids[newest[:3]] = newest
        yield Served(stack, ids)
        stack.close()


def made(stack: Stack, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = stack.api.post(path, json=body).raise_for_status().json()
    return answer


def test_every_example_works(served: Served) -> None:
    """What deletes comes last; what the example calls by name is there under another."""
    found = sorted(examples(), key=lambda asked: asked.method == "DELETE")
    for number, asked in enumerate(found):
        [model] = served.stack.models(1, prefix=f"page-{number}") if "/v1/trainings" in asked.path else [""]
        if asked.route == "DELETE /v1/trainings/{}":
            served.ids["trn"] = served.stack.train(model)["id"]  # one that has not ended
        assert answer_to(asked, served, model) < 300, (asked, served.ids)


def answer_to(asked: Example, served: Served, model: str) -> int:
    target = _ID.sub(lambda found: served.ids[found[1]], asked.target.removeprefix("http://127.0.0.1:8470"))
    body = (asked.body or "").replace(EXAMPLE_MODEL, model).replace("https://example.com/hook", served.stack.hook)
    headers = {name: value.replace("wait=30", "wait=0") for name, value in asked.headers.items()}
    assert not body or isinstance(json.loads(body), dict)
    with served.stack.api.stream(asked.method, target, headers=headers, content=body or None) as answer:
        if answer.is_error:
            answer.read()
            pytest.fail(f"{asked.method} {target}: {answer.text}")
        return answer.status_code
