"""The images and videos of every key: what was uploaded and what was made, how it is listed, fetched and deleted."""

from __future__ import annotations

from random import Random
from typing import Any

from service.simulator.accounts import Accounts
from service.simulator.clock import SimulatedClock
from service.simulator.envelope import RefusedError
from service.simulator.media import Image, UploadType, Video
from service.simulator.models import new_id

IMAGES_PER_TYPE = 20


class Gallery:
    """`media` is always the address below which files are fetched, as the caller knows it."""

    def __init__(self, accounts: Accounts, clock: SimulatedClock, random: Random) -> None:
        self._accounts = accounts
        self._clock = clock
        self._random = random

    def add_image(self, key: str, model_id: str, kind: UploadType, media: str) -> dict[str, Any]:
        now = self._clock.now()
        model = self._accounts.living_model(key, model_id, now)
        if model.count_images(kind) >= IMAGES_PER_TYPE:
            raise RefusedError(400, f"a model takes {IMAGES_PER_TYPE} images of type {kind} at most")
        image = Image(new_id(now, self._random), key, model.id, kind, now)
        model.images[image.id] = self._accounts.images[image.id] = image
        return image.as_result(now, media)

    def read_images(self, key: str, model_id: str, kind: str, media: str) -> list[dict[str, Any]]:
        now = self._clock.now()
        images = self._accounts.model(key, model_id).images.values()
        return [image.as_result(now, media) for image in images if kind in ("all", image.type) and image.visible(now)]

    def read_image(self, key: str, image_id: str, media: str) -> dict[str, Any]:
        now = self._clock.now()
        return self._accounts.image(key, image_id, now).as_result(now, media)

    def delete_image(self, key: str, image_id: str) -> None:
        image = self._accounts.image(key, image_id, self._clock.now())
        image.deleted = True
        del self._accounts.images[image.id]
        if model := self._accounts.models.get(image.model_id):
            model.images.pop(image.id, None)

    def read_videos(self, key: str, media: str) -> list[dict[str, Any]]:
        now, videos = self._clock.now(), self._accounts.videos.values()
        return [video.as_result(media) for video in videos if video.owner == key and video.visible(now)]

    def read_video(self, key: str, video_id: str, media: str) -> dict[str, Any]:
        return self._accounts.video(key, video_id, self._clock.now()).as_result(media)

    def delete_video(self, key: str, video_id: str) -> None:
        video = self._accounts.video(key, video_id, self._clock.now())
        video.deleted = True
        del self._accounts.videos[video.id]

    def prepare_download(self, key: str, video_id: str) -> None:
        now = self._clock.now()
        self._accounts.video(key, video_id, now).prepare_download(now)

    def read_download(self, key: str, video_id: str, media: str) -> dict[str, Any]:
        now = self._clock.now()
        video = self._accounts.video(key, video_id, now)
        if video.download_asked_at is None:
            raise RefusedError(404, "no download of this video was created")
        return video.download(now, media)

    # --- for whoever has an address: no key is asked for there ---

    def picture(self, image_id: str) -> Image:
        image = self._accounts.images.get(image_id)
        if image is None or not image.visible(self._clock.now()):
            raise RefusedError(404, "there is no such file")
        return image

    def film(self, video_id: str) -> Video:
        video = self._accounts.videos.get(video_id)
        if video is None or not video.visible(self._clock.now()):
            raise RefusedError(404, "there is no such file")
        return video

    def prepared_film(self, video_id: str) -> Video:
        video = self.film(video_id)
        if video.prepared(self._clock.now()) < 1:
            raise RefusedError(404, "there is no such file")
        return video
