"""Where images and videos are fetched: beside PhotoGPT's API and without a key, as from a CDN."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from service.simulator.gallery import Gallery
from service.simulator.media import Video
from service.simulator.pictures import film, film_length, playlist, png

_PREFIX = "/media"


def media_address(request: Request) -> str:
    """The address below which files are fetched, by the name under which the caller knows us."""
    return f"{request.base_url}{_PREFIX.removeprefix('/')}"


def file_routes(gallery: Gallery) -> list[BaseRoute]:
    async def image(request: Request) -> Response:
        found = gallery.picture(request.path_params["id"])
        return Response(png(found.id, found.size), media_type="image/png")

    async def video_playlist(request: Request) -> Response:
        video = gallery.film(request.path_params["id"])
        return PlainTextResponse(playlist(video.id, video.seconds), media_type="application/vnd.apple.mpegurl")

    async def video_segment(request: Request) -> Response:
        return _stream(gallery.film(request.path_params["id"]))

    async def download(request: Request) -> Response:
        return _stream(gallery.prepared_film(request.path_params["id"]))

    return [
        Route(f"{_PREFIX}/images/{{id}}.png", image),
        Route(f"{_PREFIX}/videos/{{id}}.m3u8", video_playlist),
        Route(f"{_PREFIX}/videos/{{id}}.mp4", video_segment),
        Route(f"{_PREFIX}/downloads/{{id}}.mp4", download),
    ]


def _stream(video: Video) -> Response:
    length = str(film_length(video.seconds))
    return StreamingResponse(film(video.id, video.seconds), media_type="video/mp4", headers={"content-length": length})
