"""Whether what PhotoGPT said to somebody else counts for a training that is watched, and is worth to be stored.

The moment that it tells of is somewhere between the beginning of that request and the end of its answer, so it is
taken for the beginning: it may be older than what is known already.
"""

from __future__ import annotations

from datetime import datetime

from service.domain.backoff import SOONEST_POLL
from service.domain.schedule import least_gap
from service.domain.training import TERMINAL, Rules, Status, Watch


def counts(watch: Watch, last_polled_at: datetime | None, began: datetime, rules: Rules) -> bool:
    """Whether a request that began then can have been answered with what came after our trigger and our last poll."""
    if last_polled_at is not None and last_polled_at >= began:
        return False
    if watch.status is Status.QUEUED:
        return False  # whatever it tells of the model, nothing was triggered yet
    # An intent younger than the lease belongs to the request that triggers it.
    since = watch.since + rules.lease if watch.status is Status.SUBMITTING else watch.since
    return since < began and watch.status not in TERMINAL


def is_worth_storing(before: Watch, after: Watch, last_polled_at: datetime | None, now: datetime, rules: Rules) -> bool:
    """News is; what has none only where it can stand in for a poll of our own, which is put off then."""
    # An expiry is told by the clock and not by PhotoGPT, and two looks at it must lie apart.
    if after.status is not before.status and after.status is not Status.EXPIRED:
        return True
    if before.status is Status.SUBMITTING:
        return False
    if after.left_baseline and not before.left_baseline:
        return True
    return now - (last_polled_at or before.since) >= SOONEST_POLL * least_gap(rules)
