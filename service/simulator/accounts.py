"""What belongs to which key, and the finding of it: another key's things look as if they were not there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from service.simulator.envelope import RefusedError
from service.simulator.jobs import Job, RunningTrainings
from service.simulator.media import Image, Video
from service.simulator.models import Model


@dataclass(frozen=True)
class NextJob:
    """What the next generation of a key shall be like, if the control interface has its way."""

    seconds: float | None = None
    error: str = ""


@dataclass(slots=True)
class Account:
    """All that belongs to one key and is not found by its id alone."""

    models: dict[str, Model] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    running: RunningTrainings = field(default_factory=RunningTrainings)
    next_job: NextJob | None = None


class Accounts:
    def __init__(self) -> None:
        self._accounts: defaultdict[str, Account] = defaultdict(Account)
        self.models: dict[str, Model] = {}
        self.images: dict[str, Image] = {}
        self.videos: dict[str, Video] = {}

    def __getitem__(self, key: str) -> Account:
        return self._accounts[key]

    def clear(self) -> None:
        for everything in (self._accounts, self.models, self.images, self.videos):
            everything.clear()

    def model(self, key: str, model_id: str) -> Model:
        model = self.models.get(model_id)
        if model is None or model.owner != key:
            raise RefusedError(404, "there is no such model")
        return model

    def living_model(self, key: str, model_id: str, now: datetime) -> Model:
        model = self.model(key, model_id)
        if model.status(now) == "deleted":
            raise RefusedError(404, "the model was deleted")
        return model

    def image(self, key: str, image_id: str, now: datetime) -> Image:
        image = self.images.get(image_id)
        if image is None or image.owner != key or not image.visible(now):
            raise RefusedError(404, "there is no such image")
        return image

    def video(self, key: str, video_id: str, now: datetime) -> Video:
        video = self.videos.get(video_id)
        if video is None or video.owner != key or not video.visible(now):
            raise RefusedError(404, "there is no such video")
        return video

    def job(self, key: str, job_id: str) -> Job:
        job = self[key].jobs.get(job_id)
        if job is None:
            raise RefusedError(404, "there is no such job")
        return job
