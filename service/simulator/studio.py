"""Starts the jobs that make images and videos, and tells how they and the trainings are getting on."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

from service.simulator.accounts import Accounts, NextJob
from service.simulator.clock import SimulatedClock
from service.simulator.envelope import RefusedError
from service.simulator.generation import PRESETS, ImageOrder, UpscalingOrder, VideoOrder
from service.simulator.jobs import Generation
from service.simulator.media import Image, Video
from service.simulator.models import Model, new_id

GENERATIONS_AT_ONCE = 20
_MOST_PIXELS = 4096
_IMAGE_CREDITS, _UPSCALING_CREDITS, _VIDEO_CREDITS = 10, 5, 100
_IMAGE_SECONDS, _UPSCALING_SECONDS, _VIDEO_SECONDS = (30, 90), (10, 30), (60, 180)


class Studio:
    def __init__(self, accounts: Accounts, clock: SimulatedClock, random: Random) -> None:
        self._accounts = accounts
        self._clock = clock
        self._random = random

    def generate_images(self, key: str, order: ImageOrder) -> dict[str, Any]:
        now = self._clock.now()
        model = None if order.is_public else self._trained(key, order.model_id, now)
        if order.input_image_id:
            self._accounts.image(key, order.input_image_id, now)
        job = self._new_job(key, order.model_id, _IMAGE_SECONDS, order.count * _IMAGE_CREDITS)
        size = (order.width, order.height)
        for _ in range(0 if job.error else order.count):
            self._add_image(job, Image(self._new_id(job), key, order.model_id, "output", job.ends_at, size), model)
        return _started(job)

    def upscale(self, key: str, order: UpscalingOrder) -> dict[str, Any]:
        image = self._accounts.image(key, order.image_id, self._clock.now())
        job = self._new_job(key, image.model_id, _UPSCALING_SECONDS, _UPSCALING_CREDITS)
        if not job.error:
            width, height = (min(2 * side, _MOST_PIXELS) for side in image.size)
            larger = Image(self._new_id(job), key, image.model_id, "output", job.ends_at, (width, height))
            image.upscaled = larger
            self._add_image(job, larger, self._accounts.models.get(image.model_id))
        return _started(job)

    def generate_videos(self, key: str, order: VideoOrder) -> dict[str, Any]:
        job = self._new_job(key, order.model_id, _VIDEO_SECONDS, order.count * _VIDEO_CREDITS)
        for _ in range(0 if job.error else order.count):
            video = Video(self._new_id(job), key, job.id, order.model_id, job.ends_at, order.seconds)
            self._accounts.videos[video.id] = video
            job.videos.append(video)
        return _started(job)

    def read_job(self, key: str, job_id: str, media: str) -> dict[str, Any]:
        return self._accounts.job(key, job_id).as_job(self._clock.now(), media)

    def read_jobs(self, key: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """The jobs made in a window of time, the newest first."""
        now, jobs = self._clock.now(), self._accounts[key].jobs.values()
        return [job.as_list_item(now) for job in reversed(jobs) if start <= job.started_at <= end]

    def presets(self) -> list[dict[str, str]]:
        return [{"tag": tag, "name": name} for tag, name in PRESETS.items()]

    def expect(self, key: str, next_job: NextJob) -> None:
        """For the control interface: what the next generation of this key shall be like."""
        self._accounts[key].next_job = next_job

    def _trained(self, key: str, model_id: str, now: datetime) -> Model:
        model = self._accounts.living_model(key, model_id, now)
        if model.status(now) != "ready":
            raise RefusedError(400, "the model is not ready")
        return model

    def _new_job(self, key: str, model_id: str, usual: tuple[float, float], credit: int) -> Generation:
        account, now = self._accounts[key], self._clock.now()
        if sum(job.running(now) for job in account.jobs.values() if isinstance(job, Generation)) >= GENERATIONS_AT_ONCE:
            raise RefusedError(429, "too many jobs are active")
        ordered, account.next_job = account.next_job or NextJob(), None
        seconds = self._random.uniform(*usual) if ordered.seconds is None else ordered.seconds
        job_id = new_id(now, self._random)
        job = Generation(job_id, model_id, now, now + timedelta(seconds=seconds), credit, ordered.error)
        account.jobs[job.id] = job
        return job

    def _new_id(self, job: Generation) -> str:
        return new_id(job.ends_at, self._random)

    def _add_image(self, job: Generation, image: Image, model: Model | None) -> None:
        self._accounts.images[image.id] = image
        job.images.append(image)
        if model is not None:
            model.images[image.id] = image


def _started(job: Generation) -> dict[str, Any]:
    return {"jobId": job.id, "status": "queued"}
