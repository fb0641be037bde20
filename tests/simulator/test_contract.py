"""The simulated PhotoGPT answers every operation as `openapi/photogpt.yaml` says, in success and in failure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from jsonschema import ValidationError
from starlette.routing import Route

from service.simulator.door import PREFIX
from service.simulator.photogpt import PhotoGPTOptions
from tests.simulator import contract
from tests.simulator.driver import JPEG, KEY, OTHER_KEY, Simulation, headers, upload_form


@dataclass(frozen=True)
class Case:
    """One request and the status it must be answered with. `ids` name things of the world that `_furnish` makes."""

    method: str
    path: str
    status: int
    ids: dict[str, str] = field(default_factory=dict)
    send: dict[str, Any] = field(default_factory=dict)
    why: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status} {self.why or '-'.join(self.ids.values())}".strip()


def _model(status: int, model: str, method: str = "GET", under: str = "") -> Case:
    return Case(method, "/models/{modelID}" + under, status, {"modelID": model})


def _upsert(status: int, why: str, **send: object) -> Case:
    return Case("POST", "/models", status, send=send, why=why)


def _upload(status: int, why: str, send: dict[str, Any]) -> Case:
    return Case("POST", "/images/upload", status, send=send, why=why)


def _images(status: int, **params: str) -> Case:
    why = "&".join(f"{name}={value}" for name, value in params.items())
    return Case("GET", "/models/{modelID}/images", status, {"modelID": "pictured"}, {"params": params}, why)


def _jobs(status: int, **params: str) -> Case:
    return Case("GET", "/jobs", status, send={"params": params}, why="&".join(params.values()))


def _job(status: int, what: str, why: str, **body: object) -> Case:
    return Case("POST", f"/{what}", status, send={"json": body}, why=why)


def _picture(status: int, why: str, **body: object) -> Case:
    return _job(status, "images/generation", why, **{"modelID": "ready", "prompt": "a portrait", **body})


def _film(status: int, why: str, **body: object) -> Case:
    return _job(status, "videos/generation", why, **{"modelID": "veo-3.1", "prompt": "a walk", **body})


def _video(status: int, video: str, method: str = "GET", under: str = "") -> Case:
    return Case(method, "/videos/{videoID}" + under, status, {"videoID": video})


def _frame(role: str = "first_frame") -> dict[str, str]:
    return {"url": "https://images.example/1.jpg", "role": role}


GENERATION_CASES = [
    _picture(200, "trained"),
    _picture(200, "trained in detail", numImages=4, width=640, height=480, seed=7, preset="editorial"),
    _picture(200, "public", modelID="nanobanana", referenceImageURLs=["https://x"] * 3, aspectRatio="1:1"),
    _picture(200, "undocumented fields", mood="gloomy", styleStrength=1, options={"gemini": {"imageSize": "1K"}}),
    *(_picture(404, f"{model} model", modelID=model) for model in ("unknown", "foreign", "deleted")),
    *(_picture(400, f"{model} model", modelID=model) for model in ("new", "training", "")),
    _job(400, "images/generation", "public without prompt", modelID="seedream"),
    _picture(400, "too many references", modelID="nanobanana", referenceImageURLs=["https://x"] * 4),
    _picture(400, "preset", preset="unknown"),
    *(_picture(400, f"{count} images", numImages=count) for count in (0, 5, "1", 1.5, True, None)),
    _picture(400, "width", width=15),
    _picture(400, "options", options={"gemini": 1}),
    _picture(404, "reference", inputImageId="unknown"),
    Case("POST", "/images/generation", 400, send={"content": b"{"}, why="no json"),
    _job(200, "images/upscaling", "uploaded", imageID="image"),
    _job(200, "images/upscaling", "made", imageID="output"),
    _job(404, "images/upscaling", "foreign image", imageID="foreign image"),
    _job(400, "images/upscaling", "no image"),
    _job(400, "images/upscaling", "a number", imageID=1),
    _job(404, "images/upscaling", "unknown image", imageID="unknown"),
    _film(200, "text"),
    _film(200, "picture", referenceImages=[_frame()], numVideos=2, options={"veo": {"duration": 4}}),
    _film(200, "kling", modelID="kling-motion-pro", elementIDs=["e"], options={"kling": {"duration": 5}}),
    _film(200, "whole picture", referenceImages=[_frame("reference_image")]),
    _film(400, "whole picture in a short film", referenceImages=[_frame("reference_image")],
          options={"veo": {"duration": 4}}),
    _film(404, "unknown model", modelID="ready"),
    _film(400, "role", referenceImages=[_frame("middle")]),
    _film(400, "video role", referenceVideos=[_frame()]),
    _film(400, "duration", options={"veo": {"duration": 5}}),
    _film(400, "resolution", options={"veo": {"resolution": "8k"}}),
    _job(400, "videos/generation", "no prompt", modelID="veo-3.1"),
    Case("GET", "/presets", 200),
    Case("GET", "/videos", 200),
    *(_video(200, "video", method) for method in ("GET", "DELETE")),
    *(_video(200, "video", under=under) for under in ("/create-download", "/download")),
    *(
        _video(404, video, method, under)
        for video in ("unknown", "foreign video")
        for method, under in (("GET", ""), ("DELETE", ""), ("GET", "/create-download"), ("GET", "/download"))
    ),
    Case("GET", "/jobs/{id}", 200, {"id": "picture job"}),
    Case("GET", "/jobs/{id}", 200, {"id": "film job"}),
    *(Case("GET", "/images/{imageID}", 200, {"imageID": image}) for image in ("output", "upscaled")),
]  # fmt: skip
CASES = [
    *GENERATION_CASES,
    Case("GET", "/ping", 200),
    Case("GET", "/models", 200),
    _upsert(200, "create", json={"name": "Sample", "age": 30, "gender": "Female", "ethnicity": "x", "eyeColor": "y"}),
    _upsert(200, "create from nothing", json={}),
    _upsert(200, "update", json={"id": "new", "name": "Other"}),
    _upsert(400, "no json", content=b"{"),
    _upsert(400, "not utf-8", content=b"\xff\xfe"),
    _upsert(400, "too deep", content=b"[" * 100_000),
    _upsert(400, "no object", json=[]),
    _upsert(400, "age", json={"age": "30"}),
    _upsert(400, "boolean age", json={"age": True}),
    _upsert(400, "gender", json={"gender": "other"}),
    _upsert(400, "name", json={"name": 1}),
    _upsert(404, "update of an unknown one", json={"id": "unknown"}),
    _upsert(404, "update of a foreign one", json={"id": "foreign"}),
    _upsert(404, "update of a deleted one", json={"id": "deleted"}),
    *(_model(200, model) for model in ("new", "training", "ready", "deleted")),
    *(_model(404, model) for model in ("unknown", "foreign")),
    *(_model(200, model, "DELETE") for model in ("new", "training", "ready", "deleted")),
    *(_model(404, model, "DELETE") for model in ("unknown", "foreign")),
    *(_model(200, model, under="/train") for model in ("new", "ready")),
    _model(400, "bare", under="/train"),
    *(_model(404, model, under="/train") for model in ("unknown", "foreign", "deleted")),
    _model(409, "training", under="/train"),
    *(_model(404, model, under="/images") for model in ("unknown", "foreign")),
    _images(200),
    *(_images(200, imageType=kind) for kind in ("all", "input", "output", "auxiliaryType")),
    _images(200, pageNum="2", pageSize="1"),
    _images(400, imageType="modelInput"),
    *(_images(400, pageNum=number) for number in ("0", "-1", "x", "1.5", "٣", "9" * 5000)),
    _images(400, pageSize="0"),
    _upload(200, "training image", upload_form("new")),
    _upload(200, "reference image", upload_form("new", "auxiliaryType")),
    _upload(400, "no form", {"json": {}}),
    _upload(400, "broken form", {"content": b"x", "headers": {"content-type": "multipart/form-data"}}),
    _upload(400, "no file", {"files": {"data": (None, '{"modelID": "new", "type": "modelInput"}')}}),
    _upload(400, "no data", {"files": {"file": ("a.jpg", JPEG)}}),
    _upload(400, "data is no json", {"files": {"file": ("a.jpg", JPEG)}, "data": {"data": "x"}}),
    _upload(400, "no model", {"files": {"file": ("a.jpg", JPEG)}, "data": {"data": '{"type": "modelInput"}'}}),
    _upload(400, "unknown type", upload_form("new", "output")),
    _upload(400, "no image", upload_form("new", content=b"GIF89a and so on")),
    _upload(400, "too large", {**upload_form("new"), "headers": {"content-length": str(20 * 1024 * 1024 + 1)}}),
    _upload(404, "unknown model", upload_form("unknown")),
    _upload(404, "foreign model", upload_form("foreign")),
    _upload(404, "deleted model", upload_form("deleted")),
    *(Case(method, "/images/{imageID}", 200, {"imageID": "image"}) for method in ("GET", "DELETE")),
    *(
        Case(method, "/images/{imageID}", 404, {"imageID": image})
        for method in ("GET", "DELETE")
        for image in ("unknown", "foreign image")
    ),
    _jobs(200),
    _jobs(200, start="2029-12-31T00:00:00Z", end="2030-01-02T00:00:00+01:00"),
    _jobs(400, start="yesterday"),
    _jobs(400, start="2030-01-01T00:00:00"),
    _jobs(400, end="0001-01-01T00:00:00Z"),
    _jobs(400, start="2029-01-01T00:00:00Z"),
    _jobs(400, start="2030-02-01T00:00:00Z"),
    _jobs(400, pageToken="unknown"),
    Case("GET", "/jobs/{id}", 200, {"id": "job"}),
    *(Case("GET", "/jobs/{id}", 404, {"id": job}) for job in ("unknown", "foreign job")),
]


async def _furnish(simulation: Simulation) -> dict[str, str]:
    """A world in which every case finds what it needs; answers what its ids are called in the cases."""
    names = {}
    for status in ("new", "training", "ready", "deleted"):
        await simulation.put_model(status, status=status, images=15)
    await simulation.put_model("bare", images=11)
    await simulation.put_model("pictured")
    names["image"] = (await simulation.upload("pictured")).json()["result"]["id"]
    names["job"] = (await simulation.api.get("/jobs")).json()["result"]["jobs"][0]["jobId"]
    names |= await _furnish_with_works(simulation)
    await simulation.put_model("foreign", key=OTHER_KEY, status="training")
    other = headers(OTHER_KEY)
    uploaded = await simulation.api.post("/images/upload", **upload_form("foreign"), headers=other)
    jobs = await simulation.api.get("/jobs", headers=other)
    names["foreign image"] = uploaded.json()["result"]["id"]
    names["foreign job"] = jobs.json()["result"]["jobs"][0]["jobId"]
    return names


async def _furnish_with_works(simulation: Simulation) -> dict[str, str]:
    """What generation makes, all of it finished; trainings take longer."""
    picture_job = await simulation.generate("images/generation", modelID="ready", prompt="a portrait")
    film_job = await simulation.generate("videos/generation", modelID="veo-3.1", prompt="a walk")
    other = await simulation.generate("videos/generation", OTHER_KEY, modelID="veo-3.1", prompt="a walk")
    output = (await simulation.job(picture_job))["images"][0]["id"]
    upscaling = await simulation.generate("images/upscaling", imageID=output)
    video = (await simulation.job(film_job))["videos"][0]["id"]
    await simulation.api.get(f"/videos/{video}/create-download")
    return {
        "picture job": picture_job,
        "film job": film_job,
        "output": output,
        "upscaled": (await simulation.job(upscaling))["images"][0]["id"],
        "video": video,
        "foreign video": (await simulation.job(other, OTHER_KEY))["videos"][0]["id"],
    }


def _implemented() -> set[tuple[str, str]]:
    routes = [route for route in Simulation.start().app.routes if isinstance(route, Route)]
    ours = [route for route in routes if route.path.startswith(PREFIX + "/")]
    return {(method, route.path.removeprefix(PREFIX)) for route in ours for method in route.methods or ()}


OPERATIONS = sorted(_implemented())


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_answers_as_documented(simulation: Simulation, case: Case) -> None:
    names = await _furnish(simulation)
    path = case.path.format(**{name: names.get(called, called) for name, called in case.ids.items()})
    send = dict(case.send)
    if isinstance(body := send.get("json"), dict) and "imageID" in body:
        send["json"] = {"imageID": names.get(body["imageID"], body["imageID"])}
    answer = await simulation.api.request(case.method, path, **send)
    assert answer.status_code == case.status, answer.text
    assert answer.json()["status"] == ("OK" if case.status == 200 else "NOK")
    contract.check(case.method, case.path, answer)
    if case.status != 200:
        assert set(answer.json()) == contract.properties("ErrorResponse")
        assert answer.json()["result"] is None


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (401, {"API-Version": "1"}),
        (401, {"API-Version": "1", "Authorization": "Bearer "}),
        (401, {"API-Version": "1", "Authorization": f"Basic {KEY}"}),
        (401, {"API-Version": "1", "Authorization": "Bearer unknown"}),
        (400, {"Authorization": f"Bearer {KEY}"}),
        (400, {"API-Version": "2", "Authorization": f"Bearer {KEY}"}),
    ],
)
async def test_lets_nobody_in_without_key_and_version(
    method: str, path: str, status: int, sent: dict[str, str]
) -> None:
    simulation = Simulation.start(PhotoGPTOptions(keys=frozenset({KEY})))
    simulation.api.headers = httpx.Headers(sent)
    answer = await simulation.api.request(method, path)
    assert answer.status_code == status
    contract.check(method, path, answer)


def test_every_operation_is_documented_and_has_cases() -> None:
    succeeding = {(case.method, case.path) for case in CASES if case.status == 200}
    assert succeeding == set(OPERATIONS)
    for method, path in OPERATIONS:
        assert method.lower() in contract.document()["paths"][path]
    can_only_fail_at_the_door = {("GET", path) for path in ("/ping", "/models", "/presets", "/videos")}
    failing = {(case.method, case.path) for case in CASES if case.status >= 400}
    assert failing == set(OPERATIONS) - can_only_fail_at_the_door


@pytest.mark.parametrize(
    ("method", "path", "status", "broken"),
    [
        ("GET", "/ping", 200, {"status": "OK"}),
        ("GET", "/models", 200, {"result": {}, "status": "OK"}),
        ("POST", "/models", 200, {"status": "OK"}),
        ("GET", "/models/{modelID}", 200, {"result": {"id": 7}, "status": "OK"}),
        ("DELETE", "/models/{modelID}", 200, "deleted"),
        ("GET", "/models/{modelID}/train", 200, {"result": {}, "status": "OK"}),
        ("GET", "/models/{modelID}/train", 429, {"message": 5}),
        ("GET", "/models/{modelID}/images", 200, {"result": [{"liked": "no"}], "status": "OK"}),
        ("POST", "/images/upload", 200, {"result": None, "status": "OK"}),
        ("GET", "/images/{imageID}", 200, {"result": {"data": []}, "status": "OK"}),
        ("DELETE", "/images/{imageID}", 200, []),
        ("GET", "/jobs", 200, {"result": {"jobs": [{"credits": "1"}]}, "status": "OK"}),
        ("GET", "/jobs/{id}", 200, {"result": {"error": 1}, "status": "OK"}),
        ("GET", "/jobs/{id}", 404, {"err": {}}),
        ("GET", "/jobs/{id}", 200, {"result": {"videos": [{"url": 1}]}, "status": "OK"}),
        ("POST", "/images/generation", 200, {"result": {"status": "queued"}, "status": "OK"}),
        ("GET", "/videos/{videoID}", 200, {"result": {"jobId": 1}, "status": "OK"}),
        ("GET", "/videos/{videoID}/create-download", 200, {"result": {}, "status": "OK"}),
        ("GET", "/videos/{videoID}/download", 200, {"result": {"percentComplete": "all"}, "status": "OK"}),
        ("GET", "/jobs/{id}", 418, "a teapot"),
    ],
)
def test_a_broken_answer_is_refused(method: str, path: str, status: int, broken: object) -> None:
    with pytest.raises(ValidationError):
        contract.check(method, path, httpx.Response(status, json=broken))


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        ("GET", "/nowhere", httpx.Response(200, json={})),
        ("PUT", "/ping", httpx.Response(200, json={})),
        ("GET", "/ping", httpx.Response(201, json={"message": "pong!", "status": "OK"})),
        ("GET", "/ping", httpx.Response(200, html="<p>pong!")),
    ],
)
def test_an_undeclared_answer_is_refused(method: str, path: str, answer: httpx.Response) -> None:
    with pytest.raises(contract.UndeclaredError):
        contract.check(method, path, answer)


async def test_results_have_all_documented_fields_and_no_other(simulation: Simulation) -> None:
    names = await _furnish(simulation)
    jobs = (await simulation.api.get("/jobs")).json()["result"]["jobs"]
    assert {tuple(sorted(job)) for job in jobs} == {tuple(sorted(contract.properties("JobListItem")))}
    images = (await simulation.api.get("/models/pictured/images")).json()
    assert set(images) == contract.properties("ImageListResponse")
    for schema, path in (
        ("Model", "/models/training"),
        ("Image", f"/images/{names['image']}"),
        ("Image", f"/images/{names['output']}"),
        ("Job", f"/jobs/{names['job']}"),
        ("Job", f"/jobs/{names['film job']}"),
        ("Video", f"/videos/{names['video']}"),
    ):
        assert set((await simulation.api.get(path)).json()["result"]) == contract.properties(schema)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/models/", 404),
        ("GET", "/openapi.json", 404),
        ("PUT", "/models/new", 405),
        ("POST", "/models/new/train", 405),
    ],
)
async def test_refuses_unknown_routes_in_the_envelope(
    simulation: Simulation, method: str, path: str, status: int
) -> None:
    answer = await simulation.api.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()) == contract.properties("ErrorResponse")


async def test_head_does_not_train(simulation: Simulation) -> None:
    await simulation.put_model("new", images=15)
    assert (await simulation.api.head("/models/new/train")).status_code == 405
    assert await simulation.status("new") == "new"
