"""Every kind of fault, seen over a real socket; and when a fault strikes and when it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest

from service.simulator.photogpt import PhotoGPTOptions, create_photogpt
from tests.simulator import contract
from tests.simulator.driver import KEY, Simulation, headers
from tests.simulator.fake_clock import FakeClock, StoppedClock
from tests.support.server import serve

CUT = (httpx.ReadError, httpx.RemoteProtocolError)


@dataclass(frozen=True)
class Remote:
    """A simulated PhotoGPT behind a socket, with one model of its own for each test."""

    http: httpx.Client
    clock: FakeClock
    model_id: str

    def order(self, kind: str, **fault: object) -> None:
        order = {"kind": kind, "path": f"/models/{self.model_id}(/train)?", **fault}
        answer = self.http.post("/_control/faults", json=order)
        assert answer.status_code == 200, answer.text

    def read(self) -> httpx.Response:
        return self.http.get(f"/api/models/{self.model_id}")

    def train(self) -> httpx.Response:
        return self.http.get(f"/api/models/{self.model_id}/train")

    def triggers(self) -> int:
        triggers: dict[str, int] = self.http.get("/_control/triggers").json()
        return triggers.get(self.model_id, 0)

    def answered(self) -> list[int | None]:
        report = self.http.get("/_control/calls", params={"path": f"/models/{self.model_id}(/train)?"}).json()
        return [call["status"] for call in report["calls"]]


_numbers = count()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[httpx.Client, FakeClock]]:
    clock = FakeClock()
    app = create_photogpt(PhotoGPTOptions(max_running=1000), clock)
    with serve(app) as url, httpx.Client(base_url=url, headers=headers(), trust_env=False) as http:
        yield http, clock


@pytest.fixture
def remote(served: tuple[httpx.Client, FakeClock]) -> Iterator[Remote]:
    http, clock = served
    clock.slept.clear()
    model_id = f"m{next(_numbers)}"
    http.put(f"/_control/models/{model_id}", json={"key": KEY, "images": 15})
    yield Remote(http, clock, model_id)
    http.delete("/_control/faults")


def test_status_answers_in_the_envelope_and_has_no_effect(remote: Remote) -> None:
    remote.order("status", status=503, headers={"Retry-After": "7"})
    answer = remote.train()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert answer.json()["status"] == "NOK"
    contract.check("GET", "/models/{modelID}/train", answer)
    assert remote.triggers() == 0
    assert remote.answered() == [503]
    assert remote.train().status_code == 200


def test_status_answers_with_any_body(remote: Remote) -> None:
    remote.order("status", status=200, body="Hi", content_type="text/plain")
    remote.order("status", status=204)
    answer = remote.read()
    assert (answer.text, answer.headers["content-type"]) == ("Hi", "text/plain")
    assert (remote.read().status_code, remote.answered()) == (204, [200, 204])


def test_html_is_a_page(remote: Remote) -> None:
    remote.order("html")
    remote.order("html", status=502)
    for status in (200, 502):
        answer = remote.read()
        assert answer.status_code == status
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.text.startswith("<!doctype html>")


def test_garbage_says_it_were_json(remote: Remote) -> None:
    remote.order("garbage")
    answer = remote.read()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    with pytest.raises((UnicodeDecodeError, json.JSONDecodeError)):
        answer.json()


@pytest.mark.parametrize("body", [None, [], 7, "x", {"status": "NOK"}, {"result": "odd"}, {"result": {"status": []}}])
def test_json_is_any_value(remote: Remote, body: object) -> None:
    remote.order("json", body=body)
    answer = remote.read()
    assert (answer.status_code, answer.json()) == (200, body)


def test_cdn_block_is_no_envelope(remote: Remote) -> None:
    remote.order("cdn_block")
    answer = remote.train()
    assert (answer.status_code, answer.text) == (403, "error code: 1010")
    contract.check("GET", "/models/{modelID}/train", answer)
    assert remote.triggers() == 0


def test_redirect_points_elsewhere(remote: Remote) -> None:
    remote.order("redirect", location="http://127.0.0.1:1/")
    answer = remote.read()
    assert (answer.status_code, answer.headers["location"]) == (302, "http://127.0.0.1:1/")


def test_hang_waits_and_then_cuts(remote: Remote) -> None:
    remote.order("hang", seconds=30)
    with pytest.raises(CUT):
        remote.train()
    assert remote.clock.slept == [30]
    assert (remote.triggers(), remote.answered()) == (0, [None])


def test_hang_ends_when_the_caller_gives_up() -> None:
    clock = StoppedClock()
    with serve(create_photogpt(PhotoGPTOptions(), clock)) as url, httpx.Client(trust_env=False) as http:
        http.post(f"{url}/_control/faults", json={"kind": "hang", "seconds": 30})
        with pytest.raises(httpx.ReadTimeout):
            http.get(f"{url}/api/ping", headers=headers(), timeout=httpx.Timeout(5, read=0.1))
        assert clock.given_up.wait(5)


def test_reset_cuts_and_does_not_train(remote: Remote) -> None:
    remote.order("reset")
    with pytest.raises(CUT):
        remote.train()
    assert (remote.triggers(), remote.answered()) == (0, [None])
    assert remote.read().json()["result"]["status"] == "new"


def test_reset_after_trains_and_cuts(remote: Remote) -> None:
    remote.order("reset_after")
    with pytest.raises(CUT):
        remote.train()
    assert (remote.triggers(), remote.answered()) == (1, [None])
    assert remote.read().json()["result"]["status"] == "training"


def test_status_after_trains_and_says_it_failed(remote: Remote) -> None:
    remote.order("status_after", status=500)
    answer = remote.train()
    assert (answer.status_code, answer.json()["status"]) == (500, "NOK")
    assert remote.triggers() == 1


def test_delay_only_takes_longer(remote: Remote) -> None:
    remote.order("delay", seconds=20)
    assert remote.train().json() == {"result": "Training triggered", "status": "OK"}
    assert remote.clock.slept == [20]
    assert (remote.triggers(), remote.answered()) == (1, [200])


def test_drip_has_no_end(remote: Remote) -> None:
    remote.order("drip", seconds=0.5, bytes=1000)
    with remote.http.stream("GET", f"/api/models/{remote.model_id}") as answer:
        assert answer.status_code == 200
        chunks = answer.iter_bytes(1000)
        assert {next(chunks) for _ in range(100)} == {b"." * 1000}
    assert set(remote.clock.slept) == {0.5}
    assert remote.answered() == [200]


def test_a_cut_spares_the_other_connections(remote: Remote) -> None:
    with httpx.Client(base_url=remote.http.base_url, headers=headers(), trust_env=False) as other:
        assert other.get("/api/ping").status_code == 200
        remote.order("reset")
        with pytest.raises(CUT):
            remote.read()
        assert other.get("/api/ping").status_code == 200


async def test_a_cut_is_an_error_where_there_is_no_connection(simulation: Simulation) -> None:
    await simulation.put_model("m", images=15)
    for kind, triggers in (("reset", {}), ("reset_after", {"m": 1})):
        await simulation.control.post("/faults", json={"kind": kind})
        with pytest.raises(ConnectionError):
            await simulation.train("m")
        assert (await simulation.control.get("/triggers")).json() == triggers


async def test_strikes_as_often_as_ordered_after_what_it_skips(simulation: Simulation) -> None:
    await _order(simulation, status=503, times=2, skip=1)
    assert [await _ping(simulation) for _ in range(5)] == [200, 503, 503, 200, 200]


async def test_strikes_for_ever_until_cleared(simulation: Simulation) -> None:
    await _order(simulation, status=503, times=None)
    assert [await _ping(simulation) for _ in range(20)] == [503] * 20
    assert (await simulation.control.delete("/faults")).status_code == 200
    assert await _ping(simulation) == 200


async def test_the_earliest_order_that_has_nothing_to_skip_strikes(simulation: Simulation) -> None:
    first = await _order(simulation, status=500, skip=1)
    second = await _order(simulation, status=501)
    assert first != second
    assert [await _ping(simulation) for _ in range(3)] == [501, 500, 200]


async def test_strikes_only_where_path_and_method_match_as_a_whole(simulation: Simulation) -> None:
    await simulation.put_model("m", images=15)
    await _order(simulation, status=503, path="/models/[^/]+", method="get", times=None)
    assert [
        (await simulation.api.request(method, path)).status_code
        for method, path in (
            ("GET", "/models/m"),
            ("GET", "/models/m/train"),
            ("GET", "/models"),
            ("DELETE", "/models/m"),
        )
    ] == [503, 200, 200, 200]
    assert (await simulation.control.get("/healthz")).status_code == 200


async def test_strikes_before_the_door(simulation: Simulation) -> None:
    await _order(simulation, status=503)
    assert (await simulation.api.get("/ping", headers={"Authorization": ""})).status_code == 503


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"kind": "unknown"},
        {"kind": "status"},
        {"kind": "status", "status": 99},
        {"kind": "status", "status": 500, "headers": {"x": "a\r\nb"}},
        {"kind": "hang"},
        {"kind": "hang", "seconds": -1},
        {"kind": "reset", "seconds": 1},
        {"kind": "reset", "path": "("},
        {"kind": "reset", "times": 0},
        {"kind": "redirect"},
        {"kind": "json"},
    ],
)
async def test_refuses_an_order_it_does_not_understand(simulation: Simulation, order: dict[str, Any]) -> None:
    assert (await simulation.control.post("/faults", json=order)).status_code == 422
    assert await _ping(simulation) == 200


async def _order(simulation: Simulation, **fault: object) -> int:
    answer = await simulation.control.post("/faults", json={"kind": "status", **fault})
    assert answer.status_code == 200, answer.text
    fault_id: int = answer.json()["id"]
    return fault_id


async def _ping(simulation: Simulation) -> int:
    return (await simulation.api.get("/ping")).status_code
