"""Every simulated operation of PhotoGPT, in success and in failure: what is sent, and how it is answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.simulator.driver import JPEG, upload_form


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
