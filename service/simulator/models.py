"""What one PhotoGPT model is, and what it looks like at a given moment; no clock, no HTTP.

A status is computed when it is asked for: ten thousand trainings under way cost nothing until somebody looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any, Literal
from uuid import UUID

from service.simulator.clock import stamp
from service.simulator.jobs import Training
from service.simulator.media import Image, ImageType

ModelStatus = Literal["new", "training", "ready", "deleted"]


@dataclass(slots=True)
class Model:
    id: str
    owner: str
    created_at: datetime
    changed_at: datetime
    settled: ModelStatus = "new"
    """The status while there is no training to ask."""
    training: Training | None = None
    images: dict[str, Image] = field(default_factory=dict)
    pretended_images: int | None = None
    next_minutes: float | None = None
    raw_status: str | None = None
    stale_ready_polls: int = 0
    triggers: int = 0
    _stale_reads_left: int = 0
    _stale_changed_at: datetime | None = None

    def status(self, now: datetime) -> ModelStatus:
        if self.training is None:
            return self.settled
        return "training" if self.training.running(now) else "ready"

    def updated_at(self, now: datetime) -> datetime:
        if self.training is None or self.training.running(now):
            return self.changed_at
        return max(self.changed_at, self.training.ends_at)

    def training_images(self) -> int:
        if self.pretended_images is not None:
            return self.pretended_images
        return self.count_images("modelInput")

    def count_images(self, kind: ImageType) -> int:
        return sum(image.type == kind for image in self.images.values())

    def trigger(self, training: Training) -> None:
        """Take up a training that was asked for; a model that was ready may go on looking so for a few readings."""
        now = training.started_at
        ready_since = self.updated_at(now) if self.status(now) == "ready" else None
        self.begin(training)
        self.triggers += 1
        if ready_since is not None:
            self._stale_reads_left, self._stale_changed_at = self.stale_ready_polls, ready_since

    def begin(self, training: Training) -> None:
        self.training, self.changed_at, self._stale_reads_left = training, training.started_at, 0

    def settle(self, status: ModelStatus, now: datetime) -> None:
        self.training, self.settled, self.changed_at, self._stale_reads_left = None, status, now, 0

    def read(self, now: datetime) -> dict[str, Any]:
        """What a caller sees. Each reading uses up one of the stale ones, if there are any."""
        status: str = self.status(now)
        updated_at = self.updated_at(now)
        if self._stale_reads_left and self._stale_changed_at:
            self._stale_reads_left -= 1
            status, updated_at = "ready", self._stale_changed_at
        return self._as_result(self.raw_status if self.raw_status is not None else status, updated_at)

    def inspect(self, now: datetime) -> dict[str, Any]:
        """The truth, for the control interface; not a reading."""
        return {
            **self._as_result(self.status(now), self.updated_at(now)),
            "key": self.owner,
            "images": self.training_images(),
            "raw_status": self.raw_status,
            "stale_ready_polls": self.stale_ready_polls,
            "triggers": self.triggers,
        }

    def _as_result(self, status: str, updated_at: datetime) -> dict[str, Any]:
        return {
            "id": self.id,
            "status": status,
            "modelType": "photo",
            "createdAt": stamp(self.created_at),
            "updatedAt": stamp(updated_at),
        }


def new_id(now: datetime, random: Random) -> str:
    """A version 7 UUID, made of the simulation's own time and randomness."""
    milliseconds = int(now.timestamp() * 1000) & (1 << 48) - 1
    value = milliseconds << 80 | 0x7 << 76 | random.getrandbits(12) << 64 | 0b10 << 62 | random.getrandbits(62)
    return str(UUID(int=value))
