"""The rules about training: who may start one, how long it takes, what a model looks like meanwhile and after."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from random import Random
from statistics import mean

import httpx
import pytest

from service.simulator.models import new_id
from service.simulator.photogpt import PhotoGPTOptions
from tests.simulator.driver import JPEG, KEY, OTHER_KEY, Simulation, client, upload_form
from tests.simulator.fake_clock import FakeClock


@pytest.mark.parametrize(
    ("images", "answered", "then"), [(11, 400, "new"), (12, 200, "training"), (20, 200, "training"), (21, 400, "new")]
)
async def test_needs_12_to_20_training_images(simulation: Simulation, images: int, answered: int, then: str) -> None:
    await simulation.put_model("m", images=images)
    assert await simulation.train("m") == answered
    assert await simulation.status("m") == then


async def test_counts_uploaded_training_images_only(simulation: Simulation) -> None:
    await simulation.put_model("m")
    for _ in range(11):
        assert (await simulation.upload("m")).status_code == 200
    await simulation.upload("m", "auxiliaryType")
    assert await simulation.train("m") == 400
    last = await simulation.upload("m")
    await simulation.api.delete(f"/images/{last.json()['result']['id']}")
    assert await simulation.train("m") == 400
    await simulation.upload("m")
    assert await simulation.train("m") == 200


async def test_the_number_of_images_can_be_set() -> None:
    simulation = Simulation.start(PhotoGPTOptions(required_images=(1, 2)))
    await simulation.put_model("m", images=1)
    assert await simulation.train("m") == 200


async def test_is_ready_once_the_time_is_over(simulation: Simulation) -> None:
    await simulation.put_model("m", images=15)
    before = await simulation.model("m")
    simulation.clock.advance(minutes=1)
    await simulation.train("m")
    begun = await simulation.model("m")
    simulation.clock.advance(minutes=19)
    assert await simulation.model("m") == begun
    simulation.clock.advance(minutes=6)
    ended = await simulation.model("m")
    assert [model["status"] for model in (before, begun, ended)] == ["new", "training", "ready"]
    assert before["updatedAt"] < begun["updatedAt"] < ended["updatedAt"]
    assert _minutes(begun["updatedAt"], ended["updatedAt"]) == pytest.approx(22.5, abs=2.5)
    simulation.clock.advance(minutes=600)
    assert await simulation.model("m") == ended


async def test_durations_are_spread_over_the_range_and_repeat_with_the_seed() -> None:
    async def durations(seed: int) -> list[float]:
        simulation = Simulation.start(PhotoGPTOptions(seed=seed, max_running=1000, training_minutes=(10, 30)))
        made = {"key": KEY, "prefix": "m", "count": 300, "images": 15}
        assert (await simulation.control.post("/models", json=made)).json() == {"created": 300}
        for number in range(300):
            assert await simulation.train(f"m-{number:06d}") == 200
        simulation.clock.advance(minutes=31)
        models = (await simulation.api.get("/models")).json()["result"]
        return [_minutes(model["createdAt"], model["updatedAt"]) for model in models]

    found = await durations(1)
    assert min(found) >= 10
    assert max(found) <= 30
    assert mean(found) == pytest.approx(20, abs=1)
    assert found == await durations(1)
    assert found != await durations(2)


async def test_the_time_inside_runs_faster() -> None:
    simulation = Simulation.start(PhotoGPTOptions(speed=60, training_minutes=(20, 20)))
    await simulation.put_model("m", images=15)
    await simulation.train("m")
    simulation.clock.advance(seconds=19.9)
    assert await simulation.status("m") == "training"
    simulation.clock.advance(seconds=0.1)
    model = await simulation.model("m")
    assert model["status"] == "ready"
    assert _minutes(model["createdAt"], model["updatedAt"]) == 20


async def test_a_duration_can_be_ordered_for_the_next_training(simulation: Simulation) -> None:
    await simulation.put_model("m", images=15, duration_minutes=2)
    await simulation.train("m")
    simulation.clock.advance(minutes=2)
    assert await simulation.status("m") == "ready"
    await simulation.train("m")
    simulation.clock.advance(minutes=2)
    assert await simulation.status("m") == "training"


async def test_each_key_has_so_many_trainings_at_once() -> None:
    simulation = Simulation.start(PhotoGPTOptions(max_running=2))
    for model_id in ("a", "b", "c"):
        await simulation.put_model(model_id, images=15)
    await simulation.put_model("other", key=OTHER_KEY, images=15)
    assert [await simulation.train(model_id) for model_id in ("a", "b", "c")] == [200, 200, 429]
    assert await simulation.train("other", OTHER_KEY) == 200
    assert await simulation.status("c") == "new"
    simulation.clock.advance(minutes=26)
    assert await simulation.train("c") == 200


async def test_a_deleted_model_frees_its_place() -> None:
    simulation = Simulation.start(PhotoGPTOptions(max_running=1))
    await simulation.put_model("a", images=15)
    await simulation.put_model("b", images=15)
    await simulation.train("a")
    assert await simulation.train("b") == 429
    await simulation.api.delete("/models/a")
    assert await simulation.train("b") == 200


async def test_a_model_that_trains_is_not_triggered_again(simulation: Simulation) -> None:
    await simulation.put_model("m", images=15)
    assert [await simulation.train("m"), await simulation.train("m")] == [200, 409]
    simulation.clock.advance(minutes=26)
    assert await simulation.train("m") == 200
    assert await simulation.status("m") == "training"
    assert (await simulation.control.get("/triggers")).json() == {"m": 2}


async def test_a_retrained_model_may_look_ready_for_a_while(simulation: Simulation) -> None:
    await simulation.put_model("m", images=15, status="ready", stale_ready_polls=3)
    simulation.clock.advance(minutes=1)
    before = await simulation.model("m")
    assert await simulation.train("m") == 200
    listed = (await simulation.api.get("/models")).json()["result"]
    assert [await simulation.model("m"), await simulation.model("m"), listed[0]] == [before] * 3
    now = await simulation.model("m")
    assert now["status"] == "training"
    assert now["updatedAt"] > before["updatedAt"]


async def test_a_new_model_never_looks_ready_too_early(simulation: Simulation) -> None:
    await simulation.put_model("m", images=15, stale_ready_polls=3)
    await simulation.train("m")
    assert await simulation.status("m") == "training"


async def test_deletion_is_soft_and_final(simulation: Simulation) -> None:
    await simulation.put_model("m", images=15)
    await simulation.train("m")
    simulation.clock.advance(minutes=1)
    assert (await simulation.api.delete("/models/m")).json() == {"result": "Model deleted", "status": "OK"}
    deleted = await simulation.model("m")
    assert deleted["status"] == "deleted"
    simulation.clock.advance(minutes=60)
    await simulation.api.delete("/models/m")
    assert await simulation.model("m") == deleted
    assert await simulation.train("m") == 404


async def test_other_keys_see_nothing(simulation: Simulation) -> None:
    await simulation.put_model("m", images=15)
    image = (await simulation.upload("m")).json()["result"]["id"]
    async with client(simulation.app, "/api", OTHER_KEY) as other:
        for path in ("/models/m", "/models/m/train", "/models/m/images", f"/images/{image}"):
            assert (await other.get(path)).status_code == 404
        assert (await other.delete("/models/m")).status_code == 404
        assert (await other.delete(f"/images/{image}")).status_code == 404
        assert (await other.get("/models")).json()["result"] == []
        assert (await other.get("/jobs")).json()["result"]["jobs"] == []
    assert await simulation.status("m") == "new"


async def test_takes_20_images_of_each_type_and_pages_them(simulation: Simulation) -> None:
    await simulation.put_model("m")
    ids = [(await simulation.upload("m")).json()["result"]["id"] for _ in range(20)]
    assert (await simulation.upload("m")).status_code == 400
    assert (await simulation.upload("m", "auxiliaryType")).status_code == 200

    async def listed(**params: str | int) -> list[str]:
        page = (await simulation.api.get("/models/m/images", params=params)).json()
        return [image["id"] for image in page["result"]]

    assert await listed() == ids
    assert await listed(imageType="input", pageSize=100) == ids
    assert await listed(imageType="input", pageNum=2, pageSize=15) == ids[15:]
    assert len(await listed(imageType="all", pageSize=100)) == 21
    assert len(await listed(imageType="auxiliaryType")) == 1
    assert await listed(imageType="output") == []
    assert await listed(pageNum=9) == []


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff\xe0 jpeg",
        b"\x89PNG\r\n\x1a\n png",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"\x00\x00\x00\x18ftypheic",
    ],
)
async def test_knows_an_image_by_its_first_bytes(simulation: Simulation, content: bytes) -> None:
    await simulation.put_model("m")
    assert (await simulation.upload("m", content=content, name="unnamed")).status_code == 200
    assert (await simulation.upload("m", content=b"?" + content, name="me.jpg")).status_code == 400


async def test_measures_an_upload_that_does_not_tell_its_length(simulation: Simulation) -> None:
    await simulation.put_model("m")
    form = httpx.Request("POST", "http://simulator", **upload_form("m", content=JPEG + bytes(20 * 1024 * 1024)))

    async def parts() -> AsyncIterator[bytes]:
        yield form.read()

    sent = {"Content-Type": form.headers["Content-Type"]}
    answer = await simulation.api.post("/images/upload", content=parts(), headers=sent)
    assert answer.status_code == 400
    assert "20MB" in answer.json()["message"]


async def test_trainings_show_up_as_jobs(simulation: Simulation) -> None:
    for model_id in ("done", "broken", "busy"):
        await simulation.put_model(model_id, images=15, duration_minutes=10)
        simulation.clock.advance(minutes=1)
        await simulation.train(model_id)
    await simulation.api.delete("/models/broken")
    simulation.clock.advance(minutes=8)
    listed = (await simulation.api.get("/jobs")).json()["result"]
    assert listed["nextPageToken"] == ""
    assert [job["status"] for job in listed["jobs"]] == ["running", "failed", "success"]
    jobs = [(await simulation.api.get(f"/jobs/{job['jobId']}")).json()["result"] for job in listed["jobs"]]
    assert [(job["modelId"], job["status"], job["error"] is None) for job in jobs] == [
        ("busy", "running", True),
        ("broken", "failed", False),
        ("done", "success", True),
    ]


async def test_jobs_come_in_pages_out_of_a_window() -> None:
    simulation = Simulation.start(PhotoGPTOptions(max_running=1000))
    for number in range(120):
        await simulation.put_model(f"m{number}", status="training")
    seen: list[str] = []
    params: dict[str, str] = {}
    for size in (50, 50, 20):
        page = (await simulation.api.get("/jobs", params=params)).json()["result"]
        assert len(page["jobs"]) == size
        seen += [job["jobId"] for job in page["jobs"]]
        params = {"pageToken": page["nextPageToken"]}
    assert len(set(seen)) == 120
    assert params == {"pageToken": ""}
    simulation.clock.advance(minutes=25 * 60)
    assert (await simulation.api.get("/jobs")).json()["result"]["jobs"] == []
    window = {"start": "2030-01-01T00:00:00Z"}
    assert len((await simulation.api.get("/jobs", params=window)).json()["result"]["jobs"]) == 50


async def test_model_ids_are_version_7_uuids_in_the_order_of_their_making(simulation: Simulation) -> None:
    ids = []
    for _ in range(3):
        simulation.clock.advance(seconds=1)
        ids.append((await simulation.api.post("/models", json={})).json()["result"]["id"])
    assert ids == sorted(ids)
    for model_id in ids:
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", model_id)
    clock = FakeClock()
    assert new_id(clock.now(), Random(1)) != new_id(clock.now(), Random(2))


async def test_an_update_only_moves_updated_at(simulation: Simulation) -> None:
    await simulation.put_model("m", images=15)
    await simulation.train("m")
    simulation.clock.advance(minutes=26)
    before = await simulation.model("m")
    after = (await simulation.api.post("/models", json={"id": "m", "name": "Other"})).json()["result"]
    assert after["updatedAt"] > before["updatedAt"]
    assert {**after, "updatedAt": before["updatedAt"]} == before


def _minutes(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)) / timedelta(minutes=1)
