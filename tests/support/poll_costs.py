"""What each schedule costs PhotoGPT and how late it sees the end, for the page that tells of it.

`python -m tests.support.poll_costs` prints the table and renews the page.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service.domain.schedule import FINE, first_poll, next_poll
from service.domain.training import Observation, Rules, Status, Watch

PAGE = Path(__file__).parents[2] / "docs" / "polling.md"
_BEGIN, _END = "<!-- costs -->\n", "<!-- /costs -->"
_TRIGGERED = datetime(2030, 1, 1, tzinfo=UTC)
# Every so many seconds a training ends, with so many different jitters.
_STEP, _RUNS = 5, 20
_ENDS = {"20 and 25": (1200, 1500), "18 and 28": (1080, 1680), "15 and 20": (900, 1200), "25 and 30": (1500, 1800)}


@dataclass(frozen=True)
class Cost:
    """On average, over trainings that end evenly spread over a time."""

    calls: float
    delay: float
    longest_delay: float

    def __str__(self) -> str:
        return f"{self.calls:.1f} polls, {self.delay:.0f} s"


def rules_of(times: Sequence[timedelta]) -> Rules:
    minute = timedelta(minutes=1)
    return Rules(5 * minute, minute, overdue_after=35 * minute, expire_after=1440 * minute, poll_times=tuple(times))


def polls(rules: Rules, ends_after: float, rng: random.Random) -> list[float]:
    """When, in seconds after its trigger, a model is polled that ends then; the last poll sees it."""
    watch, seen = Watch(Status.TRAINING, since=_TRIGGERED), Observation("training")
    made = [first_poll(rules, rng.random()).total_seconds()]
    while made[-1] < ends_after:
        now = _TRIGGERED + timedelta(seconds=made[-1])
        made.append(made[-1] + next_poll(watch, seen, now, rules, rng.random()).total_seconds())
    return made


def cost(times: Sequence[timedelta], soonest: int, latest: int) -> Cost:
    rules, rng = rules_of(times), random.Random(1)
    runs = [(polls(rules, end, rng), end) for end in range(soonest, latest + 1, _STEP) for _ in range(_RUNS)]
    delays = [made[-1] - end for made, end in runs]
    return Cost(sum(len(made) for made, _ in runs) / len(runs), sum(delays) / len(runs), max(delays))


def costs_block() -> str:
    """What stands between the two marks."""
    rows = [f"| {minutes} minutes | {cost((), *ends)} | {cost(FINE, *ends)} |" for minutes, ends in _ENDS.items()]
    head = ["| trainings end between | unset: every 5 minutes | `fine` |", "| --- | --- | --- |"]
    return "\n".join([*head, *rows]) + "\n"


def renewed(page: str) -> str:
    """`page` with the table of today between its marks."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"there is no block from {_BEGIN.strip()} to {_END}")
    return before + begin + costs_block() + end + after


if __name__ == "__main__":
    sys.stdout.write(costs_block())
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
