"""What generation makes: how a job gets on, what it leaves behind, who may see it, and where it is fetched."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import httpx
import pytest

from service.simulator.photogpt import PhotoGPTOptions
from tests.simulator.driver import KEY, OTHER_KEY, Simulation, client, headers

PORTRAIT = {"modelID": "nanobanana", "prompt": "a portrait"}
WALK = {"modelID": "veo-3.1", "prompt": "a walk"}


@pytest.fixture
async def trained(simulation: Simulation) -> Simulation:
    await simulation.put_model("m", status="ready")
    return simulation


async def begin(simulation: Simulation, what: str, body: dict[str, Any]) -> str:
    answer = await simulation.api.post(f"/{what}", json=body)
    assert answer.json()["result"]["status"] == "queued", answer.text
    job_id: str = answer.json()["result"]["jobId"]
    return job_id


async def fetch(simulation: Simulation, url: str) -> httpx.Response:
    async with client(simulation.app, "") as anybody:
        return await anybody.get(url)


async def order(simulation: Simulation, **job: object) -> None:
    answer = await simulation.control.post("/jobs", json={"key": KEY, **job})
    assert answer.json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("what", "body", "shortest", "longest"),
    [("images/generation", PORTRAIT, 30, 90), ("videos/generation", WALK, 60, 180)],
)
async def test_a_job_takes_its_time(
    simulation: Simulation, what: str, body: dict[str, Any], shortest: int, longest: int
) -> None:
    job_id, seen = await begin(simulation, what, body), []
    for _ in range(longest + 1):
        job = await simulation.job(job_id)
        seen.append((job["status"], len(job["images"] + job["videos"])))
        simulation.clock.advance(seconds=1)
    assert list(dict.fromkeys(seen)) == [("created", 0), ("queued", 0), ("running", 0), ("success", 1)]
    assert [status for status, _ in seen].count("created") == 1
    assert [status for status, _ in seen].count("queued") == 2
    assert shortest <= seen.index(("success", 1)) <= longest


async def test_the_time_inside_runs_faster_for_jobs_too() -> None:
    simulation = Simulation.start(PhotoGPTOptions(speed=600))
    job_id = await begin(simulation, "images/generation", PORTRAIT)
    simulation.clock.advance(seconds=90 / 600)
    assert (await simulation.job(job_id))["status"] == "success"


async def test_makes_as_many_pictures_as_were_asked_for(trained: Simulation) -> None:
    asked = await trained.generate("images/generation", modelID="m", prompt="x", numImages=3, width=64, height=32)
    job = await trained.job(asked)
    assert job["modelId"] == "m"
    assert len({image["id"] for image in job["images"]}) == 3
    for image in job["images"]:
        assert (await trained.api.get(f"/images/{image['id']}")).json()["result"] == image
        assert (image["type"], image["modelID"]) == ("output", "m")
        assert size_of((await fetch(trained, image["url"])).content) == (64, 32)


async def test_outputs_are_listed_with_their_model_once_they_are_there(trained: Simulation) -> None:
    async def listed(kind: str) -> list[str]:
        answer = await trained.api.get("/models/m/images", params={"imageType": kind})
        return [image["id"] for image in answer.json()["result"]]

    uploaded = (await trained.upload("m")).json()["result"]["id"]
    job_id = await begin(trained, "images/generation", {"modelID": "m", "prompt": "x"})
    assert (await listed("output"), await listed("all")) == ([], [uploaded])
    trained.clock.advance(minutes=2)
    [output] = [image["id"] for image in (await trained.job(job_id))["images"]]
    assert (await listed("output"), await listed("input"), await listed("all")) == (
        [output],
        [uploaded],
        [uploaded, output],
    )


async def test_a_picture_of_a_public_model_belongs_to_its_key(simulation: Simulation) -> None:
    job = await simulation.job(await simulation.generate("images/generation", **PORTRAIT))
    [image] = job["images"]
    assert image["modelID"] == job["modelId"] == "nanobanana"
    assert (await simulation.api.get(f"/images/{image['id']}")).status_code == 200
    assert (await simulation.api.get(f"/images/{image['id']}", headers=headers(OTHER_KEY))).status_code == 404


async def test_an_image_is_upscaled_to_twice_its_size(trained: Simulation) -> None:
    uploaded = (await trained.upload("m")).json()["result"]
    job_id = await begin(trained, "images/upscaling", {"imageID": uploaded["id"]})
    assert (await trained.api.get(f"/images/{uploaded['id']}")).json()["result"] == uploaded
    trained.clock.advance(seconds=30)
    [larger] = (await trained.job(job_id))["images"]
    now = (await trained.api.get(f"/images/{uploaded['id']}")).json()["result"]
    assert (now["upscaledImageID"], now["upscaledImageURL"]) == (larger["id"], larger["url"])
    assert now["updatedAt"] > uploaded["updatedAt"]
    small, large = [size_of((await fetch(trained, image["url"])).content) for image in (uploaded, larger)]
    assert large == (2 * small[0], 2 * small[1])


async def test_a_deleted_image_is_gone_everywhere(trained: Simulation) -> None:
    job_id = await trained.generate("images/generation", modelID="m", prompt="x", numImages=2)
    first, second = (await trained.job(job_id))["images"]
    assert (await trained.api.delete(f"/images/{first['id']}")).status_code == 200
    assert (await trained.job(job_id))["images"] == [second]
    assert (await trained.api.get("/models/m/images")).json()["result"] == [second]
    assert (await fetch(trained, first["url"])).status_code == 404
    assert (await trained.api.delete(f"/images/{first['id']}")).status_code == 404


async def test_an_ordered_failure_fails_one_job_and_makes_nothing(simulation: Simulation) -> None:
    await order(simulation, error="no face was found", seconds=5)
    failing, fine = [await begin(simulation, "images/generation", PORTRAIT) for _ in range(2)]
    assert (await simulation.job(failing))["error"] is None
    simulation.clock.advance(seconds=5)
    job = await simulation.job(failing)
    assert (job["status"], job["error"], job["images"]) == ("failed", "no face was found", [])
    assert (await simulation.job(fine))["status"] == "running"
    listed = (await simulation.api.get("/jobs")).json()["result"]["jobs"]
    assert [(item["jobId"], item["status"], item["errorMessage"]) for item in listed] == [
        (fine, "running", ""),
        (failing, "failed", "no face was found"),
    ]


async def test_trainings_and_generations_are_listed_together(trained: Simulation) -> None:
    await trained.put_model("other", images=15)
    jobs = []
    for start in (PORTRAIT, None, {"modelID": "m", "prompt": "x"}):
        if start is None:
            await trained.train("other")
        else:
            jobs.append(await begin(trained, "images/generation", start))
        trained.clock.advance(seconds=1)
    listed = (await trained.api.get("/jobs")).json()["result"]["jobs"]
    assert [item["jobId"] for item in listed][::2] == jobs[::-1]
    assert [item["credits"] for item in listed] == [10, 0, 10]
    assert [(await trained.job(item["jobId"]))["modelId"] for item in listed] == ["m", "other", "nanobanana"]


async def test_each_key_has_so_many_jobs_at_once(simulation: Simulation) -> None:
    answered = [(await simulation.api.post("/images/generation", json=PORTRAIT)).status_code for _ in range(21)]
    assert answered == [200] * 20 + [429]
    other = await simulation.api.post("/images/generation", json=PORTRAIT, headers=headers(OTHER_KEY))
    assert other.status_code == 200
    simulation.clock.advance(minutes=2)
    assert (await simulation.api.post("/images/generation", json=PORTRAIT)).status_code == 200


async def test_a_video_is_downloaded_after_its_file_was_created(simulation: Simulation) -> None:
    job_id = await simulation.generate("videos/generation", **WALK, options={"veo": {"duration": 4}})
    [video] = (await simulation.job(job_id))["videos"]
    path = f"/videos/{video['id']}"
    assert (await simulation.api.get(path)).json()["result"] == video
    assert video["jobId"] == job_id
    assert (await simulation.api.get(f"{path}/download")).status_code == 404

    async def prepared() -> dict[str, Any]:
        result: dict[str, Any] = (await simulation.api.get(f"{path}/download")).json()["result"]
        return result

    for _ in range(2):  # the second changes nothing
        answer = await simulation.api.get(f"{path}/create-download")
        assert answer.json() == {"result": "Download requested", "status": "OK"}
        simulation.clock.advance(seconds=4)
    assert await prepared() == {"percentComplete": 80, "status": "preparing", "url": ""}
    assert (await fetch(simulation, f"http://simulator/media/downloads/{video['id']}.mp4")).status_code == 404
    simulation.clock.advance(seconds=2)
    done = await prepared()
    assert (done["percentComplete"], done["status"]) == (100, "ready")
    film = await fetch(simulation, done["url"])
    assert film.headers["content-type"] == "video/mp4"
    assert int(film.headers["content-length"]) == len(film.content) > 2_000_000
    assert film.content[4:8] == b"ftyp"
    assert struct.unpack(">I", film.content[24:28])[0] == len(film.content) - 24
    assert (await fetch(simulation, done["url"])).content == film.content


async def test_a_video_url_is_a_playlist_of_the_same_film(simulation: Simulation) -> None:
    [video] = (await simulation.job(await simulation.generate("videos/generation", **WALK)))["videos"]
    playlist = await fetch(simulation, video["url"])
    assert playlist.headers["content-type"].startswith("application/vnd.apple.mpegurl")
    [segment] = [line for line in playlist.text.splitlines() if not line.startswith("#")]
    film = await fetch(simulation, str(httpx.URL(video["url"]).join(segment)))
    assert film.content[4:8] == b"ftyp"


async def test_videos_are_listed_and_deleted(simulation: Simulation) -> None:
    job_id = await simulation.generate("videos/generation", **WALK, numVideos=2)
    await simulation.generate("videos/generation", OTHER_KEY, **WALK)
    first, second = (await simulation.job(job_id))["videos"]
    assert (await simulation.api.get("/videos")).json()["result"] == [first, second]
    await simulation.api.delete(f"/videos/{first['id']}")
    assert (await simulation.api.get("/videos")).json()["result"] == [second]
    assert (await simulation.job(job_id))["videos"] == [second]
    assert (await fetch(simulation, first["url"])).status_code == 404


async def test_presets_are_those_that_can_be_used(simulation: Simulation) -> None:
    presets = (await simulation.api.get("/presets")).json()["result"]
    assert "editorial" in [preset["tag"] for preset in presets]
    for preset in presets:
        answer = await simulation.api.post("/images/generation", json={**PORTRAIT, "preset": preset["tag"]})
        assert answer.status_code == 200


@pytest.mark.parametrize("job", [{}, {"key": ""}, {"key": KEY, "seconds": -1}, {"key": KEY, "fails": "x"}])
async def test_refuses_a_job_order_it_does_not_understand(simulation: Simulation, job: dict[str, Any]) -> None:
    assert (await simulation.control.post("/jobs", json=job)).status_code == 422


@pytest.mark.parametrize("path", ["images/x.png", "videos/x.m3u8", "videos/x.mp4", "downloads/x.mp4", "x"])
async def test_there_are_no_other_files(simulation: Simulation, path: str) -> None:
    assert (await fetch(simulation, f"http://simulator/media/{path}")).status_code == 404


def size_of(png: bytes) -> tuple[int, int]:
    """Of a whole picture: as many rows are in it as it says."""
    width, height = struct.unpack(">II", png[16:24])
    begin, length = png.index(b"IDAT") + 4, struct.unpack(">I", png[33:37])[0]
    assert len(zlib.decompress(png[begin : begin + length])) == height * (1 + 3 * width)
    return width, height
