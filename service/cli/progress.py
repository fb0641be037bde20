"""A progress bar for something that tells no progress: elapsed time against the usual 20 to 25 minutes."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from service.clock import SystemClock
from service.domain.training import USUAL_DURATION


class TrainingProgress:
    """`speed` scales the clock for the demo, where simulated minutes pass in a second."""

    def __init__(self, console: Console, *, speed: float = 1.0) -> None:
        self._speed = speed
        self._clock = SystemClock()
        self._bar = Progress(
            TextColumn("{task.fields[status]:<10}"),
            BarColumn(bar_width=40),
            TextColumn("{task.fields[told]}"),
            console=console,
        )
        self._task = self._bar.add_task("", total=USUAL_DURATION[1].total_seconds(), status="", told="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, training: dict[str, Any]) -> None:
        """Move the bar to where `training` is by now."""
        began = datetime.fromisoformat(training["triggered_at"] or training["created_at"])
        ended = training["finished_at"]
        until = datetime.fromisoformat(ended) if ended else self._clock.now()
        elapsed = (until - began) * self._speed
        total = USUAL_DURATION[1].total_seconds()
        completed = total if ended else min(elapsed.total_seconds(), total * 0.99)
        self._bar.update(
            self._task, completed=completed, status=training["status"], told=told(elapsed, ended=bool(ended))
        )


def told(elapsed: timedelta, *, ended: bool) -> str:
    """How long it took, or how long it may still take: `12 min, usually 8 to 13 more`."""
    minutes = round(elapsed.total_seconds() / 60)
    if ended:
        return f"after {minutes} min"
    least, most = (round((usual - elapsed).total_seconds() / 60) for usual in USUAL_DURATION)
    if most <= 0:
        return f"{minutes} min, longer than the usual 25"
    return f"{minutes} min, usually {max(least, 0)} to {most} more"
