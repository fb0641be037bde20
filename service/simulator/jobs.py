"""What PhotoGPT's jobs are, trainings among them, and what they look like at a given moment; no clock, no HTTP."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from service.simulator.clock import stamp
from service.simulator.media import Image, Video

_QUEUED_AFTER, _RUNNING_AFTER = timedelta(seconds=1), timedelta(seconds=3)


class Job(Protocol):
    id: str
    started_at: datetime

    def running(self, now: datetime) -> bool: ...

    def as_job(self, now: datetime, media: str, /) -> dict[str, Any]:
        """With all that it made; `media` is the address below which that is fetched."""

    def as_list_item(self, now: datetime, /) -> dict[str, Any]: ...


@dataclass(slots=True)
class Training:
    """One run of training a model; seen from outside it is a job."""

    id: str
    model_id: str
    started_at: datetime
    ends_at: datetime
    cut_short: bool = False

    def running(self, now: datetime) -> bool:
        return now < self.ends_at

    def as_job(self, now: datetime, _media: str) -> dict[str, Any]:
        return {
            "jobId": self.id,
            "status": self._status(now),
            "images": [],
            "videos": [],
            "error": self._error() or None,
            "modelId": self.model_id,
            "createdAt": stamp(self.started_at),
        }

    def as_list_item(self, now: datetime) -> dict[str, Any]:
        return {
            "jobId": self.id,
            "status": self._status(now),
            "credits": 0,
            "errorMessage": self._error(),
            "createdAt": stamp(self.started_at),
            "updatedAt": stamp(self.started_at if self.running(now) else self.ends_at),
        }

    def _status(self, now: datetime) -> str:
        if self.running(now):
            return "running"
        return "failed" if self.cut_short else "success"

    def _error(self) -> str:
        return "the training was ended early" if self.cut_short else ""


@dataclass(slots=True)
class Generation:
    """A job that makes images or videos, or fails with `error`."""

    id: str
    model_id: str
    started_at: datetime
    ends_at: datetime
    credits: int
    error: str = ""
    images: list[Image] = field(default_factory=list)
    videos: list[Video] = field(default_factory=list)

    def running(self, now: datetime) -> bool:
        return now < self.ends_at

    def as_job(self, now: datetime, media: str) -> dict[str, Any]:
        return {
            "jobId": self.id,
            "status": self._status(now),
            "images": [image.as_result(now, media) for image in self.images if image.visible(now)],
            "videos": [video.as_result(media) for video in self.videos if video.visible(now)],
            "error": None if self.running(now) else self.error or None,
            "modelId": self.model_id,
            "createdAt": stamp(self.started_at),
        }

    def as_list_item(self, now: datetime) -> dict[str, Any]:
        return {
            "jobId": self.id,
            "status": self._status(now),
            "credits": self.credits,
            "errorMessage": "" if self.running(now) else self.error,
            "createdAt": stamp(self.started_at),
            "updatedAt": stamp(self.started_at if self.running(now) else self.ends_at),
        }

    def _status(self, now: datetime) -> str:
        if not self.running(now):
            return "failed" if self.error else "success"
        age = now - self.started_at
        if age < _QUEUED_AFTER:
            return "created"
        return "queued" if age < _RUNNING_AFTER else "running"


class RunningTrainings:
    """Counts the running trainings of one key without looking at each: a heap of ends, the earliest first."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._ends: list[tuple[datetime, str]] = []

    def add(self, training: Training) -> None:
        self._running.add(training.id)
        heapq.heappush(self._ends, (training.ends_at, training.id))

    def discard(self, training: Training) -> None:
        self._running.discard(training.id)

    def count(self, now: datetime) -> int:
        while self._ends and self._ends[0][0] <= now:
            self._running.discard(heapq.heappop(self._ends)[1])
        return len(self._running)
