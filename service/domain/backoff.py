"""When the next poll and the next attempt are due. Jitter is an argument: a number from 0 to 1, drawn by the caller."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# Polls are spread by +0..10 % so that trainings that began together drift apart (DESIGN 9).
POLL_JITTER = 0.10
# Attempts only ever move later: with -20 % the last try could fall at 60 h and miss a 72 h outage (failure model 2.5).
_RETRY_JITTER = 0.20
# A receiver or PhotoGPT may ask us to wait, but not for ever (failure model 2.3 and 2.5).
LONGEST_DELIVERY_WAIT = timedelta(hours=24)
LONGEST_POLL_WAIT = timedelta(hours=1)
# A model that trains for over 2 h is hardly about to finish: thin its polls to every third (failure model 2.3).
_SPARSE_AFTER = timedelta(hours=2)
_SPARSE_FACTOR = 3
# However it came to be due, a model is not read again before this part of the interval has passed, or of the least gap
# of its schedule (failure model 2.4).
SOONEST_POLL = 0.8


def poll_delay(interval: timedelta, watched_for: timedelta, jitter: float, retry_after: timedelta | None) -> timedelta:
    """Time to the next poll of a model that has been watched for `watched_for`; never sooner than asked upstream."""
    step = interval * _SPARSE_FACTOR if watched_for >= max(_SPARSE_AFTER, interval * 24) else interval
    return max(step * (1 + POLL_JITTER * jitter), asked_wait(retry_after))


def asked_wait(retry_after: timedelta | None) -> timedelta:
    """What PhotoGPT's `Retry-After` asks for, as far as we let it."""
    return min(retry_after or timedelta(0), LONGEST_POLL_WAIT)


def key_pause(interval: timedelta, retry_after: timedelta | None) -> timedelta:
    """How long no poll may use a key after a 429 (failure model 2.3)."""
    return max(asked_wait(retry_after), interval)


def longest_poll_delay(interval: timedelta) -> timedelta:
    """What `poll_delay` never exceeds."""
    return max(interval * _SPARSE_FACTOR * (1 + POLL_JITTER), LONGEST_POLL_WAIT)


def longest_retry_delay(step: timedelta) -> timedelta:
    """What `retry_delay` gives at most for a step of the schedule, unless the receiver asked for more."""
    return step * (1 + _RETRY_JITTER)


def retry_delay(
    schedule: Sequence[timedelta], attempts_made: int, jitter: float, retry_after: timedelta | None
) -> timedelta | None:
    """Time to the next attempt after `attempts_made`, or None when the schedule is used up."""
    if attempts_made >= len(schedule):
        return None
    asked = min(retry_after, LONGEST_DELIVERY_WAIT) if retry_after else timedelta(0)
    return max(schedule[attempts_made] * (1 + _RETRY_JITTER * jitter), asked)


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """A `Retry-After` header in either form, seconds or HTTP date (RFC 9110, 10.2.3). Nonsense counts as absent."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        # Nine digits are 31 years: more would overflow a timedelta, and every caller caps at hours.
        return timedelta(seconds=int(text.lstrip("0")[:9] or 0))
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(when - now, timedelta(0))
