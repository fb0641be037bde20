"""A PhotoGPT that trains, shows and lists models in the documented envelope, counts every call, and refuses no load.

It knows the three routes a training needs; what else PhotoGPT does, and how it fails, is the simulator's.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from bench.fakes.wire import Reply, Request

_PREFIX = "/api/models"
_CREATED_AT = "2026-11-22T12:00:00.000Z"
_REFUSED = b'{"status":"NOK","message":"The API key is not valid.","err":"unauthorized","result":null}'
_UNKNOWN = b'{"status":"NOK","message":"There is no such route.","err":"not found","result":null}'
_TRIGGERED = b'{"result":"Training triggered","status":"OK"}'


@dataclass(slots=True)
class Script:
    """When models become ready: at so many readings, or seconds, after their trigger; 0: never.

    `untriggered`: the status of a model that was never triggered here; of those that somebody watches since before it
    is `training`. `latency`: seconds before each answer.
    """

    ready_after_readings: int = 0
    ready_after_seconds: float = 0.0
    untriggered: str = "new"
    latency: float = 0.0


@dataclass(slots=True)
class Model:
    triggers: int = 0
    readings: int = 0
    triggered_at: float = 0.0
    ready_at: float | None = None

    @property
    def ready(self) -> bool:
        return self.ready_at is not None


@dataclass(slots=True)
class PhotoGPT:
    script: Script = field(default_factory=Script)
    calls: Counter[str] = field(default_factory=Counter)
    models: dict[str, Model] = field(default_factory=dict)
    first_reading_at: float | None = None
    first_trigger_at: float | None = None

    def reset(self, script: dict[str, Any]) -> None:
        self.script = Script(**script)
        self.calls.clear()
        self.models.clear()
        self.first_reading_at = self.first_trigger_at = None

    def counts(self) -> dict[str, Any]:
        return {
            "trainings": self.calls["train"],
            "readings": self.calls["model"],
            "lists": self.calls["list"],
            "refused": self.calls["refused"],
            "models_read": sum(model.readings > 0 for model in self.models.values()),
            "triggered_again": sum(model.triggers > 1 for model in self.models.values()),
            "ready": sum(model.ready for model in self.models.values()),
            "first_reading_at": self.first_reading_at,
            "first_trigger_at": self.first_trigger_at,
        }

    def said_ready(self) -> dict[str, float]:
        """When each model was first shown as ready."""
        return {model_id: model.ready_at for model_id, model in self.models.items() if model.ready_at is not None}

    def answer(self, request: Request) -> Reply:
        if b"\r\nauthorization: bearer " not in request.head or b"\r\napi-version: 1" not in request.head:
            return self._refuse(401, _REFUSED)
        if request.method != "GET" or not request.path.startswith(_PREFIX):
            return self._refuse(404, _UNKNOWN)
        name = request.path[len(_PREFIX) :].removeprefix("/")
        if not name:
            return self._list()
        if name.endswith("/train"):
            return self._train(name.removesuffix("/train"))
        return self._show(name) if "/" not in name else self._refuse(404, _UNKNOWN)

    def _train(self, model_id: str) -> Reply:
        now = time.time()
        self.calls["train"] += 1
        self.first_trigger_at = self.first_trigger_at or now
        model = self.models.setdefault(model_id, Model())
        model.triggers += 1
        model.readings, model.triggered_at = 0, now
        return Reply(200, _TRIGGERED, self.script.latency)

    def _show(self, model_id: str) -> Reply:
        self.calls["model"] += 1
        self.first_reading_at = self.first_reading_at or time.time()
        model = self.models.get(model_id)
        if model is None:
            model = self.models[model_id] = Model()
        return Reply(200, b'{"result":%s,"status":"OK"}' % self._read(model_id, model), self.script.latency)

    def _list(self) -> Reply:
        self.calls["list"] += 1
        self.first_reading_at = self.first_reading_at or time.time()
        shown = b",".join(self._read(model_id, model) for model_id, model in self.models.items())
        return Reply(200, b'{"result":[%s],"status":"OK"}' % shown, self.script.latency)

    def _read(self, model_id: str, model: Model) -> bytes:
        """The model as this reading sees it, and one reading more."""
        model.readings += 1
        watched = model.triggers > 0 or self.script.untriggered == "training"
        if model.ready_at is None and watched and self._is_due(model):
            model.ready_at = time.time()
        status = "ready" if model.ready else "training" if model.triggers else self.script.untriggered
        # What json.dumps would give; ids that need escaping are refused by every service here.
        return (
            f'{{"createdAt":"{_CREATED_AT}","id":"{model_id}","modelType":"custom","status":"{status}",'
            f'"updatedAt":"{_CREATED_AT}"}}'
        ).encode()

    def _is_due(self, model: Model) -> bool:
        script = self.script
        if script.ready_after_seconds and time.time() >= model.triggered_at + script.ready_after_seconds:
            return True
        return bool(script.ready_after_readings) and model.readings >= script.ready_after_readings

    def _refuse(self, status: int, body: bytes) -> Reply:
        self.calls["refused"] += 1
        return Reply(status, body)


def as_json(content: Any) -> bytes:
    return json.dumps(content).encode()
