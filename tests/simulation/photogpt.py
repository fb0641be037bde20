"""PhotoGPT as far as the gateway sees it: models that are trained, read and deleted; and what it says on bad days."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.faults import Faults

Reply = tuple[int, dict[str, str], bytes]


@dataclass
class Model:
    """`said`: what readings of it answered, each with its time. `asked`: times of trigger requests, however they ended.

    `took`: times at which a trigger really began a training.
    """

    model_id: str
    before: str = "new"
    ends_at: float = 0.0
    end: str = "ready"
    version: int = 0
    stale_readings: int = 0
    said: list[tuple[float, str]] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)

    def status(self, now: float) -> str:
        if not self.took:
            return self.before
        return "training" if now < self.ends_at else self.end


class PhotoGPT:
    def __init__(self, faults: Faults, rng: random.Random) -> None:
        self.models: dict[tuple[str, str], Model] = {}
        self.bad_keys: set[str] = set()
        self.outage = False
        # How many models of one key it trains at once; None: any number.
        self.room: int | None = None
        self.on_trigger: Callable[[str, Model], None] = lambda _key, _model: None
        self._faults = faults
        self._rng = rng

    def model(self, key: str, model_id: str) -> Model:
        return self.models.setdefault((key, model_id), Model(model_id))

    def handle(self, url: str, key: str) -> Reply:
        now = asyncio.get_running_loop().time()
        if url.endswith("/api/models"):
            return self._list(key, now)
        path = url.rsplit("/api/models/", maxsplit=1)[-1]
        model = self.models.get((key, path.removesuffix("/train")))
        if path.endswith("/train"):
            return self._train(model, key, now)
        return self._read(model, key, now)

    def _train(self, model: Model | None, key: str, now: float) -> Reply:
        if model is None:
            return _refusal(404, "No such model")
        model.asked.append(now)
        self.on_trigger(key, model)
        if refusal := self._trouble(key) or self._trouble_with_trigger(model, key, now):
            return refusal
        self._begin(model, now)
        if self._faults.strikes("trigger 500 after it acted"):
            return 500, {}, b"Internal Server Error"
        return _envelope({"status": "OK", "result": "Training triggered"})

    def _trouble_with_trigger(self, model: Model, key: str, now: float) -> Reply | None:
        for fault, reply in (
            ("trigger 500", (500, {}, b"Internal Server Error")),
            ("photogpt 402", _refusal(402, "No credits")),
            ("photogpt not ok", _not_ok("Too few images")),
        ):
            if self._faults.strikes(fault):
                return reply
        if model.status(now) == "training":
            return _refusal(409, "It is being trained")
        if self.room is not None and self._running(key, now) >= self.room:
            return _refusal(429, "Too many trainings are running")
        return None

    def _running(self, key: str, now: float) -> int:
        return sum(model.status(now) == "training" for (owner, _), model in self.models.items() if owner == key)

    def _begin(self, model: Model, now: float) -> None:
        again = model.status(now) == "ready"
        model.took.append(now)
        model.ends_at = now + self._rng.uniform(50, 700)
        model.end = self._rng.choice(["ready"] * 6 + ["deleted", "gone", "failed"])
        model.version += 1
        model.stale_readings = self._rng.choice((0, 0, 1, 2)) if again else 0

    def _read(self, model: Model | None, key: str, now: float) -> Reply:
        if trouble := self._trouble(key):
            return trouble
        if self._faults.strikes("photogpt not ok"):
            return _not_ok("Try later")
        status = "gone" if model is None else model.status(now)
        if model is None or status == "gone" or self._faults.strikes("photogpt 404"):
            if model is not None:
                model.said.append((now, "gone"))
            return _refusal(404, "No such model")
        version = 2 * model.version - (status == "training")
        if model.stale_readings and status == "training":
            model.stale_readings -= 1
            status, version = "ready", version - 1
        elif self._faults.strikes("photogpt unknown status"):
            status = "Warming-Up"
        model.said.append((now, status))
        foreign = self._faults.strikes("photogpt foreign id")
        told = {"id": "another" if foreign else model.model_id, "status": status, "updatedAt": f"v{version}"}
        return _envelope({"status": "OK", "result": told})

    def _list(self, key: str, now: float) -> Reply:
        """All models of a key; on bad days a part of them, or as they were some time ago."""
        if trouble := self._trouble(key):
            return trouble
        if self._faults.strikes("photogpt not ok"):
            return _not_ok("Try later")
        as_of = now - 200 if self._faults.strikes("list lags") else now
        listed = [
            {"id": model.model_id, "status": model.status(as_of), "updatedAt": f"v{model.version}"}
            for (owner, _), model in self.models.items()
            if owner == key and model.status(as_of) != "gone" and not self._faults.strikes("list leaves out")
        ]
        if listed and self._faults.strikes("photogpt unknown status"):
            listed[-1]["status"] = "Warming-Up"
        return _envelope({"status": "OK", "result": listed})

    def _trouble(self, key: str) -> Reply | None:
        """What has nothing to do with the model."""
        if self.outage:
            return 503, {}, b"<html>down for maintenance</html>"
        if key in self.bad_keys:
            return _UNKNOWN_KEY
        wait = {"retry-after": str(self._rng.choice((1, 90, 1000)))}
        for fault, reply in (
            ("photogpt refuses key", _UNKNOWN_KEY),
            ("photogpt 429", _refusal(429, "Too many requests")),
            ("photogpt 429 with retry-after", _refusal(429, "Too many requests", wait)),
            ("photogpt 500", (500, {}, b"Internal Server Error")),
            ("photogpt 403 page", (403, {}, b"<html>error 1010</html>")),
            ("photogpt garbage", (200, {}, b'{"status": "OK", "resu')),
        ):
            if self._faults.strikes(fault):
                return reply
        return None


def _envelope(content: dict[str, Any]) -> Reply:
    return 200, {"content-type": "application/json"}, json.dumps(content).encode()


def _refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Reply:
    body = json.dumps({"status": "NOK", "message": message, "err": "", "result": None}).encode()
    return status, headers or {}, body


def _not_ok(message: str) -> Reply:
    return _refusal(200, message)


_UNKNOWN_KEY = _refusal(401, "Unknown key")
