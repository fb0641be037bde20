"""The two modes as real processes: what the start says, who may call, and where callbacks may go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.forked import ForkedChildren
from tests.acceptance.stack import KEY, Stack
from tests.support.gateway import MASTER_KEY

GATEWAY = {"GATEWAY_MODE": "gateway", "GATEWAY_HOST": "127.0.0.1", "GATEWAY_MASTER_KEY": MASTER_KEY}
BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with ForkedChildren(tmp_path) as children:
        stack = Stack(children)
        stack.models(10)
        yield stack
        stack.close()


def train(stack: Stack, url: str, number: int = 0) -> httpx.Response:
    asked = {"model_id": f"model-{number:06d}", "callback_url": url}
    return stack.api.post("/v1/trainings", json=asked, headers=BEARER)


def start_line(stack: Stack) -> dict[str, Any]:
    return stack.gateway.log_entry("listening")


def test_a_sidecar_calls_this_machine_but_never_itself(stack: Stack) -> None:
    stack.start_gateway()
    line = start_line(stack)
    assert (line["mode"], line["callers"]) == ("sidecar", "anybody on this machine")
    assert line["ops"] == f"{line['api']}/ops"
    assert httpx.get(line["ops"]).status_code == 200
    assert line["callbacks"] == "https to public addresses, http to loopback"

    refused = {
        train(stack, url).text
        for port in (line["api"].rpartition(":")[2], line["health_port"])
        for url in (f"http://127.0.0.1:{port}/", f"http://localhost:{port}/x", f"http://[::1]:{port}/")
    }
    [text] = refused
    assert "destination_not_allowed" in text
    assert stack.triggers() == {}
    assert train(stack, stack.hook).status_code == 202
    stack.wait_for_events(1)


def test_a_gateway_calls_nobody_here_and_says_no_more_of_one_than_of_another(stack: Stack) -> None:
    stack.start_gateway(PHOTOGPT_API_KEY=None, **GATEWAY)
    line = start_line(stack)
    assert (line["mode"], line["callers"]) == ("gateway", "with their own PhotoGPT keys")
    assert (line["callbacks"], line["callbacks_allowed"]) == ("https to public addresses", None)

    before = stack.call_count(".*")
    places = [
        "http://10.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/",
        "https://[::1]/",
        "https://localhost/",
    ]
    places += ["https://db.internal/", "https://single/", "https://192.168.1.1:22/", stack.hook, "https://127.0.0.1:1/"]
    answers = [train(stack, url) for url in places]
    assert {answer.status_code for answer in answers} == {422}
    assert len({answer.content for answer in answers}) == 1
    assert "GATEWAY_CALLBACK_ALLOW" in answers[0].json()["detail"]
    # The operator is told what the caller is not.
    log = (stack.folder / "gateway-1.err").read_text(encoding="utf-8")
    assert len(re.findall(r'"event": ?"destination_refused"', log)) == len(places)
    assert "link-local and cloud metadata" in log
    assert stack.call_count(".*") == before
    assert stack.triggers() == {}


def test_an_operator_opens_one_place_and_only_that(stack: Stack) -> None:
    port = httpx.URL(stack.hook).port
    stack.start_gateway(PHOTOGPT_API_KEY=None, **GATEWAY, GATEWAY_CALLBACK_ALLOW=f"127.0.0.0/30:{port}")
    assert start_line(stack)["callbacks_allowed"] == f"127.0.0.0/30:{port}"
    assert start_line(stack)["ops"] is None

    assert train(stack, f"http://127.0.0.5:{port}/hook").status_code == 422
    assert train(stack, f"http://127.0.0.1:{int(port or 0) - 1}/hook").status_code == 422
    assert train(stack, stack.hook).status_code == 202
    stack.wait_for_events(1)


def test_a_sidecars_token_is_asked_for(stack: Stack) -> None:
    stack.start_gateway(GATEWAY_TOKEN="t0ken")
    assert start_line(stack)["callers"] == "with GATEWAY_TOKEN"
    assert (start_line(stack)["ops"], stack.api.get("/ops").status_code) == (None, 404)
    for credential in ({}, BEARER, {"authorization": "Bearer t0ke"}, {"authorization": "Bearer t0kenn"}):
        assert stack.api.get("/v1/trainings", headers=credential).status_code == 401
    assert stack.api.get("/v1/trainings", headers={"authorization": "Bearer t0ken"}).status_code == 200
