"""PhotoGPT's routes about jobs and what they make: reads requests, asks the studio and the gallery, writes answers in
the documented shapes.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from service.simulator import generation, queries
from service.simulator.clock import SimulatedClock
from service.simulator.door import Door
from service.simulator.envelope import ok
from service.simulator.files import media_address
from service.simulator.gallery import Gallery
from service.simulator.studio import Studio


class StudioApi:
    """One method for each operation of `openapi/photogpt.yaml` on jobs, videos and presets."""

    def __init__(self, studio: Studio, gallery: Gallery, clock: SimulatedClock) -> None:
        self._studio = studio
        self._gallery = gallery
        self._clock = clock

    def routes(self, door: Door) -> list[BaseRoute]:
        return [
            door.route("GET", "/jobs/{id}", self._get_job),
            door.route("GET", "/jobs", self._list_jobs),
            door.route("POST", "/images/generation", self._generate_images),
            door.route("POST", "/images/upscaling", self._upscale_image),
            door.route("POST", "/videos/generation", self._generate_videos),
            door.route("GET", "/presets", self._list_presets),
            door.route("GET", "/videos", self._list_videos),
            door.route("GET", "/videos/{videoID}", self._get_video),
            door.route("DELETE", "/videos/{videoID}", self._delete_video),
            door.route("GET", "/videos/{videoID}/create-download", self._create_download),
            door.route("GET", "/videos/{videoID}/download", self._get_download),
        ]

    async def _get_job(self, request: Request, key: str) -> Response:
        return ok(self._studio.read_job(key, request.path_params["id"], media_address(request)))

    async def _list_jobs(self, request: Request, key: str) -> Response:
        start, end = queries.window(request.query_params, self._clock.now())
        jobs = self._studio.read_jobs(key, start, end)
        return ok(queries.job_page(jobs, request.query_params.get("pageToken")))

    async def _generate_images(self, request: Request, key: str) -> Response:
        return ok(self._studio.generate_images(key, generation.image_order(await request.body())))

    async def _upscale_image(self, request: Request, key: str) -> Response:
        return ok(self._studio.upscale(key, generation.upscaling_order(await request.body())))

    async def _generate_videos(self, request: Request, key: str) -> Response:
        return ok(self._studio.generate_videos(key, generation.video_order(await request.body())))

    async def _list_presets(self, _request: Request, _key: str) -> Response:
        return ok(self._studio.presets())

    async def _list_videos(self, request: Request, key: str) -> Response:
        return ok(self._gallery.read_videos(key, media_address(request)))

    async def _get_video(self, request: Request, key: str) -> Response:
        return ok(self._gallery.read_video(key, request.path_params["videoID"], media_address(request)))

    async def _delete_video(self, request: Request, key: str) -> Response:
        self._gallery.delete_video(key, request.path_params["videoID"])
        return ok("Video deleted")

    async def _create_download(self, request: Request, key: str) -> Response:
        self._gallery.prepare_download(key, request.path_params["videoID"])
        return ok("Download requested")

    async def _get_download(self, request: Request, key: str) -> Response:
        return ok(self._gallery.read_download(key, request.path_params["videoID"], media_address(request)))
