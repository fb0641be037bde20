"""The control interface of the simulated PhotoGPT: putting models into a state, and what it remembers of the calls."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from service.simulator.photogpt import PhotoGPTOptions
from tests.simulator.driver import KEY, OTHER_KEY, Simulation, headers


@pytest.mark.parametrize("status", ["new", "training", "ready", "deleted"])
@pytest.mark.parametrize("before", ["new", "training", "ready", "deleted"])
async def test_puts_a_model_into_any_status(simulation: Simulation, before: str, status: str) -> None:
    assert (await simulation.put_model("m", status=before))["status"] == before
    simulation.clock.advance(seconds=1)
    assert (await simulation.put_model("m", status=status))["status"] == status
    model = await simulation.model("m")
    assert model["status"] == status
    assert model["updatedAt"] > model["createdAt"]


async def test_shows_the_model_as_it_is(simulation: Simulation) -> None:
    assert await simulation.put_model("m", images=15, raw_status="Cooking", stale_ready_polls=2) == {
        "id": "m",
        "status": "new",
        "modelType": "photo",
        "createdAt": "2030-01-01T00:00:00.000Z",
        "updatedAt": "2030-01-01T00:00:00.000Z",
        "key": KEY,
        "images": 15,
        "raw_status": "Cooking",
        "stale_ready_polls": 2,
        "triggers": 0,
    }


async def test_leaves_as_it_is_what_is_not_named(simulation: Simulation) -> None:
    await simulation.put_model("m", status="ready", images=15, raw_status="odd", stale_ready_polls=1)
    before = await simulation.put_model("m")
    assert (before["status"], before["images"], before["raw_status"]) == ("ready", 15, "odd")
    assert (await simulation.put_model("m", images=None))["images"] == 0


@pytest.mark.parametrize("raw", ["READY", "training_failed", "", "日本"])
async def test_serves_a_raw_status_until_it_is_cleared(simulation: Simulation, raw: str) -> None:
    await simulation.put_model("m", status="training", raw_status=raw)
    assert await simulation.status("m") == raw
    await simulation.put_model("m", raw_status=None)
    assert await simulation.status("m") == "training"


async def test_a_status_that_was_put_counts_no_trigger_but_takes_a_place(simulation: Simulation) -> None:
    for number in range(3):
        await simulation.put_model(f"m{number}", status="training")
    await simulation.put_model("m", images=15)
    assert await simulation.train("m") == 429
    assert (await simulation.control.get("/triggers")).json() == {}
    await simulation.put_model("m0", status="ready")
    assert await simulation.train("m") == 200


async def test_a_training_that_was_put_can_be_given_its_time(simulation: Simulation) -> None:
    await simulation.put_model("m", status="training", duration_minutes=3)
    simulation.clock.advance(minutes=3)
    assert await simulation.status("m") == "ready"


async def test_makes_many_models_at_once(simulation: Simulation) -> None:
    order = {"key": KEY, "prefix": "bulk", "count": 1000, "status": "ready", "images": 12, "duration_minutes": 1}
    assert (await simulation.control.post("/models", json=order)).json() == {"created": 1000}
    models = (await simulation.api.get("/models")).json()["result"]
    assert [model["id"] for model in models] == [f"bulk-{number:06d}" for number in range(1000)]
    assert await simulation.train("bulk-000999") == 200
    simulation.clock.advance(minutes=1)
    assert {model["status"] for model in models} == {await simulation.status("bulk-000999")} == {"ready"}


async def test_does_not_move_a_model_to_another_key(simulation: Simulation) -> None:
    await simulation.put_model("m")
    answer = await simulation.control.put("/models/m", json={"key": OTHER_KEY})
    assert answer.status_code == 409
    assert await simulation.status("m") == "new"


@pytest.mark.parametrize(
    "order",
    [
        {},
        {"key": ""},
        {"key": KEY, "status": "Ready"},
        {"key": KEY, "images": -1},
        {"key": KEY, "duration_minutes": -1},
        {"key": KEY, "stale_ready_pols": 1},
    ],
)
async def test_refuses_an_order_it_does_not_understand(simulation: Simulation, order: dict[str, Any]) -> None:
    assert (await simulation.control.put("/models/m", json=order)).status_code == 422
    assert (await simulation.api.get("/models/m")).status_code == 404


async def test_remembers_every_call() -> None:
    simulation = Simulation.start(PhotoGPTOptions(speed=60))
    await simulation.put_model("m", images=15)
    await simulation.train("m")
    simulation.clock.advance(seconds=1)
    await simulation.api.get("/models/unknown", headers=headers("stranger"))
    await simulation.api.post("/models", headers={"Authorization": "", "API-Version": "7"}, content=b"{")
    assert (await simulation.control.get("/calls")).json() == {
        "count": 3,
        "calls": [
            {
                "method": "GET",
                "path": "/models/m/train",
                "at": "2030-01-01T00:00:00.000Z",
                "simulated_at": "2030-01-01T00:00:00.000Z",
                "key": KEY,
                "api_version": "1",
                "status": 200,
            },
            {
                "method": "GET",
                "path": "/models/unknown",
                "at": "2030-01-01T00:00:01.000Z",
                "simulated_at": "2030-01-01T00:01:00.000Z",
                "key": "stranger",
                "api_version": "1",
                "status": 404,
            },
            {
                "method": "POST",
                "path": "/models",
                "at": "2030-01-01T00:00:01.000Z",
                "simulated_at": "2030-01-01T00:01:00.000Z",
                "key": None,
                "api_version": "7",
                "status": 401,
            },
        ],
    }


async def test_counts_all_calls_that_match_and_shows_the_newest(simulation: Simulation) -> None:
    for number in range(5):
        await simulation.api.get(f"/models/m{number}")
    await simulation.api.delete("/models/m4")

    async def calls(**params: str | int) -> tuple[int, list[str]]:
        report = (await simulation.control.get("/calls", params=params)).json()
        return report["count"], [call["path"] for call in report["calls"]]

    assert (await calls())[0] == 6
    assert await calls(path="/models/m4") == (2, ["/models/m4", "/models/m4"])
    assert await calls(path="/models/m4", method="delete") == (1, ["/models/m4"])
    assert await calls(path="/models/m[0-3]", limit=2) == (4, ["/models/m2", "/models/m3"])
    assert await calls(path="/models", limit=0) == (0, [])
    assert (await simulation.control.get("/calls", params={"path": "("})).status_code == 400
    await simulation.control.delete("/calls")
    assert await calls() == (0, [])


async def test_is_healthy(simulation: Simulation) -> None:
    answer: httpx.Response = await simulation.control.get("/healthz")
    assert answer.status_code == 200
    assert (await simulation.control.get("/calls")).json()["count"] == 0
