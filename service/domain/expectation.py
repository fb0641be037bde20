"""When a training is expected to be ready: what PhotoGPT says, until what was seen of the last ones says it better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import quantiles

from service.domain.training import USUAL_DURATION

# So many of the last trainings that became ready are asked, and nothing is concluded from fewer than these.
ASKED = 200
FEWEST = 20


@dataclass(frozen=True, slots=True)
class Expectation:
    """How long after its trigger a training is ready: one in ten sooner than `least`, one in ten later than `most`."""

    least: timedelta
    middle: timedelta
    most: timedelta


USUAL = Expectation(USUAL_DURATION[0], (USUAL_DURATION[0] + USUAL_DURATION[1]) / 2, USUAL_DURATION[1])


def expectation(durations: Sequence[timedelta]) -> Expectation:
    """The 10th, 50th and 90th percentile of how long the last ones took; `USUAL` if that is known of too few."""
    # A wall clock that was put back in between leaves a duration that can't be.
    seconds = [duration.total_seconds() for duration in durations if duration > timedelta(0)]
    if len(seconds) < FEWEST:
        return USUAL
    tenths = quantiles(seconds, n=10, method="inclusive")
    return Expectation(*(timedelta(seconds=tenths[place]) for place in (0, 4, 8)))
