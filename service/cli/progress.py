"""A progress bar for something that tells no progress: elapsed time against when the gateway expects the end."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from service.clock import Clock, SystemClock
from service.domain.expectation import USUAL


class TrainingProgress:
    """`speed` scales the clock for the demo, where simulated minutes pass in a second."""

    def __init__(self, console: Console, *, speed: float = 1.0, clock: Clock | None = None) -> None:
        self._speed = speed
        self._clock = clock or SystemClock()
        self._bar = Progress(
            TextColumn("{task.fields[status]:<10}"),
            BarColumn(bar_width=40),
            TextColumn("{task.fields[told]}"),
            console=console,
        )
        self._task = self._bar.add_task("", total=USUAL.most.total_seconds(), status="", told="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, training: dict[str, Any]) -> None:
        """Move the bar to where `training` is by now."""
        ended = training["finished_at"]
        least, most = expected(training)
        elapsed = timedelta(0)
        if training["status"] != "queued":
            began = datetime.fromisoformat(training["triggered_at"] or training["created_at"])
            until = datetime.fromisoformat(ended) if ended else self._clock.now()
            elapsed = (until - began) * self._speed
        total = most.total_seconds()
        self._bar.update(
            self._task,
            total=total,
            completed=total if ended else min(elapsed.total_seconds(), total * 0.99),
            status=training["status"],
            told=_waiting(training) or told(elapsed, least, most, ended=bool(ended)),
        )


def expected(training: dict[str, Any]) -> tuple[timedelta, timedelta]:
    """After how long, from its trigger on, this training is expected to be ready: at the least, and at the most."""
    span = training.get("estimated_ready_range")
    if span is None:
        return USUAL.least, USUAL.most
    triggered = datetime.fromisoformat(training["triggered_at"])
    return datetime.fromisoformat(span["from"]) - triggered, datetime.fromisoformat(span["to"]) - triggered


def told(elapsed: timedelta, least: timedelta, most: timedelta, *, ended: bool) -> str:
    """How long it took, or how long it may still take: `12 min, usually 8 to 13 more`."""
    minutes = round(elapsed.total_seconds() / 60)
    if ended:
        return f"after {minutes} min"
    soonest, latest = (round((usual - elapsed).total_seconds() / 60) for usual in (least, most))
    if latest <= 0:
        return f"{minutes} min, longer than the usual {round(most.total_seconds() / 60)}"
    return f"{minutes} min, usually {max(soonest, 0)} to {latest} more"


def _waiting(training: dict[str, Any]) -> str:
    place = training.get("queue_position")
    return f"number {place} in the queue" if place else ""
