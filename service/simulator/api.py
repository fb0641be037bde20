"""PhotoGPT's own routes: reads requests, asks the catalogue, writes answers in the documented shapes.

They are plain Starlette routes: polls come by the thousand per second, and FastAPI's would cost as much as the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from service.simulator import queries
from service.simulator.catalogue import Catalogue
from service.simulator.clock import SimulatedClock
from service.simulator.envelope import RefusedError, ok
from service.simulator.uploads import parse_object, read_upload

PREFIX = "/api"
Handler = Callable[[Request, str], Awaitable[Response]]


class PhotoGPTApi:
    """One method for each operation of `openapi/photogpt.yaml` that is simulated."""

    def __init__(self, catalogue: Catalogue, clock: SimulatedClock, keys: frozenset[str] | None) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._keys = keys

    def routes(self) -> list[BaseRoute]:
        # Tried in this order, so the one that is polled comes first.
        return [
            self._route("GET", "/models/{modelID}", self._get_model),
            self._route("GET", "/models/{modelID}/train", self._train),
            self._route("GET", "/ping", self._ping),
            self._route("GET", "/models", self._list_models),
            self._route("POST", "/models", self._create_or_update_model),
            self._route("DELETE", "/models/{modelID}", self._delete_model),
            self._route("GET", "/models/{modelID}/images", self._list_images),
            self._route("POST", "/images/upload", self._upload_image),
            self._route("GET", "/images/{imageID}", self._get_image),
            self._route("DELETE", "/images/{imageID}", self._delete_image),
            self._route("GET", "/jobs", self._list_jobs),
            self._route("GET", "/jobs/{id}", self._get_job),
        ]

    def _route(self, method: str, path: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            return await handler(request, self._admit(request))

        route = Route(PREFIX + path, endpoint, methods=[method])
        # Starlette lets HEAD in wherever GET is, and a HEAD must not start a training.
        route.methods = {method}
        return route

    def _admit(self, request: Request) -> str:
        """The key of a request that may come in."""
        key = bearer_key(request.headers.get("authorization"))
        if key is None or (self._keys is not None and key not in self._keys):
            raise RefusedError(401, "the API key is missing or not valid")
        if request.headers.get("api-version") != "1":
            raise RefusedError(400, "the header API-Version must be 1")
        return key

    async def _ping(self, _request: Request, _key: str) -> Response:
        return JSONResponse({"message": "pong!", "status": "OK"})

    async def _list_models(self, _request: Request, key: str) -> Response:
        return ok(self._catalogue.read_all(key))

    async def _create_or_update_model(self, request: Request, key: str) -> Response:
        wanted = _checked_model(parse_object(await request.body()))
        if "id" in wanted:
            return ok(self._catalogue.update(key, wanted["id"]))
        return ok(self._catalogue.create(key))

    async def _get_model(self, request: Request, key: str) -> Response:
        return ok(self._catalogue.read(key, request.path_params["modelID"]))

    async def _delete_model(self, request: Request, key: str) -> Response:
        self._catalogue.delete(key, request.path_params["modelID"])
        return ok("Model deleted")

    async def _train(self, request: Request, key: str) -> Response:
        self._catalogue.train(key, request.path_params["modelID"])
        return ok("Training triggered")

    async def _list_images(self, request: Request, key: str) -> Response:
        kind, (number, size) = queries.image_type(request.query_params), queries.page(request.query_params)
        images = self._catalogue.read_images(key, request.path_params["modelID"], kind)
        return ok(images[(number - 1) * size : number * size], page=number, pageSize=size)

    async def _upload_image(self, request: Request, key: str) -> Response:
        upload = await read_upload(request)
        return ok(self._catalogue.add_image(key, upload.model_id, upload.type))

    async def _get_image(self, request: Request, key: str) -> Response:
        return ok(self._catalogue.read_image(key, request.path_params["imageID"]))

    async def _delete_image(self, request: Request, key: str) -> Response:
        self._catalogue.delete_image(key, request.path_params["imageID"])
        return ok("Image deleted")

    async def _list_jobs(self, request: Request, key: str) -> Response:
        start, end = queries.window(request.query_params, self._clock.now())
        jobs = self._catalogue.read_jobs(key, start, end)
        return ok(queries.job_page(jobs, request.query_params.get("pageToken")))

    async def _get_job(self, request: Request, key: str) -> Response:
        return ok(self._catalogue.read_job(key, request.path_params["id"]))


def bearer_key(authorization: str | None) -> str | None:
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _checked_model(wanted: dict[str, Any]) -> dict[str, Any]:
    for name in ("id", "name", "ethnicity", "eyeColor", "userID"):
        if not isinstance(wanted.get(name, ""), str):
            raise RefusedError(400, f"{name} is a text")
    if isinstance(age := wanted.get("age", 0), bool) or not isinstance(age, int | float):
        raise RefusedError(400, "age is a number")
    if wanted.get("gender", "Male") not in ("Male", "Female"):
        raise RefusedError(400, "gender is Male or Female")
    return wanted
