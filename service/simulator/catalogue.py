"""The models of every key and their trainings, and PhotoGPT's rules about them; HTTP is `models_api`'s."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

from service.simulator.accounts import Accounts
from service.simulator.clock import SimulatedClock
from service.simulator.envelope import RefusedError
from service.simulator.jobs import Training
from service.simulator.models import Model, ModelStatus, new_id
from service.simulator.options import PhotoGPTOptions


class Catalogue:
    def __init__(self, options: PhotoGPTOptions, accounts: Accounts, clock: SimulatedClock, random: Random) -> None:
        self._options = options
        self._accounts = accounts
        self._clock = clock
        self._random = random

    # --- what callers of PhotoGPT can do ---

    def create(self, key: str) -> dict[str, Any]:
        now = self._clock.now()
        return self.place(key, new_id(now, self._random)).read(now)

    def update(self, key: str, model_id: str) -> dict[str, Any]:
        model = self._living(key, model_id)
        model.changed_at = self._clock.now()
        return model.read(model.changed_at)

    def read(self, key: str, model_id: str) -> dict[str, Any]:
        return self._accounts.model(key, model_id).read(self._clock.now())

    def read_all(self, key: str) -> list[dict[str, Any]]:
        now = self._clock.now()
        return [model.read(now) for model in self._accounts[key].models.values()]

    def delete(self, key: str, model_id: str) -> None:
        model = self._accounts.model(key, model_id)
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

    # --- what the control interface can do beside it ---

    def place(self, key: str, model_id: str) -> Model:
        """The model of that id, made if there is none."""
        model = self._accounts.models.get(model_id)
        if model is None:
            now = self._clock.now()
            model = Model(model_id, key, created_at=now, changed_at=now)
            self._accounts.models[model_id] = self._accounts[key].models[model_id] = model
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

    def forget(self) -> None:
        """Everything of every key, and which durations were drawn: as if it were made just now."""
        self._accounts.clear()
        self._random.seed(self._options.seed)

    def inspect(self, model: Model) -> dict[str, Any]:
        return model.inspect(self._clock.now())

    def triggers(self) -> dict[str, int]:
        return {model.id: model.triggers for model in self._accounts.models.values() if model.triggers}

    def _living(self, key: str, model_id: str) -> Model:
        return self._accounts.living_model(key, model_id, self._clock.now())

    def _new_training(self, model: Model, now: datetime) -> Training:
        minutes = model.next_minutes
        if minutes is None:
            minutes = self._random.uniform(*self._options.training_minutes)
        model.next_minutes = None
        training = Training(new_id(now, self._random), model.id, now, now + timedelta(minutes=minutes))
        account = self._accounts[model.owner]
        account.jobs[training.id] = training
        account.running.add(training)
        return training
