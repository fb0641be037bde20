"""The models, images and jobs of every key, and PhotoGPT's rules about them; how they travel over HTTP is `api`'s."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from service.simulator.clock import SimulatedClock
from service.simulator.envelope import RefusedError
from service.simulator.models import (
    Image,
    ImageType,
    Model,
    ModelStatus,
    RunningTrainings,
    Training,
    new_id,
)
from service.simulator.options import PhotoGPTOptions

IMAGES_PER_TYPE = 20


@dataclass(slots=True)
class Account:
    """All that belongs to one key."""

    models: dict[str, Model] = field(default_factory=dict)
    trainings: dict[str, Training] = field(default_factory=dict)
    running: RunningTrainings = field(default_factory=RunningTrainings)


class Catalogue:
    def __init__(self, options: PhotoGPTOptions, clock: SimulatedClock, random: Random) -> None:
        self._options = options
        self._clock = clock
        self._random = random
        self._accounts: defaultdict[str, Account] = defaultdict(Account)
        self._models: dict[str, Model] = {}
        self._images: dict[str, Image] = {}

    # --- what callers of PhotoGPT can do ---

    def create(self, key: str) -> dict[str, Any]:
        now = self._clock.now()
        return self.place(key, new_id(now, self._random)).read(now)

    def update(self, key: str, model_id: str) -> dict[str, Any]:
        model = self._living(key, model_id)
        model.changed_at = self._clock.now()
        return model.read(model.changed_at)

    def read(self, key: str, model_id: str) -> dict[str, Any]:
        return self._owned(key, model_id).read(self._clock.now())

    def read_all(self, key: str) -> list[dict[str, Any]]:
        now = self._clock.now()
        return [model.read(now) for model in self._accounts[key].models.values()]

    def delete(self, key: str, model_id: str) -> None:
        model = self._owned(key, model_id)
        if model.status(self._clock.now()) != "deleted":
            self.force(model, "deleted")

    def train(self, key: str, model_id: str) -> None:
        model, now = self._living(key, model_id), self._clock.now()
        if model.status(now) == "training":
            raise RefusedError(409, "the model is already training")
        fewest, most = self._options.required_images
        if not fewest <= model.training_images() <= most:
            raise RefusedError(400, f"training needs {fewest} to {most} modelInput images")
        if self._accounts[key].running.count(now) >= self._options.max_running:
            raise RefusedError(429, "too many trainings are running")
        model.trigger(self._new_training(model, now))

    def add_image(self, key: str, model_id: str, kind: ImageType) -> dict[str, Any]:
        model, now = self._living(key, model_id), self._clock.now()
        if model.count_images(kind) >= IMAGES_PER_TYPE:
            raise RefusedError(400, f"a model takes {IMAGES_PER_TYPE} images of type {kind} at most")
        image = Image(new_id(now, self._random), model.id, kind, now)
        model.images[image.id] = self._images[image.id] = image
        return image.as_result()

    def read_images(self, key: str, model_id: str, kind: str) -> list[dict[str, Any]]:
        images = self._owned(key, model_id).images.values()
        return [image.as_result() for image in images if kind in ("all", image.type)]

    def read_image(self, key: str, image_id: str) -> dict[str, Any]:
        return self._owned_image(key, image_id).as_result()

    def delete_image(self, key: str, image_id: str) -> None:
        image = self._owned_image(key, image_id)
        del self._images[image.id], self._models[image.model_id].images[image.id]

    def read_job(self, key: str, job_id: str) -> dict[str, Any]:
        training = self._accounts[key].trainings.get(job_id)
        if training is None:
            raise RefusedError(404, "there is no such job")
        return training.as_job(self._clock.now())

    def read_jobs(self, key: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """The jobs made in a window of time, the newest first."""
        now, trainings = self._clock.now(), self._accounts[key].trainings.values()
        return [job.as_list_item(now) for job in reversed(trainings) if start <= job.started_at <= end]

    # --- what the control interface can do beside it ---

    def place(self, key: str, model_id: str) -> Model:
        """The model of that id, made if there is none."""
        model = self._models.get(model_id)
        if model is None:
            now = self._clock.now()
            model = Model(model_id, key, created_at=now, changed_at=now)
            self._models[model_id] = self._accounts[key].models[model_id] = model
        elif model.owner != key:
            raise RefusedError(409, f"the model {model_id} belongs to another key")
        return model

    def force(self, model: Model, status: ModelStatus) -> None:
        """Put a model into a status whatever it was in; a training under way ends early."""
        now = self._clock.now()
        training = model.training
        if training is not None and training.running(now):
            training.ends_at, training.cut_short = now, status != "ready"
            self._accounts[model.owner].running.discard(training)
        if status == "training":
            model.begin(self._new_training(model, now))
        else:
            model.settle(status, now)

    def inspect(self, model: Model) -> dict[str, Any]:
        return model.inspect(self._clock.now())

    def triggers(self) -> dict[str, int]:
        return {model.id: model.triggers for model in self._models.values() if model.triggers}

    # --- finding and starting ---

    def _owned(self, key: str, model_id: str) -> Model:
        model = self._models.get(model_id)
        if model is None or model.owner != key:
            raise RefusedError(404, "there is no such model")
        return model

    def _living(self, key: str, model_id: str) -> Model:
        model = self._owned(key, model_id)
        if model.status(self._clock.now()) == "deleted":
            raise RefusedError(404, "the model was deleted")
        return model

    def _owned_image(self, key: str, image_id: str) -> Image:
        image = self._images.get(image_id)
        if image is None or self._models[image.model_id].owner != key:
            raise RefusedError(404, "there is no such image")
        return image

    def _new_training(self, model: Model, now: datetime) -> Training:
        minutes = model.next_minutes
        if minutes is None:
            minutes = self._random.uniform(*self._options.training_minutes)
        model.next_minutes = None
        training = Training(new_id(now, self._random), model.id, now, now + timedelta(minutes=minutes))
        account = self._accounts[model.owner]
        account.trainings[training.id] = training
        account.running.add(training)
        return training
