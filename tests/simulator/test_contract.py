"""The simulated PhotoGPT answers every operation as `openapi/photogpt.yaml` says, in success and in failure."""

from __future__ import annotations

import httpx
import pytest
from jsonschema import ValidationError
from starlette.routing import Route

from service.simulator.door import PREFIX
from service.simulator.photogpt import PhotoGPTOptions
from tests.simulator import contract
from tests.simulator.cases import CASES, Case
from tests.simulator.driver import KEY, OTHER_KEY, Simulation, headers, upload_form


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
