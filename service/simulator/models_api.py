"""PhotoGPT's routes about models and their images: reads requests, asks the catalogue and the gallery, writes answers
in the documented shapes.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from service.simulator import queries
from service.simulator.catalogue import Catalogue
from service.simulator.door import Door
from service.simulator.envelope import RefusedError, ok
from service.simulator.files import media_address
from service.simulator.gallery import Gallery
from service.simulator.uploads import parse_object, read_upload


class ModelsApi:
    """One method for each operation of `openapi/photogpt.yaml` up to a trained model."""

    def __init__(self, catalogue: Catalogue, gallery: Gallery) -> None:
        self._catalogue = catalogue
        self._gallery = gallery

    def routes(self, door: Door) -> list[BaseRoute]:
        # Tried in this order, so the one that is polled comes first.
        return [
            door.route("GET", "/models/{modelID}", self._get_model),
            door.route("GET", "/models/{modelID}/train", self._train),
            door.route("GET", "/ping", self._ping),
            door.route("GET", "/models", self._list_models),
            door.route("POST", "/models", self._create_or_update_model),
            door.route("DELETE", "/models/{modelID}", self._delete_model),
            door.route("GET", "/models/{modelID}/images", self._list_images),
            door.route("POST", "/images/upload", self._upload_image),
            door.route("GET", "/images/{imageID}", self._get_image),
            door.route("DELETE", "/images/{imageID}", self._delete_image),
        ]

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
        images = self._gallery.read_images(key, request.path_params["modelID"], kind, media_address(request))
        return ok(images[(number - 1) * size : number * size], page=number, pageSize=size)

    async def _upload_image(self, request: Request, key: str) -> Response:
        upload = await read_upload(request)
        return ok(self._gallery.add_image(key, upload.model_id, upload.type, media_address(request)))

    async def _get_image(self, request: Request, key: str) -> Response:
        return ok(self._gallery.read_image(key, request.path_params["imageID"], media_address(request)))

    async def _delete_image(self, request: Request, key: str) -> Response:
        self._gallery.delete_image(key, request.path_params["imageID"])
        return ok("Image deleted")


def _checked_model(wanted: dict[str, Any]) -> dict[str, Any]:
    for name in ("id", "name", "ethnicity", "eyeColor", "userID"):
        if not isinstance(wanted.get(name, ""), str):
            raise RefusedError(400, f"{name} is a text")
    if isinstance(age := wanted.get("age", 0), bool) or not isinstance(age, int | float):
        raise RefusedError(400, "age is a number")
    if wanted.get("gender", "Male") not in ("Male", "Female"):
        raise RefusedError(400, "gender is Male or Female")
    return wanted
