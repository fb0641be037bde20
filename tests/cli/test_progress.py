"""The progress bar: elapsed time against what the gateway expects of this very training."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

from service.cli.progress import TrainingProgress, expected, told
from service.domain.event import rfc3339
from tests.support.clock import START, FakeClock

MINUTE = timedelta(minutes=1)
LEARNED = {"from": rfc3339(START + 6 * MINUTE), "to": rfc3339(START + 10 * MINUTE)}


def training(**changes: Any) -> dict[str, Any]:
    return {
        "status": "training",
        "created_at": rfc3339(START - 60 * MINUTE),
        "triggered_at": rfc3339(START),
        "finished_at": None,
        "estimated_ready_range": LEARNED,
        **changes,
    }


def shown(training: dict[str, Any], minutes: float, *, speed: float = 1.0) -> tuple[float, str]:
    """How much of the bar is full, in percent, and what stands beside it, so many minutes after START."""
    clock = FakeClock(START)
    clock.advance(minutes * 60)
    progress = TrainingProgress(Console(file=io.StringIO()), speed=speed, clock=clock)
    progress.show(training)
    [task] = progress._bar.tasks
    assert task.fields["status"] == training["status"]
    return round(task.percentage, 3), task.fields["told"]


@pytest.mark.parametrize(
    ("changes", "minutes", "percent", "beside"),
    [
        ({}, 0, 0, "0 min, usually 6 to 10 more"),
        ({}, 5, 50, "5 min, usually 1 to 5 more"),
        ({}, 8, 80, "8 min, usually 0 to 2 more"),
        ({}, 9.95, 99, "10 min, longer than the usual 10"),
        ({}, 300, 99, "300 min, longer than the usual 10"),
        ({"finished_at": rfc3339(START + 7 * MINUTE), "estimated_ready_range": None}, 9, 100, "after 7 min"),
        ({"estimated_ready_range": None}, 5, 20, "5 min, usually 15 to 20 more"),
        ({"triggered_at": None, "estimated_ready_range": None, "status": "submitting"}, -55, 20, "5 min, usually 15"),
        (
            {"triggered_at": None, "estimated_ready_range": None, "status": "queued", "queue_position": 3},
            600,
            0,
            "number 3 in the queue",
        ),
    ],
)
def test_the_bar_goes_by_what_is_expected_of_this_training(
    changes: dict[str, Any], minutes: float, percent: float, beside: str
) -> None:
    full, words = shown(training(**changes), minutes)
    assert full == percent
    assert words.startswith(beside)


def test_simulated_minutes_pass_faster() -> None:
    assert shown(training(), 0.1, speed=50) == (50, "5 min, usually 1 to 5 more")


def test_a_gateway_that_tells_no_range_is_shown_against_the_usual() -> None:
    older = training()
    del older["estimated_ready_range"]
    assert expected(older) == (20 * MINUTE, 25 * MINUTE)


def test_what_is_over_says_how_long_it_took() -> None:
    assert told(90 * MINUTE, 20 * MINUTE, 25 * MINUTE, ended=True) == "after 90 min"
