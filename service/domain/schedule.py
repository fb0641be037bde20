"""When a model is polled: every interval, or first at set times after its trigger (POLL_SCHEDULE)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from service.domain.backoff import POLL_JITTER, asked_wait, key_pause, longest_poll_delay, poll_delay
from service.domain.training import (
    KeyRefused,
    ModelNotFound,
    Rules,
    Seen,
    Status,
    Throttled,
    Unreadable,
    Watch,
)

# PhotoGPT says 20 to 25 minutes. Two looks before, for what ends early; then every 75 s while most end, and on to 28
# minutes. What that costs and gains: docs/polling.md, computed by tests/domain/test_schedule.py.
FINE = tuple(timedelta(seconds=at) for at in (600, 1140, 1275, 1350, 1425, 1500, 1575, 1680))
# No two polls of a model are planned closer than this; with a short interval (tests) than that part of it.
_LEAST_GAP = timedelta(seconds=60)
_LEAST_PART = 5
_MOST_TIMES = 100


def parsed_schedule(text: str) -> tuple[timedelta, ...]:
    """`POLL_SCHEDULE`: numbers of seconds, or the word `fine`. ValueError if it is neither."""
    if not text.strip():
        return ()
    if text.strip() == "fine":
        return FINE
    try:
        times = tuple(timedelta(seconds=float(part)) for part in text.split(","))
    except (ValueError, OverflowError):
        times = ()
    if not 1 <= len(times) <= _MOST_TIMES:
        raise ValueError(f"must be `fine`, or 1 to {_MOST_TIMES} numbers of seconds after the trigger: 600,1200,1290")
    return times


def check_schedule(times: Sequence[timedelta], *, interval: timedelta, expire_after: timedelta) -> None:
    """ValueError if a poll would come too soon after the one before or after the trigger, or never."""
    least = min(_LEAST_GAP, interval / _LEAST_PART)
    for earlier, later in pairwise((timedelta(0), *times)):
        if later - earlier < least:
            raise ValueError(
                f"has {_seconds(later - earlier)} between {_seconds(earlier)} and {_seconds(later)}: from the trigger "
                f"on, polls must be at least {_seconds(least)} apart, which is 60 s, or a fifth of "
                f"GATEWAY_POLL_INTERVAL ({_seconds(interval)}) if that is less"
            )
    if times and times[-1] > expire_after:
        raise ValueError(f"goes on to {_seconds(times[-1])}: a watch is given up after GATEWAY_EXPIRE_AFTER")


def least_gap(rules: Rules) -> timedelta:
    """The shortest time between two planned polls of a model."""
    return min([rules.poll_interval, *_gaps(rules.poll_times)])


def longest_gap(rules: Rules) -> timedelta:
    """The longest time between two planned polls of a model that trains, while nobody asks us to wait."""
    # A poll shortly before one of the times takes its place.
    gaps = [gap + least_gap(rules) / 2 for gap in _gaps(rules.poll_times)]
    return max([rules.poll_interval, *gaps]) + POLL_JITTER * rules.poll_interval


def longest_delay(rules: Rules) -> timedelta:
    """What `next_poll` never exceeds."""
    return max(longest_poll_delay(rules.poll_interval), longest_gap(rules))


def first_poll(rules: Rules, jitter: float) -> timedelta:
    """Time from a confirmed trigger to the first poll."""
    return _scheduled(rules, timedelta(0), jitter, None)


def next_poll(watch: Watch, seen: Seen, now: datetime, rules: Rules, jitter: float) -> timedelta:
    """Time to the next poll after a reading at `now` that left this `watch`."""
    if isinstance(seen, Throttled):
        return key_pause(rules.poll_interval, seen.retry_after)
    retry_after = seen.retry_after if isinstance(seen, Unreadable) else None
    # If the wall clock was put back, the trigger seems to lie ahead.
    age = max(now - watch.since, timedelta(0))
    # What only counts three times in a row is given time to change, however dense the schedule is just now.
    counted = isinstance(seen, ModelNotFound | KeyRefused) or watch.status is Status.SUBMITTING
    if counted:
        return poll_delay(rules.poll_interval, age, jitter, retry_after)
    return _scheduled(rules, age, jitter, retry_after)


def _scheduled(rules: Rules, age: timedelta, jitter: float, retry_after: timedelta | None) -> timedelta:
    """To the next of the times, or an interval behind the last. No two polls are closer than the least gap: one that
    was late takes the place of the next, if that is nearer than half of it.
    """
    least = least_gap(rules) if rules.poll_times else rules.poll_interval
    for at in rules.poll_times:
        if at - age >= least / 2:
            gap = max(at - age, least)
            # Spread no wider than usual: behind a long gap that would miss what the schedule is for.
            spread = POLL_JITTER * jitter * min(gap, rules.poll_interval)
            return max(gap + spread, asked_wait(retry_after))
    return poll_delay(rules.poll_interval, age, jitter, retry_after)


def _gaps(times: Sequence[timedelta]) -> list[timedelta]:
    return [later - earlier for earlier, later in pairwise((timedelta(0), *times))]


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():g} s"
