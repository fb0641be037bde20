"""How the queue of a tenant moves: when its first is tried next, and when one has waited for too long.

PhotoGPT says 429 both to a key that runs too many trainings and to one that asks too often, and nothing tells the two
apart (photogpt-facts 13.8). So a key's tries are a least pause apart, whatever has happened, and further with each that
was in vain.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from service.domain.backoff import LONGEST_POLL_WAIT
from service.domain.training import Failure, QueueRules, Signal, Watch

# In least pauses: after the first try in vain, the second, ...; then always the last.
_STEPS = (1, 2, 4, 8, 15)


def pause_after(tries: int, rules: QueueRules, retry_after: timedelta | None = None) -> timedelta:
    """How long a queue rests after so many tries in vain, one at least; never less than PhotoGPT asked for."""
    asked = min(retry_after or timedelta(0), LONGEST_POLL_WAIT)
    return max(rules.pause * _STEPS[min(tries, len(_STEPS)) - 1], asked)


def longest_pause(rules: QueueRules) -> timedelta:
    """What `pause_after` never exceeds."""
    return max(rules.pause * _STEPS[-1], LONGEST_POLL_WAIT)


def soonest_try(now: datetime, tried_at: datetime | None, rules: QueueRules) -> datetime:
    """When the first of a queue may be tried, now that there may be room for it."""
    return now if tried_at is None else max(now, tried_at + rules.pause)


def has_waited_too_long(since: datetime, now: datetime, rules: QueueRules) -> bool:
    return now - since >= rules.expire_after


def waited(watch: Watch, since: datetime, now: datetime, rules: QueueRules) -> Watch:
    """A queued training at its queue's turn: rejected when two turns find it too old. By one look the wall clock may
    have jumped, and jump back (failure model 2.4).
    """
    too_long = has_waited_too_long(since, now, rules)
    if too_long and watch.expiring:
        message = f"Waited for {rules.expire_after} without a free training slot at PhotoGPT; nothing was triggered."
        return watch.move(Signal.WAITED_TOO_LONG, Failure("queue_expired", message))
    return replace(watch, expiring=too_long)
